package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/worker/media"
	"github.com/watchpost/watchpost/appliance/internal/worker/sandbox"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/hw"
	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/proof"
)

// surveyDelay lets a box that starts show its first pictures before the survey
// takes the processor.
const surveyDelay = 4 * time.Second

// surveyNice is the niceness of surveys, beyond that of media workers.
const surveyNice = 10

// hardware is what this box has, as far as it is known.
type hardware struct {
	surveyor hw.Surveyor
	log      *slog.Logger
	report   atomic.Pointer[hw.Report]
}

func newHardware(data, version string, log *slog.Logger) *hardware {
	h := &hardware{log: log, surveyor: hw.Surveyor{
		Exe: "/proc/self/exe", Args: []string{"worker", "--survey", "--data", data},
		Cache: filepath.Join(data, "hardware.json"), Version: version,
	}}
	r, ok := h.surveyor.Cached()
	if !ok {
		r = hw.Provisional()
	}
	h.report.Store(r)
	return h
}

// run surveys once, if nothing is known of this machine yet.
func (h *hardware) run(ctx context.Context) error {
	if h.report.Load().Provisional {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(surveyDelay):
		}
		r, err := hw.RunSurvey(ctx, h.surveyor)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// The software decoders serve meanwhile; the next start tries again.
			h.log.Warn("hardware was not surveyed", "error", err)
		}
		h.report.Store(r)
	}
	h.say()
	<-ctx.Done()
	return nil
}

// say logs once what was chosen, and what is here and was refused.
func (h *hardware) say() {
	var chosen []string
	for _, e := range h.report.Load().Elements {
		switch {
		case e.Chosen:
			chosen = append(chosen, fmt.Sprintf("%s %s: %s", e.Role, e.Codec, e.Element))
		case e.Present && !e.Proven && e.Kind.Hardware():
			h.log.Info("hardware refused", "element", e.Element, "for", string(e.Role)+" "+e.Codec, "reason", e.Reason)
		}
	}
	h.log.Info("hardware chosen", "elements", strings.Join(chosen, ", "))
	if missing := sandbox.Survey().Missing; len(missing) > 0 {
		h.log.Warn("pushed files are handled with less protection than there could be", "missing", strings.Join(missing, "; "))
	}
}

// view is the report as the API tells it.
func (h *hardware) view(context.Context) (api.Hardware, error) {
	r := h.report.Load()
	var v api.Hardware
	for _, e := range r.Elements {
		x := api.Element{Codec: e.Codec, Element: e.Element, Kind: string(e.Kind), Proven: e.Proven, Chosen: e.Chosen, Reason: e.Reason}
		if e.Role == hw.Decode {
			v.Decoders = append(v.Decoders, x)
		} else {
			v.Encoders = append(v.Encoders, x)
		}
	}
	for _, a := range r.Accelerators {
		v.Accelerators = append(v.Accelerators, api.Accelerator{Name: a.Name, Proven: a.Proven, Reason: a.Reason, Version: a.Version})
	}
	for _, c := range r.Cameras {
		d := api.CaptureDevice{Path: c.Path, Name: c.Name, Problem: c.Problem}
		for _, m := range c.Modes {
			d.Formats = append(d.Formats, m.String())
		}
		v.Cameras = append(v.Cameras, d)
	}
	// Asked anew: it takes microseconds, and a survey's cache would outlive the kernel.
	s := sandbox.Survey()
	v.Sandbox = api.Sandbox{LandlockABI: s.LandlockABI, Seccomp: s.Seccomp, Missing: s.Missing}
	return v, nil
}

// survey is the surveying process's work, and with a candidate that of the
// process that proves it, which may die of it.
func survey(ctx context.Context, data, candidate string, out io.Writer, log *slog.Logger) error {
	if os.Getpid() == unix.Getpgrp() {
		// A group of its own, all threads of which give way to cameras that play
		// meanwhile. Where the kernel refuses, the survey is merely noticed.
		_ = unix.Setpriority(unix.PRIO_PGRP, 0, surveyNice)
	}
	p := proof.Processes{
		Exe: "/proc/self/exe", Args: []string{"worker", "--data", data, "--prove"},
		Engine: gstreamer(data, log),
	}
	if candidate != "" {
		return proof.Serve(ctx, p, candidate, out)
	}
	p.Accelerators = accelerators(data)
	return proof.Survey(ctx, p, out)
}

// accelerators are the model runtime's execution providers, asked of itself.
func accelerators(data string) []hw.Accelerator {
	rt, err := accel.Open(accel.Find(data))
	if err != nil {
		return []hw.Accelerator{{Name: "ONNX Runtime", Reason: err.Error()}}
	}
	defer rt.Close()
	var list []hw.Accelerator
	for _, name := range rt.Providers() {
		list = append(list, hw.Accelerator{Name: name, Proven: true, Version: rt.Version()})
	}
	for _, r := range rt.Refusals() {
		list = append(list, hw.Accelerator{Name: r.Provider, Version: rt.Version(), Reason: r.Reason})
	}
	return list
}

// warmUp fills the plugin registry's cache where there is none yet, in a process of
// its own. On a board that takes seconds, and as many again for each worker that
// starts meanwhile.
func warmUp(ctx context.Context, data string, log *slog.Logger) {
	if _, err := os.Stat(filepath.Join(data, media.RegistryFile)); err == nil {
		return
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "worker", "--warm", "--data", data)
	if out, err := cmd.CombinedOutput(); err != nil && ctx.Err() == nil {
		log.Warn("the plugins were not looked over", "error", err, "output", string(out[:min(len(out), 500)]))
		return
	}
	log.Info("looked over GStreamer's plugins, once for this machine", "took", time.Since(began).Round(time.Millisecond))
}

// warm starts GStreamer once with the box's own registry cache.
func warm(data string, log *slog.Logger) error {
	if err := engine.Start(gstreamer(data, log)); err != nil {
		return fmt.Errorf("start GStreamer: %w", err)
	}
	return nil
}

// gstreamer is how every process of the box starts GStreamer.
func gstreamer(data string, log *slog.Logger) engine.Options {
	return engine.Options{Registry: filepath.Join(data, media.RegistryFile), Log: log}
}
