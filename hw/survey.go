package hw

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options are what a survey needs besides a prover.
type Options struct {
	// Runner proves; nil: in this process.
	Runner Runner
	// GStreamer is the version that is running, for the report.
	GStreamer string
	// Accelerators are the model runtime's providers, found by whoever loads it.
	Accelerators []Accelerator
	// nodes and cameras stand for the machine in tests.
	nodes   func(pattern string) []string
	cameras func() ([]Camera, error)
}

// Survey proves whatever this box has and returns what it found. It fails only if
// ctx ends.
func Survey(ctx context.Context, p Prover, o Options) (*Report, error) {
	if o.Runner == nil {
		o.Runner = Direct{p}
	}
	if o.nodes == nil {
		o.nodes = deviceNodes
	}
	if o.cameras == nil {
		o.cameras = Cameras
	}
	r := &Report{
		Kernel: kernelRelease(), GStreamer: o.GStreamer, TakenAt: time.Now().UTC(),
		Accelerators: o.Accelerators,
	}
	start := time.Now()
	there, missing := candidates(p.Has, o.nodes)
	r.Elements = missing
	add := func(out Outcome) {
		r.Elements = append(r.Elements, Element{
			Candidate: out.Candidate, Present: true,
			Proven: out.Reason == "", Reason: out.Reason, Took: out.Took, Frames: out.Frames,
		})
	}
	// Decoders first: the proven ones judge the encoders. Software together, so
	// that it needs one process only.
	o.Runner.Run(ctx, jobs(there, Decode, nil), add)
	r.sort()
	o.Runner.Run(ctx, jobs(there, Encode, r.judges()), add)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("survey: %w", context.Cause(ctx))
	}
	r.sort()
	r.choose()
	var err error
	if r.Cameras, err = o.cameras(); err != nil {
		return nil, err
	}
	r.Duration = time.Since(start)
	return r, nil
}

// jobs are the candidates of a role, hardware first, then software.
func jobs(all []Candidate, role Role, judges map[string]string) []Job {
	var hardware, software []Job
	for _, c := range all {
		switch {
		case c.Role != role:
		case c.Kind.Hardware():
			hardware = append(hardware, Job{c, judges[c.Codec]})
		default:
			software = append(software, Job{c, judges[c.Codec]})
		}
	}
	return append(hardware, software...)
}

// judges are the decoders that encoders are checked with: software where there is
// some, since a device that encodes and decodes may misunderstand itself.
func (r *Report) judges() map[string]string {
	m := map[string]string{}
	for _, wantSoftware := range []bool{true, false} {
		for _, e := range r.Elements {
			if e.Role == Decode && e.Proven && e.Kind.Hardware() != wantSoftware && m[e.Codec] == "" {
				m[e.Codec] = e.Element
			}
		}
	}
	return m
}

// deviceNodes lists the nodes that match a pattern, those with low numbers first.
func deviceNodes(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil // the patterns are this package's own
	}
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return found
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// deviceList is one line for each video, media, render and codec device, with its
// driver's name for it where the kernel tells: it changes when a device comes or goes.
func deviceList() string {
	var b strings.Builder
	for _, pattern := range []string{"/dev/video*", "/dev/media*", "/dev/dri/*", "/dev/mpp_service", "/dev/nvidia[0-9]*"} {
		for _, path := range deviceNodes(pattern) {
			name, _ := os.ReadFile("/sys/class/video4linux/" + filepath.Base(path) + "/name")
			fmt.Fprintf(&b, "%s %s\n", path, strings.TrimSpace(string(name)))
		}
	}
	return b.String()
}
