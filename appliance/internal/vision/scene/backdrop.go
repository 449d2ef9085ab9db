package scene

import "math"

// backdrop paints the street without anybody in it: sky, houses, pavements,
// road and lamps.
func backdrop(w, h int) []rgb {
	c := &canvas{w: w, h: h, pix: make([]rgb, w*h)}
	c.sky()
	c.houses()
	c.ground()
	for _, x := range [...]float64{0.08, 0.37, 0.66, 0.95} {
		c.lamp(x)
	}
	c.grain()
	return c.pix
}

// canvas has coordinates in parts of its width and height.
type canvas struct {
	w, h int
	pix  []rgb
}

func lerp(a, b rgb, f float64) rgb {
	f = min(max(f, 0), 1)
	return rgb{a.r + (b.r-a.r)*f, a.g + (b.g-a.g)*f, a.b + (b.b-a.b)*f}
}

// rect fills from x0, y0 to x1, y1.
func (c *canvas) rect(x0, y0, x1, y1 float64, col rgb) {
	px := func(v float64, n int) int { return min(max(int(math.Round(v*float64(n))), 0), n) }
	for y := px(y0, c.h); y < px(y1, c.h); y++ {
		for x := px(x0, c.w); x < px(x1, c.w); x++ {
			c.pix[y*c.w+x] = col
		}
	}
}

// sky goes from night blue to the last light over the roofs.
func (c *canvas) sky() {
	top, mid, low := rgb{26, 34, 66}, rgb{92, 84, 128}, rgb{238, 158, 108}
	for y := range c.h {
		f := float64(y) / float64(c.h) / 0.56
		col := lerp(top, mid, f*2)
		if f > 0.5 {
			col = lerp(mid, low, (f-0.5)*2)
		}
		for x := range c.w {
			c.pix[y*c.w+x] = col
		}
	}
}

// chance is a number in [0,1) that depends on its arguments only.
func chance(a, b int) float64 {
	v := uint32(a)*0x9e3779b1 ^ uint32(b)*0x85ebca77
	v ^= v >> 15
	v *= 0x2c1b3c6d
	v ^= v >> 12
	v *= 0x297a2d39
	v ^= v >> 15
	return float64(v) / (1 << 32)
}

// houses draws two rows of them, the far one paler, with windows in the near one.
func (c *canvas) houses() {
	for i := range 14 {
		x := float64(i)/13 - 0.03
		top := 0.27 + 0.1*chance(i, 7)
		c.rect(x, top, x+0.09, 0.58, lerp(rgb{88, 74, 112}, rgb{112, 90, 120}, chance(i, 8)))
	}
	x := -0.02
	for i := 0; x < 1; i++ {
		wide := 0.085 + 0.07*chance(i, 1)
		top := 0.2 + 0.2*chance(i, 2)
		wall := lerp(rgb{50, 46, 68}, rgb{68, 56, 72}, chance(i, 3))
		c.rect(x, top, x+wide-0.006, 0.585, wall)
		c.rect(x-0.003, top, x+wide-0.003, top+0.012, lerp(wall, rgb{20, 20, 30}, 0.5))
		c.windows(i, x, top, wide)
		c.rect(x+wide*0.42, 0.525, x+wide*0.58, 0.585, lerp(wall, rgb{16, 16, 24}, 0.6))
		x += wide
	}
}

func (c *canvas) windows(house int, x, top, wide float64) {
	cols := int(wide / 0.026)
	pitch := (wide - 0.016) / float64(cols)
	for row := 0; top+0.04+float64(row)*0.062 < 0.5; row++ {
		for col := range cols {
			glass := rgb{36, 40, 62}
			if p := chance(house*31+row, col+50); p < 0.36 {
				glass = lerp(rgb{255, 206, 120}, rgb{214, 150, 86}, p*2.8)
			}
			wx, wy := x+0.008+float64(col)*pitch, top+0.035+float64(row)*0.062
			c.rect(wx, wy, wx+pitch*0.62, wy+0.036, glass)
			c.rect(wx, wy+0.036, wx+pitch*0.62, wy+0.039, rgb{34, 32, 46})
		}
	}
}

