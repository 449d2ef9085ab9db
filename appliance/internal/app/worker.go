package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/media"
)

// WorkerOptions are what Program.Worker is asked for.
type WorkerOptions struct {
	DataDir string
	Survey  bool   // prove decoders and encoders, print the report
	Warm    bool   // fill the plugin registry's cache
	Prove   string // prove one candidate
}

// Worker is a media worker's process: it serves one start command on the link
// that it inherited, and ends with it.
func (p Program) Worker(ctx context.Context, o WorkerOptions) error {
	ignoreSignals()
	data, err := dataDir(o.DataDir)
	if err != nil {
		return err
	}
	switch {
	case o.Warm:
		return warm(data, p.Log)
	case o.Survey, o.Prove != "":
		return survey(ctx, data, o.Prove, os.Stdout, p.Log)
	}
	conn, err := link.Inherited()
	if err != nil {
		return of(ErrUsage, "%v", err)
	}
	defer conn.Close()
	err = media.Run(ctx, conn, media.Config{DataDir: data, Version: p.Version}, p.Log)
	var fault link.Fault
	if errors.As(err, &fault) {
		// It was reported over the link; the last line on stderr is for a
		// supervisor that lost the link.
		return of(kindOf(fault.Kind), "%s", fault.Message)
	}
	if err != nil {
		return fmt.Errorf("media worker: %w", err)
	}
	return nil
}
