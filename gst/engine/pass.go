package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"encoding/hex"
	"errors"
	"strings"
	"unsafe"

	"github.com/watchpost/watchpost/gst/h264"
	"github.com/watchpost/watchpost/gst/plan"
)

// passer hands a source's own H.264 units to Handlers.Unit, in the order and at
// the time in which the decoder gets them. Only the feeder of the moment uses it.
type passer struct {
	stream  h264.Stream
	caps    *C.GstCaps // the stream was told of these; a reference is held
	seq     uint64     // units up to here were handed out
	refused bool
	gap     bool // a unit since the one handed out last was damaged
}

func (p *passer) close() {
	if p.caps != nil {
		C.wp_caps_unref(p.caps)
		p.caps = nil
	}
}

// pass hands a unit out, once, even when a second decoder is fed with it.
func (p *passer) pass(h *Handlers, u *unit) {
	if h.Unit == nil || p.refused || u.seq <= p.seq {
		return
	}
	p.gap = p.gap || u.torn || p.seq > 0 && u.seq != p.seq+1
	p.seq = u.seq
	problem := p.configure(u)
	if problem == "" && u.outside {
		problem = "its edit list leaves pictures out"
	}
	if problem == "" && u.pts == none {
		problem = "its pictures carry no times"
	}
	var out h264.Unit
	if problem == "" {
		data := make([]byte, int(u.c.size))
		if len(data) > 0 {
			n := C.gst_buffer_extract(u.c.buf, 0, C.gpointer(unsafe.Pointer(&data[0])), C.gsize(len(data)))
			data = data[:int(n)]
		}
		var err error
		if out, err = p.stream.Unit(data); err != nil {
			// The decoder complains of it, or conceals it. Parameter sets that come
			// by themselves are no loss.
			p.gap = p.gap || !errors.Is(err, h264.ErrNoPicture)
			return
		}
		problem = p.stream.Problem()
	}
	if problem != "" {
		p.refused = true
		if h.NoUnits != nil {
			h.NoUnits(problem)
		}
		return
	}
	// A torn keyframe may be the whole one after a loss, or the one that lacks a
	// part: it is not told which.
	h.Unit(Unit{PTS: u.pts, Captured: u.captured, Keyframe: out.Keyframe && !u.torn, Gap: p.gap, Data: out.Data})
	p.gap = false
}

// configure tells the stream its form when that is new; problem is why the
// source's units cannot be handed out at all.
func (p *passer) configure(u *unit) (problem string) {
	if p.caps == u.c.caps {
		return ""
	}
	p.close()
	p.caps = C.gst_caps_ref(u.c.caps)
	s := describe(u)
	switch {
	case s.codec == "raw":
		return "it comes uncompressed"
	case s.codec != "h264":
		return "it comes as " + s.human + ", not as H.264"
	case s.orientation != "" && s.orientation != "rotate-0":
		return "its pictures have to be turned"
	}
	if strings.Contains(s.caps, "stream-format=(string)avc") {
		config, err := hex.DecodeString(plan.CapsField(s.caps, "codec_data"))
		if err != nil {
			config = []byte{}
		}
		if err := p.stream.Configure(config); err != nil {
			return "its decoder configuration is damaged"
		}
		return ""
	}
	_ = p.stream.Configure(nil) // cannot fail
	return ""
}
