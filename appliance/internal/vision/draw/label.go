package draw

import (
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
	track    int
}

// label lays out the plates of the tracks in a.order and draws them. Tracks with
// lower ids choose first, so that a label does not jump when another object
// comes in.
func (a *Artist) label(p *vision.Picture, tracks []vision.Track, m measures) {
	at := a.face.at(m.size)
	if at == nil {
		return
	}
	slices.SortStableFunc(a.order, func(x, y int) int { return tracks[x].ID - tracks[y].ID })
	a.text, a.plates = a.text[:0], a.plates[:0]
	room := p.Width - 2*m.padX
	high := at.ascent + at.descent + 2*m.padY
	for _, i := range a.order {
		from := len(a.text)
		a.text = describe(a.text, &tracks[i])
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
		r, _ := pixels(tracks[i].Box)
		a.plates = append(a.plates, plate{a.place(r, wide+2*m.padX, high, m), from, len(a.text), i})
	}
	dark := convert(halo, p.Height)
	for _, l := range a.plates {
		t := &tracks[l.track]
		back := ClassColour(t.Class, t.ID)
		frame(p, rect{l.x0 - m.halo, l.y0 - m.halo, l.x1 + m.halo, l.y1 + m.halo}, m.halo, dark)
		fill(p, l.rect, convert(back, p.Height))
		a.write(p, l.x0+m.padX, l.y0+m.padY, m.size, a.text[l.from:l.to], convert(back.onto(), p.Height))
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
