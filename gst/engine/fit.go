package engine

/*
#include "shim.h"
*/
import "C"

import "github.com/watchpost/watchpost/gst/plan"

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
