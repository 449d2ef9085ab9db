package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// shift moves all times in a decoder's pipeline away from zero: containers show
// some units from before the beginning, and GStreamer's times are unsigned.
const shift = time.Hour

// decoder is one decoder element in its pipeline.
type decoder struct {
	element string // empty: raw video
	pipe    *pipe
	tap     *C.wp_tap
	caps    *C.GstCaps // of the last unit, compared by address; a reference is held
	stamps  stamps

	// Of one whose source counts: what was pushed, as far as push returned.
	counts  bool
	pushed  atomic.Uint64 // units
	newest  atomic.Uint64 // name of the last one
	lastKey atomic.Uint64 // name of the last keyframe
}

// waiting is how many decoded frames may wait to be pulled.
const waiting = 2

// stream is what the units of a source are.
type stream struct {
	caps          string
	codec, human  string
	parser        string
	width, height int
	fpsN, fpsD    int
	orientation   plan.Orientation
	// bare: no container tells of the size or the profile of what is in the units.
	bare bool
}

func describe(u *unit) stream {
	c := C.wp_caps_string(u.c.caps)
	defer C.g_free(C.gpointer(unsafe.Pointer(c)))
	s := stream{caps: C.GoString(c), orientation: u.facts.orientation}
	s.codec, s.human, s.parser = plan.Codec(s.caps)
	var w, h, n, d C.int
	C.wp_caps_video(u.c.caps, &w, &h, &n, &d)
	s.width, s.height, s.fpsN, s.fpsD = int(w), int(h), int(n), int(d)
	return s
}

// candidates lists the decoders to try for a unit's caps; a single empty name
// for raw video.
func candidates(src plan.Source, s stream, u *unit) []string {
	if s.codec == "raw" {
		return []string{""}
	}
	names := C.wp_decoders(u.c.caps)
	defer C.g_free(C.gpointer(unsafe.Pointer(names)))
	var ranked []string
	if list := C.GoString(names); list != "" {
		ranked = strings.Split(list, ",")
	}
	var have []string
	for _, e := range plan.Candidates(src, s.codec, ranked) {
		if HasElement(e) {
			have = append(have, e)
		}
	}
	return have
}

// startDecoder builds and starts the pipeline around one decoder element.
func startDecoder(src plan.Source, live bool, s stream, u *unit, element string) (*decoder, error) {
	parser := ""
	if element != "" && s.parser != "" && HasElement(s.parser) && !takes(element, u.c.caps, s.bare) {
		parser = s.parser
	}
	p, err := build(plan.Frames(plan.Decode{
		Element: element, Parser: parser, Orientation: s.orientation, Live: live, Threads: src.Threads,
	}), "in", "out")
	if err != nil {
		return nil, err
	}
	d := &decoder{element: element, pipe: p, tap: C.wp_tap_new(p.el("out"), waiting)}
	if d.counts = s.bare; d.counts {
		C.wp_src_count(p.el("in"))
	}
	d.setCaps(u)
	_ = p.play() // why it failed is on the bus
	return d, nil
}

// takes tells whether an element may be given what has these caps; whole: even if it
// asks for more than they say.
func takes(element string, caps *C.GstCaps, whole bool) bool {
	var all C.int
	if whole {
		all = 1
	}
	c := C.CString(element)
	defer C.free(unsafe.Pointer(c))
	return C.wp_factory_takes(c, caps, all) != 0
}

func (d *decoder) setCaps(u *unit) {
	if d.caps == u.c.caps {
		return
	}
	if d.caps != nil {
		C.wp_caps_unref(d.caps)
	}
	d.caps = C.gst_caps_ref(u.c.caps)
	C.wp_src_caps(d.pipe.el("in"), u.c.caps)
}

// push hands a unit over; the caller keeps its own hold on it. It blocks while
// the decoder has enough, and returns false once the decoder stopped.
func (d *decoder) push(u *unit) bool {
	d.setCaps(u)
	at := func(t time.Duration) C.gint64 {
		if t == none || t < -shift {
			return C.WP_NONE
		}
		return C.gint64(t + shift)
	}
	name := u.seq << 1
	if u.outside {
		name |= 1
	} else {
		d.stamps.add(u.pts, u.dts)
	}
	if u.keyframe {
		d.lastKey.Store(u.seq)
	}
	ok := C.wp_push_unit(d.pipe.el("in"), u.c.buf, at(u.pts), at(u.dts), u.c.duration,
		C.guint64(name), C.gint64(u.captured)) == 0
	d.newest.Store(u.seq)
	d.pushed.Add(1)
	return ok
}

// idle tells, of a decoder whose source counts, that it is done with everything that
// it was given.
func (d *decoder) idle() bool {
	n := d.pushed.Load()
	return d.counts && uint64(C.wp_src_done(d.pipe.el("in"))) >= n
}

func (d *decoder) end() { C.wp_src_eos(d.pipe.el("in")) }

// stop makes push and pull return; nothing more comes out.
func (d *decoder) stop() {
	C.wp_tap_flush(d.tap)
	d.pipe.stop()
}

// close releases everything. Nobody may be in push or pull.
func (d *decoder) close() {
	d.stop()
	d.pipe.close()
	if d.caps != nil {
		C.wp_caps_unref(d.caps)
		d.caps = nil
	}
}

// pulled is what came out of a decoder.
type pulled struct {
	frame    *Frame
	pts      time.Duration // or none
	seq      uint64        // of the unit, 0: not known
	captured int64
	outside  bool
	fpsN     int
	fpsD     int
}

// The outcomes of pull.
const (
	pullFrame = 1
	pullNone  = 0
	pullEnd   = -1
	pullBad   = -2 // a frame that cannot be read
)

// pull waits up to pullStep for a frame.
func (d *decoder) pull() (pulled, int, error) {
	var p C.wp_picture
	if r := int(C.wp_pull_frame(d.tap, C.guint64(pullStep), &p)); r != pullFrame {
		return pulled{}, r, nil
	}
	f := newFrame(&p)
	f.Corrupted = p.corrupted != 0
	out := pulled{frame: f, pts: none, fpsN: int(p.fps_n), fpsD: int(p.fps_d)}
	if p.pts != C.WP_NONE {
		out.pts = time.Duration(p.pts) - shift
	}
	if p.named != 0 {
		out.seq, out.outside, out.captured = uint64(p.seq)>>1, p.seq&1 != 0, int64(p.captured)
	}
	if !out.outside {
		out.pts = d.stamps.take(out.pts)
	}
	if p.full_range != 0 && f.Format != plan.RGB {
		c, err := f.copyTo(C.WP_RANGE_COMPRESS)
		f.Release()
		if err != nil {
			return pulled{}, pullBad, err
		}
		out.frame = c
	}
	return out, pullFrame, nil
}
