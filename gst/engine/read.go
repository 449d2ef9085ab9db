package engine

import (
	"context"
	"errors"
	"fmt"
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

// reader is one Read.
type reader struct {
	src      plan.Source
	in       plan.Input
	h        Handlers
	name     string
	demux    *demuxer
	warnings warnings

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
		r.demuxErr = r.pump(inner)
		close(r.units)
	}()
	err := r.decode(inner)
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

// decode runs decoders over the units until there are no more.
func (r *reader) decode(ctx context.Context) error {
	var first *unit
	select {
	case u, ok := <-r.units:
		if !ok {
			return r.demuxErr
		}
		first = u
	case <-ctx.Done():
		return ctx.Err()
	}
	s := describe(first)
	list := candidates(r.src, s, first)
	if len(list) == 0 {
		first.free()
		return fail(Unsupported, "%s: %s video cannot be decoded on this box", r.name, s.human)
	}
	f := &feeder{r: r, backlog: []*unit{first}}
	defer f.free()
	var failure error
	for i, element := range list {
		err := r.decodeWith(ctx, f, s, element)
		if err == nil || r.frames > 0 || ctx.Err() != nil {
			return err
		}
		if failure == nil {
			failure = err
		}
		if f.lost {
			break // the beginning is gone: another decoder would not have it
		}
		if i+1 < len(list) {
			r.warnings.add(fmt.Sprintf("%s gave no picture, trying %s", element, list[i+1]))
		}
	}
	return failure
}

// restarts is how often a decoder that gives up is started again without a
// frame in between.
const restarts = 5

// decodeWith runs one decoder element, starting it again when it gives up in
// the middle.
func (r *reader) decodeWith(ctx context.Context, f *feeder, s stream, element string) error {
	for barren := 0; ; {
		before := r.frames
		again, err := r.session(ctx, f, s, element)
		if err != nil || !again {
			return err
		}
		if r.frames > before {
			barren = 0
		} else if barren++; barren > restarts {
			r.warnings.add("the decoder gives up: what follows cannot be decoded")
			return nil
		}
	}
}

// session runs one decoder pipeline to the end of the units or until it fails.
// again: it failed after frames had come, and may be started anew.
func (r *reader) session(ctx context.Context, f *feeder, s stream, element string) (again bool, err error) {
	head := f.peek()
	if head == nil {
		return false, r.demuxErr
	}
	d, err := startDecoder(r.src, r.in.Live, s, head, element)
	if err != nil {
		return false, fail(Internal, "%s: %s", r.name, err)
	}
	fctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.feed(fctx, d)
	}()
	failed, err := r.collect(ctx, d, f, s)
	stop()
	d.stop()
	<-done
	d.close()
	if err != nil || failed == nil {
		return false, err
	}
	if r.frames == 0 {
		f.rewind()
		return false, failed
	}
	r.warnings.add("decoding broke off: " + failed.Error())
	f.toKeyframe = true
	return true, nil
}

// collect takes frames from a decoder until its end. failed is why the decoder
// gave up, err why the whole ends.
func (r *reader) collect(ctx context.Context, d *decoder, f *feeder, s stream) (failed *Error, err error) {
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p, result, err := d.pull()
		if err != nil {
			r.warnings.add(err.Error())
			continue
		}
		if result == pullFrame {
			f.started()
			r.show(p, d, s, f.known())
			f.touch()
			continue
		}
		if result == pullBad {
			return fail(Unsupported, "%s: %s video cannot be brought into a usable form", r.name, s.human), nil
		}
		if e := r.listen(d, s); e != nil {
			return e, nil
		}
		if result == pullEnd {
			return r.drained(s)
		}
		if f.idle() > 20*time.Second {
			return fail(Damaged, "%s: decoding makes no progress", r.name), nil
		}
	}
}

// drained says what the end of the decoder's output means.
func (r *reader) drained(s stream) (failed *Error, err error) {
	if r.frames == 0 {
		var e *Error
		if errors.As(r.demuxErr, &e) {
			return e, nil
		}
		return fail(Damaged, "%s: is damaged: nothing in it could be decoded as %s", r.name, s.human), nil
	}
	var e *Error
	if errors.As(r.demuxErr, &e) && r.in.Kind == plan.File {
		// What was there was shown: a file that breaks off is not nothing.
		r.warnings.add("the file breaks off: " + e.Message)
		return nil, nil
	}
	return nil, r.demuxErr
}

// listen reads the decoder's bus.
func (r *reader) listen(d *decoder, s stream) *Error {
	for {
		m, ok := d.pipe.pop()
		if !ok {
			return nil
		}
		switch m.kind {
		case msgError:
			if m.domain == domainCore || m.domain == domainStream && (m.code == streamWrongType || m.code == streamCodecNotFound) {
				return fail(Unsupported, "%s: %s cannot decode this %s video", r.name, d.element, s.human)
			}
			return fail(Damaged, "%s: %s could not decode it: %s", r.name, d.element, m.text)
		case msgWarning:
			r.warnings.add("decoding: " + m.text)
		}
	}
}
