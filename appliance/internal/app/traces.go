package app

import (
	"errors"
	"io"
	"io/fs"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/health"
)

// traces are the stall meter's files as the API sees them.
type traces struct{ meter *health.Meter }

// List implements api.Traces.
func (t traces) List() ([]api.Trace, error) {
	all, err := t.meter.Traces()
	if err != nil {
		return nil, err
	}
	out := make([]api.Trace, len(all))
	for i, f := range all {
		out[i] = traceView(f)
	}
	return out, nil
}

// Open implements api.Traces.
func (t traces) Open(name string) (io.ReadSeekCloser, api.Trace, error) {
	f, about, err := t.meter.OpenTrace(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Trace{}, api.Explain(api.ErrNotFound, "There is no trace of this name: only the newest are kept. Those are at /api/v1/traces.")
	}
	if err != nil {
		return nil, api.Trace{}, err
	}
	return f, traceView(about), nil
}

func traceView(f health.Trace) api.Trace {
	kind := "goroutines"
	if f.Execution {
		kind = "trace"
	}
	return api.Trace{Name: f.Name, Kind: kind, Loop: f.Loop, Taken: f.Taken, Bytes: f.Bytes}
}
