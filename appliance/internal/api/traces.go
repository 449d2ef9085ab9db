package api

import (
	"context"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Traces are what the stall meter leaves when a control loop was held up.
type Traces interface {
	// List returns them, the newest first.
	List() ([]Trace, error)
	// Open opens one by its name for reading from its beginning. A name that List does
	// not know: ErrNotFound.
	Open(name string) (io.ReadSeekCloser, Trace, error)
}

// Trace is one file of the stall meter's.
type Trace struct {
	Name  string    `json:"name" doc:"The file's name" example:"stall-20260102T030405.678-camera_yard.trace"`
	Kind  string    `json:"kind" enum:"trace,goroutines" doc:"trace: an execution trace of the last seconds, for go tool trace; goroutines: where each goroutine was, as text"`
	Loop  string    `json:"loop,omitempty" doc:"The control loop that was held up; absent where the trace was asked for by hand"`
	Taken time.Time `json:"taken"`
	Bytes int64     `json:"bytes"`
}

type traceList struct {
	Traces []Trace `json:"traces" nullable:"false"`
}

type traceInput struct {
	Name string `path:"name" maxLength:"128" doc:"The file's name, as listed"`
}

func (t *routes) registerTraces(api huma.API) {
	huma.Register(api, operation("list-traces", http.MethodGet, "/api/v1/traces", "Execution traces and goroutines of stalls, the newest first", "Box"), t.traces)
	one := operation("get-trace", http.MethodGet, "/api/v1/traces/{name}", "One of them", "Box", 404)
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	one.Responses = map[string]*huma.Response{"200": {
		Description: "The file",
		Content: map[string]*huma.MediaType{
			"application/octet-stream":  {Schema: binary},
			"text/plain; charset=utf-8": {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}}
	huma.Register(api, one, t.trace)
}

func (t *routes) traces(context.Context, *struct{}) (*body[traceList], error) {
	all, err := t.d.Traces.List()
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[traceList]{traceList{list(all)}}, nil
}

func (t *routes) trace(_ context.Context, in *traceInput) (*huma.StreamResponse, error) {
	f, about, err := t.d.Traces.Open(in.Name)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer f.Close()
		r, w := humago.Unwrap(ctx)
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		if about.Kind == "goroutines" {
			h.Set("Content-Type", "text/plain; charset=utf-8")
		}
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": about.Name}))
		http.ServeContent(newPacedWriter(w), r, "", about.Taken, f)
	}}, nil
}
