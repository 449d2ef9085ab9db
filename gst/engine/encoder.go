package engine

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// Unit is one encoded picture.
type Unit struct {
	// PTS and Captured are the frame's.
	PTS      time.Duration
	Captured int64
	Keyframe bool
	// Encode is how long the encoder worked on it, waiting not counted.
	Encode time.Duration
	// Data is Go memory and the receiver's: an H.264 access unit in Annex B,
	// parameter sets in front of every keyframe, or one VP8 frame.
	Data []byte
}

// Encoder turns frames of one size into units, or into an MP4. Push and Close
// are for one goroutine; the other methods are for any.
type Encoder struct {
	plan plan.Encode
	name string
	out  func(Unit)
	pipe *pipe
	fit  *Scaler

	caps   scalerKey // what the pipeline was told to expect
	origin time.Duration
	last   time.Duration // time given to the encoder
	pushed bool
	forced C.guint

	mu      sync.Mutex
	room    *sync.Cond
	pending []inside
	err     error
	done    chan struct{}
	closed  bool
	closing bool
	since   time.Time // of closing
}

// inside is a frame that the encoder has.
type inside struct {
	at       time.Duration // as the encoder was told
	pts      time.Duration
	captured int64
	since    time.Time
}

// held is how many frames may be in the encoder; Push waits beyond that.
const held = 3

// limit is how many frames may be inside. Encoders with frame threads or a
// hardware queue give nothing before they have some: to wait at three would be
// to wait for ever.
func (x *Encoder) limit() int {
	switch {
	case x.name == "openh264enc" || x.name == "vp8enc" || x.name == "x264enc" && x.plan.Live:
		return held
	case x.name == "x264enc":
		return held + x.plan.Threads
	}
	return held + 5
}

// ErrNoEncoder is wrapped by NewEncoder's error when no element can do it.
var ErrNoEncoder = errors.New("no encoder")

// NewEncoder starts the first of the plan's elements that works. out gets the
// units in order, from a goroutine of the encoder's; blocking it blocks Push.
// With a Path, out is not called.
func NewEncoder(e plan.Encode, out func(Unit)) (*Encoder, error) {
	if err := Start(Options{}); err != nil {
		return nil, err
	}
	e = e.Defaulted()
	var failures []error
	for _, element := range e.Elements {
		if !HasElement(element) {
			continue
		}
		x, err := startEncoder(element, e, out)
		if err == nil {
			return x, nil
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("%w for %s %dx%d: install gstreamer1.0-plugins-bad (openh264enc) or -ugly (x264enc): %w",
		ErrNoEncoder, e.Codec, e.Width, e.Height, errors.Join(failures...))
}

func startEncoder(element string, e plan.Encode, out func(Unit)) (*Encoder, error) {
	p, err := plan.Encoder(element, e)
	if err != nil {
		return nil, err
	}
	names := []string{"in"}
	if e.Path == "" {
		names = append(names, "out")
	}
	b, err := build(p, names...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", element, err)
	}
	x := &Encoder{plan: e, name: element, out: out, pipe: b, fit: NewScaler(), done: make(chan struct{})}
	x.room = sync.NewCond(&x.mu)
	if err := x.probe(); err != nil {
		b.close()
		return nil, fmt.Errorf("%s: %w", element, err)
	}
	go x.collect()
	return x, nil
}

// probe starts the pipeline and sees that the element opens.
func (x *Encoder) probe() error {
	err := x.pipe.play()
	if m := x.failure(); m != nil {
		return m
	}
	return err
}

func (x *Encoder) failure() error {
	for {
		m, ok := x.pipe.pop()
		if !ok {
			return nil
		}
		if m.kind == msgError {
			return fmt.Errorf("%s (%s)", m.text, m.source)
		}
	}
}

// Name is the element that encodes.
func (x *Encoder) Name() string { return x.name }

// Size is the size of the encoded picture: what was asked for, made even.
func (x *Encoder) Size() (w, h int) { return x.plan.Width, x.plan.Height }

// Pending is how many frames are in the encoder.
func (x *Encoder) Pending() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.pending)
}

// Keyframe makes the next frame that the encoder begins a keyframe, with
// parameter sets.
func (x *Encoder) Keyframe() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || x.plan.Path != "" {
		return
	}
	x.forced++
	C.wp_force_keyframe(x.pipe.el("out"), x.forced)
}

// Push encodes a frame, which it takes over, even when it fails. Another size
// than the encoder's is scaled to it. It waits while the encoder has three
// frames.
func (x *Encoder) Push(f *Frame) error {
	f, err := x.prepare(f)
	if err != nil {
		return err
	}
	if !x.pushed {
		x.pushed, x.origin, x.last = true, f.PTS, -1
	}
	// Encoders want times that rise; a frame that repeats one comes right after.
	at := f.PTS - x.origin
	if at <= x.last {
		at = x.last + time.Microsecond
	}
	x.last = at
	x.mu.Lock()
	for len(x.pending) >= x.limit() && x.err == nil {
		x.room.Wait()
	}
	if x.err != nil {
		x.mu.Unlock()
		f.Release()
		return x.err
	}
	if x.plan.Path == "" {
		x.pending = append(x.pending, inside{at: at, pts: f.PTS, captured: f.Captured, since: time.Now()})
	}
	x.mu.Unlock()
	step := time.Second * time.Duration(x.plan.FPSDen) / time.Duration(x.plan.FPSNum)
	var failed C.int
	if f.refs.Load() == 1 {
		mem := f.mem
		f.gone()
		f.refs.Store(0)
		failed = C.wp_push_frame(x.pipe.el("in"), mem, 1, C.gint64(at), C.gint64(step))
	} else {
		failed = C.wp_push_frame(x.pipe.el("in"), f.mem, 0, C.gint64(at), C.gint64(step))
		f.Release()
	}
	if failed != 0 {
		if err := x.broken(); err != nil {
			return err
		}
		return fmt.Errorf("%s: takes no more frames", x.name)
	}
	return nil
}

