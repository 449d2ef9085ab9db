package draw

import "github.com/watchpost/watchpost/appliance/internal/vision"

// Colour is non-premultiplied sRGB; A is its opacity.
type Colour struct{ R, G, B, A uint8 }

// Colours of slates and labels.
var (
	white = Colour{255, 255, 255, 255}
	black = Colour{12, 12, 14, 255}
	halo  = Colour{0, 0, 0, 150}
)

// palette tells classes and objects apart: after Okabe and Ito (2008), chosen to
// stay distinct for people with colour-blindness, brightened for video and
// extended by tints of the same hues.
var palette = [...]Colour{
	{0x56, 0xb4, 0xe9, 255}, // sky blue
	{0xff, 0xb0, 0x1f, 255}, // orange
	{0x1c, 0xc4, 0x94, 255}, // bluish green
	{0xf5, 0xe6, 0x42, 255}, // yellow
	{0xf0, 0x76, 0x33, 255}, // vermilion
	{0xe0, 0x8d, 0xc0, 255}, // reddish purple
	{0x3d, 0x8b, 0xff, 255}, // blue
	{0xb8, 0xe0, 0xf5, 255}, // pale blue
	{0xff, 0xd9, 0x9a, 255}, // pale orange
	{0x9b, 0xe8, 0xd0, 255}, // pale green
}

// ClassColour is the colour of a track: its class chooses the hue where there
// are several classes; objects of one class are told apart by their ids. It is
// the same for the same track on every frame and in every run.
func ClassColour(class, id int) Colour {
	n := (uint(class)*7 + uint(id)) % uint(len(palette))
	return palette[n]
}

// yuv is a colour as planes hold it, limited range.
type yuv struct {
	y, u, v uint8
	a       uint16 // opacity, 0 to 256
}

// convert gives limited-range YCbCr as video of this height has it: BT.709 for
// HD, BT.601 below, which is what players assume when a stream does not say.
func convert(c Colour, height int) yuv {
	kr, kb := 0.299, 0.114
	if height > 576 {
		kr, kb = 0.2126, 0.0722
	}
	r, g, b := float64(c.R)/255, float64(c.G)/255, float64(c.B)/255
	y := kr*r + (1-kr-kb)*g + kb*b
	return yuv{
		y: uint8(16.5 + 219*y),
		u: uint8(128.5 + 112*(b-y)/(1-kb)),
		v: uint8(128.5 + 112*(r-y)/(1-kr)),
		a: uint16(c.A) + uint16(c.A)>>7,
	}
}

// onto is black or white, whichever is easier to read on c.
func (c Colour) onto() Colour {
	if 299*int(c.R)+587*int(c.G)+114*int(c.B) > 120*1000 {
		return black
	}
	return white
}

// sound says whether the planes of p are as large as its size and strides say.
func sound(p *vision.Picture) bool {
	if p == nil || p.Width < 1 || p.Height < 1 || p.Width > 1<<15 || p.Height > 1<<15 {
		return false
	}
	cw, ch := (p.Width+1)/2, (p.Height+1)/2
	fits := func(i, w, h int) bool {
		return p.Stride[i] >= w && len(p.Planes[i]) >= p.Stride[i]*(h-1)+w
	}
	switch p.Format {
	case vision.I420:
		return fits(0, p.Width, p.Height) && fits(1, cw, ch) && fits(2, cw, ch)
	case vision.NV12:
		return fits(0, p.Width, p.Height) && fits(1, 2*cw, ch)
	}
	return false
}
