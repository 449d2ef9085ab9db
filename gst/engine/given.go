package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"sync"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/h264"
	"github.com/watchpost/watchpost/gst/plan"
)

// Encoded is one encoded picture that is handed to ReadUnits.
type Encoded struct {
	// Codec is "h264" (an access unit in Annex B, parameter sets in front of
	// keyframes), "vp8" (a frame) or "jpeg". It is the same for all.
	Codec string
	// PTS of the frame; Captured is CLOCK_MONOTONIC in ns when it reached the box,
	// 0: when ReadUnits took it.
	PTS      time.Duration
	Captured int64
	// Keyframe: decoding can begin here. Every JPEG is one, whatever this says.
	Keyframe bool
	// Data is only read, and no longer once the frame or a later one came out.
	Data []byte
}

// ReadUnits plays encoded pictures that are given one by one, as Read plays a
// source, and returns nil once units is closed and every frame came out, ctx.Err()
// after a cancel, and an *Error if there is no decoder for them here.
//
// A frame comes before the next unit is needed: whoever gives a picture, waits for
// its frame and only then gives the next is served. Sizes may change from keyframe
// to keyframe. What is damaged or cannot be decoded is told as a warning and costs
// the pictures up to the next keyframe; it ends nothing.
//
// With src.Live a unit that finds the decoder more than a second behind is left
// out, with those up to the next keyframe; without, it waits, and units with it. Of
// src, Decoders, Refused, Threads and Title count, too.
//
// refresh (may be nil) is called, one call at a time, whenever only a keyframe
// would help, as often as a unit shows that; the callee limits what comes of it.
func ReadUnits(ctx context.Context, src plan.Source, units <-chan Encoded, h Handlers, refresh func()) error {
	if err := Start(Options{}); err != nil {
		return fail(Internal, "%s", err)
	}
	name := src.Title
	if name == "" {
		name = "the video"
	}
	r := &reader{src: src, in: plan.Input{Kind: plan.Given, Live: true}, h: h, name: name}
	r.warnings.emit = h.Warning
	defer r.warnings.flush()
	g := &given{r: r, units: units, ask: refresh}
	r.given, r.source = g, g.pump
	return r.run(ctx)
}

// given is what ReadUnits adds to a reader: the source of its units, and the eye on
// those that become no frame.
type given struct {
	r     *reader
	units <-chan Encoded

	asking sync.Mutex
	ask    func()

	// Of pump.
	caps  *C.GstCaps
	codec string
	seq   uint64
	begun bool // a keyframe was handed on, and nothing was left out since

	tally tally // of decode
}

func (g *given) refresh() {
	if g.ask == nil {
		return
	}
	g.asking.Lock()
	defer g.asking.Unlock()
	g.ask()
}

// pump moves what is given to the queue.
func (g *given) pump(ctx context.Context) error {
	defer func() {
		if g.caps != nil {
			C.wp_caps_unref(g.caps)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-g.units:
			if !ok {
				return nil
			}
			if err := g.take(ctx, e); err != nil {
				return err
			}
		}
	}
}

// take queues one picture, or leaves it out.
func (g *given) take(ctx context.Context, e Encoded) error {
	if err := g.describe(e.Codec); err != nil {
		return err
	}
	keyframe := e.Keyframe || e.Codec == "jpeg"
	switch {
	case len(e.Data) == 0:
		g.r.warnings.add("a picture came without any data")
		g.begun = g.begun && keyframe
		g.refresh()
		return nil
	case !g.begun && !keyframe:
		g.refresh()
		return nil
	}
	u := g.unit(e, keyframe)
	if !g.r.src.Live {
		g.begun = true
		select {
		case g.r.units <- u:
			return nil
		case <-ctx.Done():
			u.free()
			return ctx.Err()
		}
	}
	select {
	case g.r.units <- u:
		g.begun = true
	default:
		u.free()
		g.r.dropped.Add(1)
		g.begun = false
		g.refresh()
	}
	return nil
}

// describe has the caps follow the codec.
func (g *given) describe(codec string) error {
	if codec == g.codec && g.caps != nil {
		return nil
	}
	if g.caps != nil {
		return fail(Unsupported, "%s: its codec changed from %s to %s", g.r.name, g.codec, codec)
	}
	text, ok := plan.GivenCaps(codec)
	if !ok {
		return fail(Unsupported, "%s: pictures in %q cannot be taken: want h264, vp8 or jpeg", g.r.name, codec)
	}
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	if g.caps = C.wp_caps_new(c); g.caps == nil {
		return fail(Internal, "%s: cannot describe %s", g.r.name, codec)
	}
	g.codec = codec
	return nil
}

// unit is a picture as a unit of its own. One of VP8 that is never shown (RFC 6386
// clause 9.1) goes by the name of the one before: it is not missed.
func (g *given) unit(e Encoded, keyframe bool) *unit {
	const inter, shown = 0x01, 0x10
	if hidden := e.Codec == "vp8" && e.Data[0]&(inter|shown) == inter; !hidden {
		g.seq++
	}
	u := &unit{
		pts: e.PTS, dts: none, duration: none,
		seq: g.seq, captured: e.Captured, keyframe: keyframe,
		facts: facts{frame: time.Second / 30},
	}
	data := e.Data
	if e.Codec == "h264" && keyframe {
		data = h264.InOrder(data)
	}
	C.wp_unit_make(&u.c, unsafe.Pointer(&data[0]), C.gsize(len(data)), g.caps)
	if u.captured == 0 {
		u.captured = monotonic()
	}
	return u
}
