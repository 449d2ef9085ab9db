package engine

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// Still encodes frames as JPEG pictures, one after the other: it is for one
// goroutine. Sizes and layouts may change from call to call.
type Still struct {
	pipe *pipe
	caps scalerKey
	n    int
}

// jpegBlock is the width of what jpegenc takes at a time: four blocks of 8x8 luma, two
// by two. It reads rows up to whole ones, whatever lies behind the picture.
const jpegBlock = 16

// NewStill returns an encoder of pictures of a quality from 1 to 100. It fails where
// GStreamer has no jpegenc.
func NewStill(quality int) (*Still, error) {
	if err := Start(Options{}); err != nil {
		return nil, err
	}
	if !HasElement("jpegenc") {
		return nil, errors.New("GStreamer has no jpegenc: install gstreamer1.0-plugins-good")
	}
	p, err := build(plan.Still(quality), "in", "out")
	if err != nil {
		return nil, err
	}
	s := &Still{pipe: p}
	if err := p.play(); err != nil {
		p.close()
		return nil, fmt.Errorf("start jpegenc: %w", err)
	}
	return s, nil
}

// Encode returns the frame, I420 or NV12, as a JPEG file, in JPEG's range and matrix
// of colours. f stays the caller's, unchanged. After an error the encoder is of no
// more use, save where the frame was no picture to take.
func (s *Still) Encode(f *Frame) ([]byte, error) {
	if f.Format != plan.I420 && f.Format != plan.NV12 {
		return nil, fmt.Errorf("a JPEG is made of I420 or NV12, not of %s", f.Format)
	}
	g, err := newBlocks(plan.I420, f.Width, f.Height, jpegBlock)
	if err != nil {
		return nil, err
	}
	C.wp_still_colours(g.mem, f.mem)
	key := scalerKey{from: g.Format, w: g.Width, h: g.Height}
	if s.caps != key {
		s.caps = key
		C.wp_raw_caps(s.pipe.el("in"), g.mem, 30, 1)
	}
	// The pipeline takes it over.
	mem := g.mem
	g.gone()
	at := C.gint64(s.n) * C.gint64(time.Second/30)
	s.n++
	if C.wp_push_frame(s.pipe.el("in"), mem, 1, at, 0) != 0 {
		return nil, s.failure()
	}
	for start := time.Now(); time.Since(start) < patience; {
		var p C.wp_packet
		switch C.wp_pull_packet(s.pipe.el("out"), C.guint64(pullStep), &p) {
		case 1:
			data := C.GoBytes(unsafe.Pointer(p._map.data), C.int(p._map.size))
			C.wp_packet_clear(&p)
			return data, nil
		case -1:
			return nil, s.failure()
		}
	}
	return nil, s.failure()
}

func (s *Still) failure() error {
	for {
		m, ok := s.pipe.pop()
		if !ok {
			return errors.New("jpegenc gives no picture")
		}
		if m.kind == msgError {
			return fmt.Errorf("jpegenc: %s", m.text)
		}
	}
}

// Close releases the encoder.
func (s *Still) Close() { s.pipe.close() }
