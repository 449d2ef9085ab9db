package engine

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

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

// Bounds of Push's waiting.
const (
	// overdue is how long the oldest frame may take before one more is let in:
	// the encoder may have skipped it, and only what follows would tell.
	overdue = 500 * time.Millisecond
	// patience is how long an encoder may give nothing at all; a recording may
	// have to wait for its disk.
	patience       = 5 * time.Second
	patienceOnDisk = time.Minute
	// queueFrames bounds what waits in front of the encoder; more than the limit
	// and all that overdue lets in during patience.
	queueFrames = 24
)

// Push encodes a frame, which it takes over, even when it fails. Another size
// than the encoder's is scaled to it. It waits while the encoder has three
// frames, and fails when nothing comes out for 5 s (a minute for a recording).
func (x *Encoder) Push(f *Frame) error {
	f, err := x.prepare(f)
	if err != nil {
		return err
	}
	if err := x.wait(); err != nil {
		f.Release()
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
	if x.plan.Path == "" {
		x.ledger.in(inside{at: at, pts: f.PTS, captured: f.Captured, since: time.Now()})
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

// wait returns when there is room for a frame.
func (x *Encoder) wait() error {
	start := time.Now()
	for {
		room, err := x.hasRoom(start)
		if room || err != nil {
			return err
		}
		t := time.NewTimer(time.Millisecond)
		if x.plan.Path == "" {
			t.Reset(overdue / 5)
		}
		select {
		case <-x.room:
		case <-t.C:
		}
		t.Stop()
	}
}

func (x *Encoder) hasRoom(start time.Time) (bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	switch {
	case x.err != nil:
		return false, x.err
	case x.plan.Path != "":
		if int(C.wp_src_level(x.pipe.el("in"))) < held {
			return true, nil
		}
		if now.Sub(start) < patienceOnDisk {
			return false, nil
		}
	default:
		if len(x.ledger.inside) < x.limit() {
			return true, nil
		}
		if x.ledger.full.IsZero() {
			x.ledger.full = now
		}
		if now.Sub(x.ledger.full) < patience {
			return now.Sub(start) > overdue && len(x.ledger.inside) < queueFrames, nil
		}
	}
	x.hung = true
	x.err = fmt.Errorf("%s hangs: it takes frames, and nothing comes out", x.name)
	return false, x.err
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
	x.mu.Unlock()
	x.ready()
}

// ready wakes a Push that waits.
func (x *Encoder) ready() {
	select {
	case x.room <- struct{}{}:
	default:
	}
}

// collect hands out what the encoder makes, until its end or its failure.
func (x *Encoder) collect() {
	defer close(x.done)
	for {
		if x.plan.Path == "" {
			var p C.wp_packet
			switch C.wp_pull_packet(x.pipe.el("out"), C.guint64(pullStep), &p) {
			case 1:
				x.hand(&p)
				continue
			case -1:
				_ = x.broken()
				return
			}
		} else {
			time.Sleep(10 * time.Millisecond)
		}
		if x.heard() || x.stopping() {
			return
		}
	}
}

// heard reads the bus and tells whether it says the end.
func (x *Encoder) heard() bool {
	for {
		m, ok := x.pipe.pop()
		switch {
		case !ok:
			return false
		case m.kind == msgError:
			x.fail(fmt.Errorf("%s: %s (%s)", x.name, m.text, m.source))
			return true
		case m.kind == msgEOS && x.plan.Path != "":
			return true
		}
	}
}

// hand passes a packet on, with the times of its frame.
func (x *Encoder) hand(p *C.wp_packet) {
	u := Unit{
		Keyframe: p.keyframe != 0,
		Data:     C.GoBytes(unsafe.Pointer(p._map.data), C.int(p._map.size)),
	}
	at := time.Duration(p.pts)
	C.wp_packet_clear(p)
	x.mu.Lock()
	f, work := x.ledger.out(at, time.Now())
	x.mu.Unlock()
	x.ready()
	u.PTS, u.Captured, u.Encode = f.pts, f.captured, work
	x.out(u)
}

// stopping tells that nothing more is waited for.
func (x *Encoder) stopping() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed && (x.hung || time.Since(x.since) > drainTime)
}
