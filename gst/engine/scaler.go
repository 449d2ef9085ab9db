package engine

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"

	"github.com/watchpost/watchpost/gst/plan"
)

// Scaler converts frames to another size and layout, one after the other: it
// is for one goroutine. Sizes may change from call to call; what is the same as
// the last time is not set up anew.
type Scaler struct {
	threads int
	conv    *C.wp_scaler
	key     scalerKey
}

type scalerKey struct {
	from, to   plan.Format
	w, h, W, H int
}

// NewScaler returns a scaler that works on one thread.
func NewScaler() *Scaler { return &Scaler{threads: 1} }

// Scale returns a new frame of w x h, packed RGB, with f's times. f stays the
// caller's.
func (s *Scaler) Scale(f *Frame, w, h int) (*Frame, error) {
	return s.convert(f, plan.RGB, w, h)
}

// Resize returns a new frame of w x h in f's own layout, with f's times.
func (s *Scaler) Resize(f *Frame, w, h int) (*Frame, error) {
	return s.convert(f, f.Format, w, h)
}

func (s *Scaler) convert(f *Frame, to plan.Format, w, h int) (*Frame, error) {
	out, err := NewFrame(to, w, h)
	if err != nil {
		return nil, err
	}
	out.PTS, out.Captured, out.Corrupted = f.PTS, f.Captured, f.Corrupted
	key := scalerKey{f.Format, to, f.Width, f.Height, w, h}
	if s.conv == nil || s.key != key {
		s.Close()
		s.conv = C.wp_scaler_new(f.mem, C.int(to), C.int(w), C.int(h), C.int(s.threads))
		if s.conv == nil {
			out.Release()
			return nil, fmt.Errorf("cannot convert %s %dx%d to %s %dx%d", f.Format, f.Width, f.Height, to, w, h)
		}
		s.key = key
	}
	C.wp_scaler_run(s.conv, f.mem, out.mem)
	return out, nil
}

// Close releases the scaler; it may be used again after.
func (s *Scaler) Close() {
	if s.conv != nil {
		C.wp_scaler_free(s.conv)
		s.conv = nil
	}
}
