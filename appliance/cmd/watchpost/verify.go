package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type verifyCmd struct {
	Dir       string  `arg:"" type:"path" help:"The results folder."`
	Source    string  `arg:"" help:"The file that was analysed."`
	Model     string  `placeholder:"NAME" help:"The model that was used, if it is not installed: its file or folder."`
	Tolerance float64 `placeholder:"PIXELS" default:"0" help:"By how much boxes may differ, for results of another decoder or processor; the ids of tracks and the video are passed over then."`
	Data      string  `type:"path" placeholder:"DIR" help:"Data folder (models, caches)." env:"WATCHPOST_DATA"`
	Quiet     bool    `short:"q" help:"Print differences only."`
}

// Run is called by kong.
func (c *verifyCmd) Run(ctx context.Context, p app.Program) error {
	return p.Verify(ctx, app.VerifyOptions{
		Dir: c.Dir, Source: c.Source, Model: c.Model, Tolerance: c.Tolerance, DataDir: c.Data, Quiet: c.Quiet,
	})
}
