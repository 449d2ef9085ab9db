package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type debugCmd struct {
	What string `arg:"" name:"profile" enum:"cpu,heap,allocs,goroutines,trace,block,mutex" help:"cpu, trace, block and mutex: of the seconds to come; heap, allocs and goroutines: of this moment."`

	Seconds int    `placeholder:"N" help:"For how long (cpu, block, mutex: 10; trace: 5)."`
	Out     string `type:"path" placeholder:"FILE" help:"File to write, \"-\" for standard output. Default: goroutines are printed, others go to a file here."`
	Config  string `short:"c" type:"path" placeholder:"FILE" help:"The box's configuration file, for its data folder." env:"WATCHPOST_CONFIG"`
	Data    string `type:"path" placeholder:"DIR" help:"Data folder of the box." env:"WATCHPOST_DATA"`
}

// Run is called by kong.
func (c *debugCmd) Run(ctx context.Context, p app.Program) error {
	return p.Debug(ctx, app.DebugOptions{What: c.What, Seconds: c.Seconds, Out: c.Out, DataDir: c.Data, Config: c.Config})
}
