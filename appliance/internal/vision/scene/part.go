package scene

import (
	"math"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

type rgb struct{ r, g, b float64 }

// ink is a colour as the planes hold it.
type ink [3]uint8

// tone converts a colour for a picture of this height: limited range, BT.709 for
// HD, BT.601 below.
func tone(c rgb, height int) ink {
	kr, kb := 0.299, 0.114
	if height > 576 {
		kr, kb = 0.2126, 0.0722
	}
	r, g, b := c.r/255, c.g/255, c.b/255
	y := kr*r + (1-kr-kb)*g + kb*b
	return ink{uint8(16.5 + 219*y), uint8(128.5 + 112*(b-y)/(1-kb)), uint8(128.5 + 112*(r-y)/(1-kr))}
}

// part is a stroke from one point to another with round ends: limbs, bodies and
// wheels are all made of it.
type part struct {
	x0, y0, x1, y1, r float64
	c                 ink
}

func (k part) bounds() vision.Box {
	return vision.Box{
		X0: float32(min(k.x0, k.x1) - k.r), Y0: float32(min(k.y0, k.y1) - k.r),
		X1: float32(max(k.x0, k.x1) + k.r), Y1: float32(max(k.y0, k.y1) + k.r),
	}
}

// draw paints the part on all planes; on chroma at half the scale.
func (k part) draw(p *vision.Picture) {
	k.fill(p.Planes[0], p.Stride[0], 1, p.Width, p.Height, k.c[0])
	half := part{x0: k.x0 / 2, y0: k.y0 / 2, x1: k.x1 / 2, y1: k.y1 / 2, r: k.r / 2}
	cw, ch := (p.Width+1)/2, (p.Height+1)/2
	if p.Format == vision.NV12 {
		half.fill(p.Planes[1], p.Stride[1], 2, cw, ch, k.c[1])
		half.fill(p.Planes[1][1:], p.Stride[1], 2, cw, ch, k.c[2])
		return
	}
	half.fill(p.Planes[1], p.Stride[1], 1, cw, ch, k.c[1])
	half.fill(p.Planes[2], p.Stride[2], 1, cw, ch, k.c[2])
}

// fill paints the part on one plane with samples step bytes apart. A row of it is
// one span; its ends are smoothed by how much of the sample they cover.
func (k part) fill(plane []byte, stride, step, w, h int, v uint8) {
	y0 := max(int(math.Floor(min(k.y0, k.y1)-k.r)), 0)
	y1 := min(int(math.Ceil(max(k.y0, k.y1)+k.r)), h)
	for y := y0; y < y1; y++ {
		lo, hi := k.span(float64(y) + 0.5)
		lo, hi = max(lo, 0), min(hi, float64(w))
		if lo >= hi {
			continue
		}
		row := plane[y*stride:]
		first, last := int(lo), int(hi)
		if first == last || first >= w {
			mix(&row[min(first, w-1)*step], v, hi-lo)
			continue
		}
		mix(&row[first*step], v, float64(first+1)-lo)
		if last < w {
			mix(&row[last*step], v, hi-float64(last))
		}
		if step == 1 {
			mid := row[first+1 : last]
			for i := range mid {
				mid[i] = v
			}
			continue
		}
		for x := first + 1; x < last; x++ {
			row[x*step] = v
		}
	}
}

// span is where the line y cuts the part; lo > hi if it does not.
func (k part) span(y float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	round := func(cx, cy float64) {
		if d := y - cy; d > -k.r && d < k.r {
			w := math.Sqrt(k.r*k.r - d*d)
			lo, hi = min(lo, cx-w), max(hi, cx+w)
		}
	}
	round(k.x0, k.y0)
	round(k.x1, k.y1)
	dx, dy := k.x1-k.x0, k.y1-k.y0
	n := math.Hypot(dx, dy)
	if n == 0 || dy == 0 {
		return lo, hi // the discs reach as far as the sides
	}
	nx, ny := -dy/n*k.r, dx/n*k.r
	for _, s := range [2]float64{1, -1} {
		ya := k.y0 + s*ny
		if f := (y - ya) / dy; f >= 0 && f <= 1 {
			x := k.x0 + s*nx + f*dx
			lo, hi = min(lo, x), max(hi, x)
		}
	}
	return lo, hi
}

func mix(b *byte, v uint8, part float64) {
	*b = uint8(float64(*b) + (float64(v)-float64(*b))*min(max(part, 0), 1) + 0.5)
}
