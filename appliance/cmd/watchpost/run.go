package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type runCmd struct {
	Config string   `short:"c" type:"path" placeholder:"FILE" help:"Configuration file (YAML). Without one: --source, or the first camera found, or the demo scene." env:"WATCHPOST_CONFIG"`
	Source []string `short:"s" placeholder:"SOURCE" help:"A source to watch in place of the configured cameras: a file, rtsp://…, /dev/videoN, test:PATTERN or demo:. May be given several times." sep:"none"`
	Listen string   `placeholder:"ADDR" help:"Listen here in place of the configured address (127.0.0.1:8080)."`
	Media  string   `placeholder:"ADDR" help:"Address of the pictures' one UDP and one TCP port, in place of the configured one (port 8555 beside --listen)."`
	Model  string   `placeholder:"NAME" help:"Model to use in place of the configured one; \"motion\" for none."`
	Data   string   `type:"path" placeholder:"DIR" help:"Data folder in place of the configured one." env:"WATCHPOST_DATA"`
}

// Run is called by kong.
func (c *runCmd) Run(ctx context.Context, p app.Program) error {
	return p.Run(ctx, app.RunOptions{
		Config: c.Config, Sources: c.Source, Listen: c.Listen, Media: c.Media, Model: c.Model, DataDir: c.Data,
	})
}
