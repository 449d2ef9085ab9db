package main

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type pushCmd struct {
	Files        []string      `arg:"" type:"path" help:"The video files."`
	Box          string        `short:"b" placeholder:"URL|NAME" help:"The box: its address, or its name in this network. Default: the box on this machine, or else the only one that answers in this network." env:"WATCHPOST_BOX"`
	Wait         bool          `short:"w" help:"Wait for the analysis."`
	Out          string        `short:"o" type:"path" placeholder:"DIR" help:"Folder for the results, one folder in it for each file; implies --wait."`
	Parallel     int           `help:"Files on their way at once." default:"3"`
	Patience     time.Duration `help:"How long a box may be away before a file is given up." default:"5m"`
	Model        string        `placeholder:"NAME" help:"A model installed on the box, or \"motion\". Default: the box's."`
	Threshold    float32       `help:"Least score of a detection; 0: the model's own." default:"0"`
	Classes      []string      `help:"Only these classes."`
	Priority     int           `help:"Files with more go first, from -100 to 100." default:"0"`
	Track        int           `help:"Which video track of the files; 0 is the first." default:"0"`
	NoVideo      bool          `help:"No annotated.mp4."`
	PasswordFile string        `type:"path" placeholder:"FILE" help:"File whose first line is the box's password."`
	Password     string        `hidden:"" env:"WATCHPOST_PASSWORD"`
	Quiet        bool          `short:"q" help:"No progress."`
}

// Run is called by kong.
func (c *pushCmd) Run(ctx context.Context, p app.Program) error {
	return p.Push(ctx, app.PushOptions{
		Files: c.Files, Box: c.Box, Wait: c.Wait, Out: c.Out, Parallel: c.Parallel, Patience: c.Patience,
		Model: c.Model, Threshold: c.Threshold, Classes: c.Classes, Priority: c.Priority, Track: c.Track, NoVideo: c.NoVideo,
		PasswordFile: c.PasswordFile, Password: c.Password, Quiet: c.Quiet,
	})
}
