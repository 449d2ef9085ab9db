package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/hw"
)

// Processes says how a surveying process works.
type Processes struct {
	// Exe and Args start a process that calls Serve with the argument after Args
	// (the program itself: "worker", "--prove"). Empty: everything in this process.
	Exe  string
	Args []string
	// Env is their environment; nil: this one's.
	Env []string
	// Engine is how GStreamer is started.
	Engine engine.Options
	// Accelerators are the model runtime's providers, for the report.
	Accelerators []hw.Accelerator
}

// Survey is the whole of a surveying process: it writes the hw.Report to w as JSON.
func Survey(ctx context.Context, p Processes, w io.Writer) error {
	if err := engine.Start(p.Engine); err != nil {
		return fmt.Errorf("survey the hardware: %w", err)
	}
	o := hw.Options{GStreamer: engine.Version(), Accelerators: p.Accelerators}
	if p.Exe != "" {
		o.Runner = hw.Children{Exe: p.Exe, Args: p.Args, Env: p.Env}
	}
	r, err := hw.Survey(ctx, Engine{}, o)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("write the survey's report: %w", err)
	}
	return nil
}

// Serve is the whole of a proving process: argument is what hw.Children put
// behind Args.
func Serve(ctx context.Context, p Processes, argument string, w io.Writer) error {
	if err := engine.Start(p.Engine); err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	return hw.ServeProofs(ctx, Engine{}, argument, w)
}
