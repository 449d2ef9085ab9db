package draw

import (
	"github.com/watchpost/watchpost/appliance/internal/vision"
)

const (
	// maxMessage bounds the bytes of a message that are looked at: more would not
	// fit into any picture.
	maxMessage = 1 << 10
	// maxMessageLines is how many lines of a message are shown; fewer on pictures
	// of which they would hide more than a third.
	maxMessageLines = 6
)

// Colours of messages.
var (
	board = Colour{18, 20, 26, 235}
	alarm = Colour{0xf0, 0x5a, 0x4b, 255}
)

// Message writes a text along the top of the picture, on a dark plate that does
// not hide more than its upper third: what went wrong with this frame. Long texts
// are wrapped, then cut.
func (a *Artist) Message(p *vision.Picture, text string) {
	if !sound(p) || text == "" {
		return
	}
	m := measure(p)
	size, gap := m.size, max(m.size/2, 2)
	bar := max(size/4, 2)
	row := a.row(size)
	room := p.Width - 4*gap - bar
	if room < size {
		return // not a word would fit
	}
	a.text = append(a.text[:0], text[:min(len(text), maxMessage)]...)
	for len(a.text) > 0 && (a.text[len(a.text)-1] == ' ' || a.text[len(a.text)-1] == '\n') {
		a.text = a.text[:len(a.text)-1]
	}
	n := a.wrap(size, room, max(min(maxMessageLines, (p.Height/3-3*gap)/row), 1))
	if n == 0 {
		return
	}
	plate := rect{gap, gap, p.Width - gap, 2*gap + n*row + gap}
	fill(p, plate, convert(board, p.Height))
	fill(p, rect{plate.x0, plate.y0, plate.x0 + bar, plate.y1}, convert(alarm, p.Height))
	ink := convert(white, p.Height)
	for i, l := range a.lines {
		a.write(p, plate.x0+bar+gap, plate.y0+gap+i*row, size, a.line(i, size, room, l), ink)
	}
}
