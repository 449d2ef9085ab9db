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

	"github.com/watchpost/watchpost/gst/plan"
)

// Unit is one encoded picture.
type Unit struct {
	// PTS and Captured are the frame's.
	PTS      time.Duration
	Captured int64
	Keyframe bool
	// Gap: units before it are missing, or part of itself. Nothing whole can be
	// made of it and of those after it, up to a keyframe.
	Gap bool
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

	room chan struct{} // a unit came out, or it failed

	mu     sync.Mutex
	ledger ledger
	err    error
	hung   bool // err is that nothing comes out: its threads cannot be joined
	done   chan struct{}
	closed bool
	since  time.Time // of closing
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
	names := []string{"in", "enc"}
	if e.Path == "" {
		names = append(names, "out")
	}
	b, err := build(p, names...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", element, err)
	}
	x := &Encoder{plan: e, name: element, out: out, pipe: b, fit: NewScaler(), room: make(chan struct{}, 1), done: make(chan struct{})}
	if element == "openh264enc" {
		C.wp_pass_eos(b.el("enc"))
	}
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
	return len(x.ledger.inside)
}

// Skipped is how many frames the encoder left out: it took them, and gave no
// unit for them.
func (x *Encoder) Skipped() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ledger.skipped
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
	x.closed, x.since = true, time.Now()
	x.mu.Unlock()
	C.wp_src_eos(x.pipe.el("in"))
	<-x.done
	x.fit.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ledger.skipped += len(x.ledger.inside)
	x.ledger.inside = nil
	if x.hung {
		// Stopping waits for the thread that hangs. It ends with the process, if
		// not before.
		go x.pipe.close()
	} else {
		x.pipe.close()
	}
	return x.err
}