// ground is pavement, road with its line, pavement.
func (c *canvas) ground() {
	for y := int(0.58 * float64(c.h)); y < c.h; y++ {
		f := float64(y) / float64(c.h)
		var col rgb
		switch {
		case f < 0.585:
			col = rgb{60, 54, 66}
		case f < 0.655:
			col = lerp(rgb{104, 94, 104}, rgb{112, 102, 108}, (f-0.585)/0.07)
		case f < 0.662:
			col = rgb{136, 128, 132}
		case f < 0.868:
			col = lerp(rgb{58, 56, 68}, rgb{50, 49, 60}, (f-0.662)/0.2)
		case f < 0.882:
			col = rgb{142, 134, 134}
		default:
			col = lerp(rgb{116, 108, 112}, rgb{98, 92, 100}, (f-0.882)/0.118)
		}
		for x := range c.w {
			c.pix[y*c.w+x] = col
		}
	}
	for i := range 9 {
		x := 0.02 + float64(i)*0.115
		c.rect(x, 0.756, x+0.06, 0.763, rgb{178, 172, 160})
	}
	for i := range 12 { // joints of the near pavement
		x := 0.03 + float64(i)*0.085
		c.rect(x, 0.884, x+0.0016, 1, rgb{84, 78, 86})
	}
	c.rect(0, 0.935, 1, 0.938, rgb{86, 80, 88})
}

// lamp stands on the far kerb and lights what is around it.
func (c *canvas) lamp(x float64) {
	c.rect(x-0.0022, 0.36, x+0.0022, 0.655, rgb{28, 28, 38})
	c.rect(x-0.011, 0.352, x+0.011, 0.362, rgb{28, 28, 38})
	c.rect(x-0.008, 0.362, x+0.008, 0.378, rgb{255, 236, 190})
	c.glow(x, 0.37, 0.16, 0.62)
	c.glow(x, 0.66, 0.2, 0.22)
}

// glow adds warm light around a point, falling off to nothing at radius (in
// heights).
func (c *canvas) glow(x, y, radius, strength float64) {
	h := float64(c.h)
	cx, cy, r := x*float64(c.w), y*h, radius*h
	for py := max(int(cy-r), 0); py < min(int(cy+r), c.h); py++ {
		for px := max(int(cx-r), 0); px < min(int(cx+r), c.w); px++ {
			d := math.Hypot(float64(px)-cx, float64(py)-cy) / r
			if d < 1 {
				f := (1 - d) * (1 - d) * strength
				p := &c.pix[py*c.w+px]
				*p = rgb{min(p.r+150*f, 255), min(p.g+110*f, 255), min(p.b+58*f, 255)}
			}
		}
	}
}

// grain keeps the smooth parts from showing bands.
func (c *canvas) grain() {
	for i := range c.pix {
		d := 3 * (chance(i, 99) - 0.5)
		p := &c.pix[i]
		*p = rgb{min(max(p.r+d, 0), 255), min(max(p.g+d, 0), 255), min(max(p.b+d, 0), 255)}
	}
}

// planes converts to I420; chroma is the mean along the diagonal of a block.
func planes(pix []rgb, h int) [3][]byte {
	w := len(pix) / h
	cw, ch := (w+1)/2, (h+1)/2
	out := [3][]byte{make([]byte, w*h), make([]byte, cw*ch), make([]byte, cw*ch)}
	for i, c := range pix {
		out[0][i] = tone(c, h)[0]
	}
	for by := range ch {
		for bx := range cw {
			a, b := pix[2*by*w+2*bx], pix[min(2*by+1, h-1)*w+min(2*bx+1, w-1)]
			t := tone(lerp(a, b, 0.5), h)
			out[1][by*cw+bx], out[2][by*cw+bx] = t[1], t[2]
		}
	}
	return out
}
