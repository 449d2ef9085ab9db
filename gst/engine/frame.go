package engine

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// Frame is one picture in GStreamer's memory. It is counted: who gets one
// releases it, once, and touches Planes only until then. A frame that is never
// released is memory that never comes back.
type Frame struct {
	// PTS is the presentation time in this run, always later than the frame's before.
	PTS time.Duration
	// Captured is CLOCK_MONOTONIC in ns when the frame's data reached the box:
	// before decoding, after the network or the pacing of a file.
	Captured int64
	// Corrupted: the decoder said that part of the picture is made up.
	Corrupted     bool
	Format        plan.Format
	Width, Height int
	// Planes are rows of Stride bytes; chroma has (Width+1)/2 x (Height+1)/2
	// samples. The last row may end with its last pixel. Read only, until
	// Writable returned nil.
	Planes [3][]byte
	Stride [3]int

	mem  *C.wp_frame
	refs atomic.Int32
}

// ErrRetained is returned by Writable when somebody else holds the frame too.
var ErrRetained = errors.New("frame is retained by others: draw on a Copy")

// ErrExhausted is returned by NewFrame when too many frames are out.
var ErrExhausted = errors.New("no free frame: too many are held")

func newFrame(p *C.wp_picture) *Frame {
	f := &Frame{Format: plan.Format(p.format), mem: p.frame}
	f.refs.Store(1)
	f.describe(p)
	return f
}

func (f *Frame) describe(p *C.wp_picture) {
	f.mem, f.Width, f.Height = p.frame, int(p.width), int(p.height)
	for i := range f.Planes {
		f.Planes[i], f.Stride[i] = nil, 0
		if i < int(p.planes) {
			f.Planes[i] = unsafe.Slice((*byte)(p.data[i]), int(p.size[i]))
			f.Stride[i] = int(p.stride[i])
		}
	}
}

// Retain adds a holder, who has to Release too.
func (f *Frame) Retain() {
	if f.refs.Add(1) < 2 {
		panic("engine: Retain of a frame that was released")
	}
}

// Release gives the frame back; with the last holder its memory goes.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n == 0:
		C.wp_frame_free(f.mem)
		f.gone()
	case n < 0:
		panic("engine: Release of a frame that was released")
	}
}

func (f *Frame) gone() {
	f.mem, f.Planes = nil, [3][]byte{}
}

// Writable makes Planes the caller's own, to be drawn on in place. Decoders go
// on predicting from frames that they handed out, so memory that anybody else
// still knows is replaced by a copy; Planes and Stride change then. The caller
// must be the only holder: ErrRetained otherwise.
func (f *Frame) Writable() error {
	if f.refs.Load() != 1 {
		return ErrRetained
	}
	var p C.wp_picture
	if C.wp_frame_writable(f.mem, &p) != 0 {
		f.describe(&p)
		return nil
	}
	c, err := f.copyTo(C.WP_RANGE_KEEP)
	if err != nil {
		return err
	}
	C.wp_frame_free(f.mem)
	f.mem, f.Planes, f.Stride = c.mem, c.Planes, c.Stride
	return nil
}

// Copy is a frame of its own with the same picture and times, writable. f
// remains as it was.
func (f *Frame) Copy() (*Frame, error) { return f.copyTo(C.WP_RANGE_KEEP) }

// copyTo copies with the range that WP_RANGE_… says.
func (f *Frame) copyTo(valueRange C.int) (*Frame, error) {
	c, err := NewFrame(f.Format, f.Width, f.Height)
	if err != nil {
		return nil, err
	}
	c.PTS, c.Captured, c.Corrupted = f.PTS, f.Captured, f.Corrupted
	if C.wp_frame_copy(c.mem, f.mem, valueRange) == 0 {
		c.Release()
		return nil, fmt.Errorf("copy a %dx%d frame", f.Width, f.Height)
	}
	return c, nil
}

// Bounds of the frames of our own: so many of one size at a time, and so many
// sizes kept ready.
const (
	poolFrames = 32
	poolSizes  = 6
)

type poolKey struct {
	format        plan.Format
	width, height int
	block         int // what a row has room for whole ones of, pixels
}

// pools recycles the memory of frames of our own, process-wide like the
// memory itself: a picture of some megabytes that is allocated for every frame
// costs more in page faults than in drawing.
var pools struct {
	sync.Mutex
	byKey map[poolKey]unsafe.Pointer
	order []poolKey // least recently used first
}

// NewFrame returns a frame whose Planes may be written and hold anything. At
// most 32 frames of one size are out at a time; ErrExhausted beyond that.
func NewFrame(format plan.Format, width, height int) (*Frame, error) {
	return newBlocks(format, width, height, 1)
}

// newBlocks is NewFrame of a frame whose rows have room for whole blocks of so many
// pixels, for who reads as many at a time.
func newBlocks(format plan.Format, width, height, block int) (*Frame, error) {
	if width <= 0 || height <= 0 || width > 32768 || height > 32768 {
		return nil, fmt.Errorf("a frame of %dx%d cannot be", width, height)
	}
	key := poolKey{format, width, height, block}
	pools.Lock()
	defer pools.Unlock()
	pool := pools.byKey[key]
	if pool == nil {
		if pool = C.wp_pool_new(C.int(format), C.int(width), C.int(height), poolFrames, C.int(block)); pool == nil {
			return nil, fmt.Errorf("no memory for frames of %dx%d", width, height)
		}
		if pools.byKey == nil {
			pools.byKey = map[poolKey]unsafe.Pointer{}
		}
		pools.byKey[key] = pool
	}
	touchPool(key)
	var p C.wp_picture
	if C.wp_pool_take(pool, &p) == 0 {
		return nil, ErrExhausted
	}
	return newFrame(&p), nil
}

// touchPool marks a size as used last and lets go of the least used beyond the bound.
func touchPool(key poolKey) {
	for i, k := range pools.order {
		if k == key {
			pools.order = append(pools.order[:i], pools.order[i+1:]...)
			break
		}
	}
	pools.order = append(pools.order, key)
	if len(pools.order) > poolSizes {
		old := pools.order[0]
		pools.order = pools.order[1:]
		C.wp_pool_free(pools.byKey[old])
		delete(pools.byKey, old)
	}
}
