// Command watchpost is the camera analytics box: the service, its media
// workers and its tools in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

// cli is the command line: one field a subcommand, each in its own file.
type cli struct {
	Run     runCmd     `cmd:"" help:"Run the box: cameras, viewers, API."`
	Analyze analyzeCmd `cmd:"" help:"Analyse a video or picture file into a folder, without a server."`
	Verify  verifyCmd  `cmd:"" help:"Analyse a file again and compare with a results folder."`
	Push    pushCmd    `cmd:"" help:"Push video files to a box and fetch what is in them."`
	Model   modelCmd   `cmd:"" help:"List, install and check models."`
	Config  configCmd  `cmd:"" help:"Check a configuration file, or print its JSON Schema."`
	State   stateCmd   `cmd:"" help:"Check, print, back up and restore the box's database."`
	Debug   debugCmd   `cmd:"" help:"Look into a running box of this machine: profiles, goroutines, a trace."`
	Worker  workerCmd  `cmd:"" hidden:"" help:"A media worker; started by the box itself."`
	Version versionCmd `cmd:"" help:"Print the version."`

	LogLevel  string `help:"Least severe messages to log: debug, info, warn, error. Default: the configuration's, or info." enum:",debug,info,warn,error" default:"" env:"WATCHPOST_LOG_LEVEL"`
	LogFormat string `help:"Log as text or json. Default: the configuration's, or text." enum:",text,json" default:"" env:"WATCHPOST_LOG_FORMAT"`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run carries out one command line and returns its exit code.
func run(args []string) int {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("watchpost"),
		kong.Description("Watch cameras with what a model sees drawn on them, and analyse video files.\n\n"+exitHelp),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return fail(err)
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", err)
		var parse *kong.ParseError
		if errors.As(err, &parse) {
			fmt.Fprintf(os.Stderr, "Try: watchpost --help\n")
		}
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks for an orderly end; the second, with the default
	// action back in place, ends the process at once.
	context.AfterFunc(ctx, stop)

	kctx.BindTo(ctx, (*context.Context)(nil))
	if err := kctx.Run(app.NewProgram(version, c.LogLevel, c.LogFormat)); err != nil {
		return fail(err)
	}
	return exitOK
}

// fail prints an error for a person and returns its exit code.
func fail(err error) int {
	code := exitCode(err)
	if code != exitInterrupted {
		fmt.Fprintf(os.Stderr, "watchpost: %v\n", err)
	}
	return code
}
