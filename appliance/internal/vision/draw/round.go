package draw

import (
	"math"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// rounded draws a box as outline does, its corners round.
func (a *Artist) rounded(p *vision.Picture, r rect, roundness float64, m measures, dark, c yuv) {
	line, edge := m.line, m.halo
	short := min(r.x1-r.x0, r.y1-r.y0)
	if short < m.shortestBox {
		line = max(line/2, 1)
	}
	radius := int(roundness * float64(short) / 2)
	if radius <= line {
		outline(p, r, m, dark, c)
		return
	}
	a.band(p, rect{r.x0 - edge, r.y0 - edge, r.x1 + edge, r.y1 + edge}, radius+edge, edge, dark)
	a.band(p, r, radius, line, c)
	in := rect{r.x0 + line, r.y0 + line, r.x1 - line, r.y1 - line}
	if in.x1-in.x0 > 2*edge && in.y1-in.y0 > 2*edge {
		a.band(p, in, radius-line, edge, dark)
	}
}

// band paints the outline of r, t thick, inwards, with corners of a radius; they
// are square where the radius is not greater than t.
func (a *Artist) band(p *vision.Picture, r rect, radius, t int, c yuv) {
	radius = min(radius, (r.x1-r.x0)/2, (r.y1-r.y0)/2)
	if radius <= t {
		frame(p, r, t, c)
		return
	}
	l, o, e, u := r.x0+radius, r.y0+radius, r.x1-radius, r.y1-radius
	fill(p, rect{l, r.y0, e, r.y0 + t}, c)
	fill(p, rect{l, r.y1 - t, e, r.y1}, c)
	fill(p, rect{r.x0, o, r.x0 + t, u}, c)
	fill(p, rect{r.x1 - t, o, r.x1, u}, c)
	a.corner(p, rect{r.x0, r.y0, l, o}, l, o, radius, t, c)
	a.corner(p, rect{e, r.y0, r.x1, o}, e, o, radius, t, c)
	a.corner(p, rect{r.x0, u, l, r.y1}, l, u, radius, t, c)
	a.corner(p, rect{e, u, r.x1, r.y1}, e, u, radius, t, c)
}

// corner paints the part within r of a ring around cx, cy, t thick, inwards. It
// goes by pairs of rows, which share their chroma samples: the memory it needs
// does not grow with the box.
func (a *Artist) corner(p *vision.Picture, r rect, cx, cy, radius, t int, c yuv) {
	r = r.clip(p.Width, p.Height)
	outer, inner := float64(radius)+0.5, float64(radius-t)-0.5
	for y := r.y0; y < r.y1; {
		y1 := min(y&^1+2, r.y1)
		first, last := math.Abs(float64(y)+0.5-float64(cy)), math.Abs(float64(y1)-0.5-float64(cy))
		far := int(math.Sqrt(max(outer*outer-min(first, last)*min(first, last), 0))) + 1
		near := 0
		if d := inner*inner - max(first, last)*max(first, last); inner > 0 && d > 0 {
			near = int(math.Sqrt(d)) - 1
		}
		x0, x1 := max(r.x0, cx-far), min(r.x1, cx-near)
		if r.x0 >= cx { // right of the centre
			x0, x1 = max(r.x0, cx+near), min(r.x1, cx+far)
		}
		if x0 < x1 {
			a.arc(p, rect{x0, y, x1, y1}, cx, cy, outer, inner, c)
		}
		y = y1
	}
}

// arc paints what lies in r, which is inside the picture, between two circles.
func (a *Artist) arc(p *vision.Picture, r rect, cx, cy int, outer, inner float64, c yuv) {
	w, h := r.x1-r.x0, r.y1-r.y0
	if cap(a.mask) < w*h {
		a.mask = make([]uint8, w*h)
	}
	mask := a.mask[:w*h]
	for y := range h {
		for x := range w {
			dx, dy := float64(r.x0+x-cx)+0.5, float64(r.y0+y-cy)+0.5
			d := math.Sqrt(dx*dx + dy*dy)
			mask[y*w+x] = uint8(255 * min(max(min(outer-d, d-inner), 0), 1))
		}
	}
	stamp(p, r.x0, r.y0, mask, w, h, c)
}
