package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type workerCmd struct {
	Data   string `type:"path" help:"Data folder."`
	Survey bool   `help:"Prove this machine's decoders and encoders; print the report as JSON."`
	Warm   bool   `help:"Fill the plugin registry's cache and end."`
	Prove  string `hidden:"" help:"Prove one candidate, in a process that may crash."`
}

// Run is called by kong.
func (c *workerCmd) Run(ctx context.Context, p app.Program) error {
	return p.Worker(ctx, app.WorkerOptions{DataDir: c.Data, Survey: c.Survey, Warm: c.Warm, Prove: c.Prove})
}
