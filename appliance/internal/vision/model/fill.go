package model

import "github.com/watchpost/watchpost/appliance/internal/vision"

// filler writes pictures into an input tensor.
type filler struct {
	dst           []float32
	width, height int
	interleaved   bool // nhwc
	// table maps an 8-bit value of the picture's channel to the tensor's
	// number; order is the tensor's channel of R, G and B.
	table [3][256]float32
	order [3]int
	pad   [3]float32 // by the tensor's channel
	// at is where the picture lay last time: around it the padding is there
	// already.
	at area
}

// area is a part of the input in pixels.
type area struct{ x, y, w, h int }

func newFiller(dst []float32, w, h int, in Input) *filler {
	f := &filler{dst: dst, width: w, height: h, interleaved: in.Layout == "nhwc", order: [3]int{0, 1, 2}}
	if in.Colour == "bgr" {
		f.order = [3]int{2, 1, 0}
	}
	for rgb, c := range f.order {
		mean, std := float32(0), float32(1)
		if len(in.Mean) == 3 {
			mean = in.Mean[c]
		}
		if len(in.Std) == 3 {
			std = in.Std[c]
		}
		for v := range 256 {
			f.table[rgb][v] = (float32(v)*in.Scale - mean) / std
		}
		f.pad[c] = f.table[rgb][in.Pad]
	}
	return f
}

// fill writes a picture of exactly the area's size, and the padding around it
// when the area is another one than last time.
func (f *filler) fill(img vision.RGB, a area) {
	if a != f.at {
		f.clear()
		f.at = a
	}
	plane := f.width * f.height
	for y := range a.h {
		src := img.Pix[y*img.Stride : y*img.Stride+3*a.w]
		if f.interleaved {
			o := 3 * ((a.y+y)*f.width + a.x)
			f.interleave(f.dst[o:o+3*a.w], src)
			continue
		}
		o := (a.y+y)*f.width + a.x
		f.planes(
			f.dst[f.order[0]*plane+o:][:a.w], f.dst[f.order[1]*plane+o:][:a.w], f.dst[f.order[2]*plane+o:][:a.w], src)
	}
}

// planes converts one row into three. The shapes of the loops here are those
// for which the compiler leaves out the bounds checks.
func (f *filler) planes(r, g, b []float32, src []byte) {
	tr, tg, tb := &f.table[0], &f.table[1], &f.table[2]
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		if len(src) < 3 {
			return
		}
		r[i], g[i], b[i] = tr[src[0]], tg[src[1]], tb[src[2]]
		src = src[3:]
	}
}

// interleave converts one row within the same order of pixels.
func (f *filler) interleave(dst []float32, src []byte) {
	tr, tg, tb := &f.table[0], &f.table[1], &f.table[2]
	if f.order[0] == 2 {
		for len(dst) >= 3 && len(src) >= 3 {
			dst[0], dst[1], dst[2] = tb[src[2]], tg[src[1]], tr[src[0]]
			dst, src = dst[3:], src[3:]
		}
		return
	}
	for len(dst) >= 3 && len(src) >= 3 {
		dst[0], dst[1], dst[2] = tr[src[0]], tg[src[1]], tb[src[2]]
		dst, src = dst[3:], src[3:]
	}
}

// clear fills the whole tensor with padding.
func (f *filler) clear() {
	if f.interleaved {
		for i := range f.dst {
			f.dst[i] = f.pad[i%3]
		}
		return
	}
	plane := f.width * f.height
	for c, v := range f.pad {
		p := f.dst[c*plane : (c+1)*plane]
		for i := range p {
			p[i] = v
		}
	}
}
