package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// Info describes a source, as far as it is known when its first frame is there.
type Info struct {
	Codec         string // for people: "H.264"
	Width, Height int    // of the frames, after rotation
	// FPS is the nominal rate, FPSNum/FPSDen the same as a fraction; 0 (0/1) if
	// the source does not say.
	FPS            float64
	FPSNum, FPSDen int
	Rotation       int           // degrees clockwise that were applied
	Mirrored       bool          // it was mirrored before
	Decoder        string        // the element; empty for raw video
	Container      string        // the file's kind, as its name tells it; or rtsp, v4l2, test
	Duration       time.Duration // 0: unknown
	Live           bool
	// VariableRate: frames last differently long, as far as was seen.
	VariableRate bool
}

// Handlers get what a source gives. They are called one at a time, from the
// goroutine that is in Read.
type Handlers struct {
	// Info before the first frame, and again before a frame that differs.
	Info func(Info)
	// Frame passes on ownership: the handler sees to its Release. Blocking it
	// blocks a file; a live source drops up to its next keyframe.
	Frame func(*Frame)
	// Warning is one line about what was wrong though it goes on.
	Warning func(string)
	// Unit gets the source's own pictures in front of the decoder, as long as
	// they are H.264 that players can show as it is; PTS are the frames'. Unlike
	// the others it may be called beside them, from another goroutine, one call
	// at a time. nil: not wanted.
	Unit func(Unit)
	// NoUnits is called instead, once, with the reason ("it has B-frames") when
	// the source's pictures cannot be shown as they are; no Unit follows.
	NoUnits func(reason string)
}

// Read opens a source, plays it and blocks until it ends: nil at the end of a
// file, ctx.Err() after a cancel, else an *Error.
func Read(ctx context.Context, src plan.Source, h Handlers) error {
	var in *inlet
	if src.FD > 0 {
		in = newInlet(src.FD)
		defer in.close()
	}
	if err := Start(Options{}); err != nil {
		return fail(Internal, "%s", err)
	}
	name := src.Title
	if name == "" {
		name = plan.Name(src.URL)
	}
	if src.FD > 0 && plan.Kind(src.URL) != plan.File {
		return fail(Unsupported, "%s: is no file: it cannot be read from a pipe", name)
	}
	input, err := plan.Open(src)
	if err != nil {
		return fail(Unsupported, "%s", err)
	}
	r := &reader{src: src, in: input, h: h, name: name}
	r.warnings.emit = h.Warning
	defer r.warnings.flush()
	r.source = r.pump
	d, err := newDemuxer(input, in, src, name, r.warnings.add)
	if err != nil {
		return err
	}
	if err := d.look(); err != nil {
		return err
	}
	if d.inlet != nil {
		defer d.inlet.close()
	}
	r.demux = d
	return r.run(ctx)
}

// reader is one Read, or one ReadUnits.
type reader struct {
	src      plan.Source
	in       plan.Input
	h        Handlers
	name     string
	demux    *demuxer // of Read
	given    *given   // of ReadUnits, else nil
	warnings warnings

	// source brings units to the queue until there are no more.
	source func(context.Context) error

	units chan *unit
	// demuxErr is why there are no more units; set before units is closed.
	demuxErr error
	dropped  atomic.Int64 // live units that found no room

	pass passer

	frames uint64
	last   time.Duration // PTS of the last frame
	info   Info
	told   bool
}

// queued is how many units wait between the two pipelines: for a live source
// about a second, for a file what hides its start over when it loops.
func (r *reader) queued() int {
	if r.in.Kind == plan.RTSP {
		return 32
	}
	return 8
}

func (r *reader) run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	r.units = make(chan *unit, r.queued())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		r.demuxErr = r.source(inner)
		close(r.units)
	}()
	decode := r.decode
	if r.given != nil {
		decode = r.given.decode
	}
	err := decode(inner)
	r.pass.close()
	cancel()
	for u := range r.units {
		u.free()
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// pump moves units from the source to the queue.
func (r *reader) pump(ctx context.Context) error {
	d := r.demux
	defer d.close()
	if err := d.open(); err != nil {
		return err
	}
	skipping := false
	for {
		u, err := d.next(ctx)
		if err != nil {
			return err
		}
		if u == nil {
			if !d.loop {
				return nil
			}
			if err := d.again(); err != nil {
				return err
			}
			continue
		}
		if r.in.Kind == plan.File {
			select {
			case r.units <- u:
			case <-ctx.Done():
				u.free()
				return ctx.Err()
			}
			continue
		}
		// Live: what does not fit is left out up to the next keyframe, for the
		// units in between could not be decoded without it.
		if skipping && !u.keyframe {
			r.dropped.Add(1)
			u.free()
			continue
		}
		skipping = false
		select {
		case r.units <- u:
		default:
			r.dropped.Add(1)
			u.free()
			skipping = true
		}
	}
}
