package draw

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// maxLookback bounds how many earlier plates a new one is kept off: with
// hundreds of tracks there is no room anyway.
const maxLookback = 256

// plate is a label's place and its text, from and to in the Artist's text.
type plate struct {
	rect
	from, to int
	mark     int
}

// label lays out the plates of the marks in a.order and draws them. Marks of
// older tracks choose first, so that a label does not jump when another object
// comes in.
func (a *Artist) label(p *vision.Picture, marks []Mark, m measures, s LabelStyle) {
	at := a.face.at(m.size)
	if at == nil {
		return
	}
	slices.SortStableFunc(a.order, func(x, y int) int { return cmp.Compare(marks[x].Track, marks[y].Track) })
	a.text, a.plates = a.text[:0], a.plates[:0]
	room := p.Width - 2*m.padX
	high := at.ascent + at.descent + 2*m.padY
	for _, i := range a.order {
		from := len(a.text)
		a.text = describe(a.text, &marks[i], s.Caption)
		if len(a.text) == from {
			continue
		}
		wide := at.width(a.text[from:])
		if wide > room {
			a.text = a.text[:from+at.cut(a.text[from:], room)]
			if wide = at.width(a.text[from:]); wide > room || wide == 0 {
				a.text = a.text[:from]
				continue
			}
		}
		r, _ := pixels(marks[i].Box)
		var spot rect
		if s.Position == "" {
			spot = a.place(r, wide+2*m.padX, high, m)
		} else {
			spot = s.Position.of(r, wide+2*m.padX, high, m)
		}
		a.plates = append(a.plates, plate{spot, from, len(a.text), i})
	}
	dark := convert(halo, p.Height)
	for _, l := range a.plates {
		back := s.colour(&marks[l.mark])
		text := s.Text
		if text.A == 0 {
			text = back.onto()
		}
		frame(p, rect{l.x0 - m.halo, l.y0 - m.halo, l.x1 + m.halo, l.y1 + m.halo}, m.halo, dark)
		fill(p, l.rect, convert(back, p.Height))
		a.write(p, l.x0+m.padX, l.y0+m.padY, m.size, a.text[l.from:l.to], convert(text, p.Height))
	}
}

// place finds where the plate of box r goes: above it if possible, else below or
// inside, left before right; of these the first that is off all earlier plates,
// or else the one that hides the least of them.
func (a *Artist) place(r rect, w, h int, m measures) rect {
	left, right := r.x0-m.halo, r.x1+m.halo-w
	above, below := r.y0-m.halo-h, r.y1+m.halo
	top, bottom := r.y0+m.line+m.halo, r.y1-m.line-m.halo-h
	candidates := [...][2]int{
		{left, above}, {right, above}, {left + m.line + m.halo, top}, {left, below},
		{right, below}, {right - m.line - m.halo, top}, {left + m.line + m.halo, bottom},
		{r.x1 + 2*m.halo, r.y0}, {r.x0 - 2*m.halo - w, r.y0}, {left, above - h - m.halo}, {left, below + h + m.halo},
	}
	var best rect
	least := -1
	seen := a.plates[max(len(a.plates)-maxLookback, 0):]
	for n, c := range candidates {
		x := min(max(c[0], 0), m.frame.x1-w)
		y := min(max(c[1], 0), max(m.frame.y1-h, 0))
		k := rect{x, y, x + w, y + h}
		// A place that had to be moved far into the frame comes later, but
		// before covering another label.
		cost := 0
		if d := max(c[1]-y, y-c[1]); d > m.halo {
			cost = 1 + n
		}
		for i := range seen {
			cost += 1000 * k.overlap(seen[i].rect)
		}
		if least < 0 || cost < least {
			best, least = k, cost
		}
		if cost == 0 {
			break
		}
	}
	return best
}

// of is where a plate lies that has to be at a position of box r, moved into the
// picture as far as needed.
func (at Position) of(r rect, w, h int, m measures) rect {
	x, y := r.x0-m.halo, r.y0-m.halo-h
	switch at {
	case TopCentre, Centre, BottomCentre:
		x = (r.x0 + r.x1 - w) / 2
	case TopRight, BottomRight:
		x = r.x1 + m.halo - w
	case CentreLeft:
		x = r.x0 - m.halo - w
	case CentreRight:
		x = r.x1 + m.halo
	}
	switch at {
	case CentreLeft, Centre, CentreRight:
		y = (r.y0 + r.y1 - h) / 2
	case BottomLeft, BottomCentre, BottomRight:
		y = r.y1 + m.halo
	}
	x, y = min(max(x, 0), m.frame.x1-w), min(max(y, 0), max(m.frame.y1-h, 0))
	return rect{x, y, x + w, y + h}
}

// cut is how many bytes of s fit into a width, whole characters.
func (at *atlas) cut(s []byte, width int) int {
	end := 0
	for end < len(s) {
		_, n := utf8.DecodeRune(s[end:])
		if at.width(s[:end+n]) > width {
			break
		}
		end += n
	}
	return end
}