// broken is why the encoder failed.
func (x *Encoder) broken() error {
	if err := x.failure(); err != nil {
		x.fail(fmt.Errorf("%s: %w", x.name, err))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *Encoder) fail(err error) {
	x.mu.Lock()
	if x.err == nil {
		x.err = err
	}
	x.room.Broadcast()
	x.mu.Unlock()
}

// prepare brings a frame to the encoder's size and tells the pipeline of it.
func (x *Encoder) prepare(f *Frame) (*Frame, error) {
	if f.Width != x.plan.Width || f.Height != x.plan.Height {
		g, err := x.fitted(f)
		f.Release()
		if err != nil {
			return nil, err
		}
		f = g
	}
	key := scalerKey{from: f.Format, w: f.Width, h: f.Height}
	if x.caps != key {
		x.caps = key
		C.wp_raw_caps(x.pipe.el("in"), f.mem, C.int(x.plan.FPSNum), C.int(x.plan.FPSDen))
	}
	return f, nil
}

// fitted scales a frame to the encoder's size. One that only lacks the column
// or row to be even gets its last one again, so that boxes stay in place.
func (x *Encoder) fitted(f *Frame) (*Frame, error) {
	w, h := plan.Even(f.Width, f.Height)
	if w != x.plan.Width || h != x.plan.Height || w-f.Width > 1 || h-f.Height > 1 || f.Format == plan.RGB {
		return x.fit.Resize(f, x.plan.Width, x.plan.Height)
	}
	g, err := NewFrame(f.Format, w, h)
	if err != nil {
		return nil, err
	}
	g.PTS, g.Captured = f.PTS, f.Captured
	// Chroma has (Width+1)/2 samples either way: only luma grows.
	for p := range f.Planes {
		if f.Planes[p] == nil {
			continue
		}
		row, rows := f.Width, f.Height
		if p > 0 {
			row, rows = (f.Width+1)/2, (f.Height+1)/2
			if f.Format == plan.NV12 {
				row *= 2
			}
		}
		padPlane(g.Planes[p], g.Stride[p], f.Planes[p], f.Stride[p], row, rows, p == 0)
	}
	return g, nil
}

func padPlane(dst []byte, dstStride int, src []byte, srcStride, row, rows int, luma bool) {
	for y := range rows {
		copy(dst[y*dstStride:y*dstStride+row], src[y*srcStride:y*srcStride+row])
		if luma && row&1 == 1 {
			dst[y*dstStride+row] = src[y*srcStride+row-1]
		}
	}
	if luma && rows&1 == 1 {
		even := (row + 1) &^ 1
		copy(dst[rows*dstStride:rows*dstStride+even], dst[(rows-1)*dstStride:])
	}
}

// collect hands out what the encoder makes, until its end or its failure.
func (x *Encoder) collect() {
	defer close(x.done)
	if x.plan.Path != "" {
		x.await()
		return
	}
	lastOut := time.Now()
	for {
		var p C.wp_packet
		switch C.wp_pull_packet(x.pipe.el("out"), C.guint64(pullStep), &p) {
		case 1:
			u := Unit{
				Keyframe: p.keyframe != 0,
				Data:     C.GoBytes(unsafe.Pointer(p._map.data), C.int(p._map.size)),
			}
			C.wp_packet_clear(&p)
			now := time.Now()
			x.match(&u, now, lastOut)
			lastOut = now
			x.out(u)
		case -1:
			if err := x.failure(); err != nil {
				x.fail(fmt.Errorf("%s: %w", x.name, err))
			}
			return
		default:
			if err := x.failure(); err != nil {
				x.fail(fmt.Errorf("%s: %w", x.name, err))
				return
			}
			if x.stopping() {
				return
			}
		}
	}
}

// match gives a unit the times of its frame. There are no B-frames, so units
// come in the order of frames.
func (x *Encoder) match(u *Unit, now, lastOut time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.pending) == 0 {
		return
	}
	in := x.pending[0]
	x.pending = append(x.pending[:0], x.pending[1:]...)
	u.PTS, u.Captured = in.pts, in.captured
	if in.since.After(lastOut) {
		lastOut = in.since
	}
	u.Encode = now.Sub(lastOut)
	x.room.Broadcast()
}

// await watches the pipeline that writes a file.
func (x *Encoder) await() {
	for {
		m, ok := x.pipe.pop()
		switch {
		case !ok:
			if x.stopping() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		case m.kind == msgEOS:
			return
		case m.kind == msgError:
			x.fail(fmt.Errorf("%s: %s (%s)", x.name, m.text, m.source))
			return
		}
	}
}

// stopping tells that nothing more will come out: openh264enc holds nothing
// back, and complains on standard error when it is asked to drain.
func (x *Encoder) stopping() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closing && (!x.drains() && len(x.pending) == 0 || time.Since(x.since) > drainTime)
}

func (x *Encoder) drains() bool { return x.name != "openh264enc" || x.plan.Path != "" }

// drainTime is how long an encoder may take over its last frames, and a muxer
// over moving a long recording's index to the front.
const drainTime = 2 * time.Minute

// Close takes what is still in the encoder, finishes the file, and releases
// everything. The first error that the encoder had is returned.
func (x *Encoder) Close() error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return x.err
	}
	x.closed, x.closing, x.since = true, true, time.Now()
	x.mu.Unlock()
	if x.drains() {
		C.wp_src_eos(x.pipe.el("in"))
	}
	<-x.done
	x.fit.Close()
	x.pipe.close()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pending = nil
	return x.err
}
