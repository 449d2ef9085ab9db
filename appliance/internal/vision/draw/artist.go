package draw

import (
	"unicode/utf8"

	"golang.org/x/image/math/fixed"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Artist draws on pictures. It keeps rasterised glyphs and its scratch memory.
type Artist struct {
	face   *typeface
	text   []byte
	plates []plate
	order  []int
	marks  []Mark   // of the tracks
	lines  [][2]int // parts of a wrapped text
	mask   []uint8
}

// New returns an Artist, or an error if the embedded font does not load.
func New() (*Artist, error) {
	face, err := newTypeface()
	if err != nil {
		return nil, err
	}
	return &Artist{face: face}, nil
}

// Fill paints the whole picture.
func (a *Artist) Fill(p *vision.Picture, c Colour) {
	if sound(p) {
		fill(p, rect{0, 0, p.Width, p.Height}, convert(c, p.Height))
	}
}

// FillRect paints a box, rounded to whole pixels.
func (a *Artist) FillRect(p *vision.Picture, b vision.Box, c Colour) {
	if r, ok := pixels(b); ok && sound(p) {
		fill(p, r, convert(c, p.Height))
	}
}

// Text writes one line of s with its top left corner at x, y, size pixels high
// (from the top of an "É" to the bottom of a "g" it is a little more), and
// returns its width. Characters that the font lacks appear as boxes.
func (a *Artist) Text(p *vision.Picture, x, y, size int, s string, c Colour) int {
	if !sound(p) {
		return 0
	}
	a.text = append(a.text[:0], s...)
	return a.write(p, x, y, size, a.text, convert(c, p.Height))
}

// TextSize is the width and height in pixels that Text takes for s.
func (a *Artist) TextSize(size int, s string) (width, height int) {
	at := a.face.at(size)
	if at == nil {
		return 0, 0
	}
	a.text = append(a.text[:0], s...)
	return at.width(a.text), at.ascent + at.descent
}

func (a *Artist) write(p *vision.Picture, x, y, size int, s []byte, c yuv) int {
	at := a.face.at(size)
	const far = 1 << 20 // keeps pen positions within 26 bits
	if at == nil || x < -far || x > far || y < -far || y > far {
		return 0
	}
	pen := fixed.I(x)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		i += n
		if r = printable(r); r < 0 {
			continue
		}
		if pen.Floor() < p.Width { // what lies beyond only counts
			sub := uint8((pen & 63) / (64 / subpixels))
			g := at.glyph(r, sub)
			stamp(p, pen.Floor()+g.dx, y+at.ascent+g.dy, at.pix[g.at:][:g.w*g.h], g.w, g.h, c)
		}
		pen += at.step(r)
	}
	return (pen - fixed.I(x)).Ceil()
}

// pixels rounds a box to whole pixels; false for one that is not finite or
// empty. Far edges are brought near enough to calculate with.
func pixels(b vision.Box) (rect, bool) {
	const far = 1 << 17
	round := func(v float32) int { return int(min(max(v, -far), far) + far + 0.5) }
	if b.X0 != b.X0 || b.Y0 != b.Y0 || b.X1 != b.X1 || b.Y1 != b.Y1 || b.X1 <= b.X0 || b.Y1 <= b.Y0 {
		return rect{}, false
	}
	r := rect{round(b.X0) - far, round(b.Y0) - far, round(b.X1) - far, round(b.Y1) - far}
	r.x1, r.y1 = max(r.x1, r.x0+1), max(r.y1, r.y0+1)
	return r, true
}

// measures of a picture's drawing, from its height.
type measures struct {
	line, halo  int // thickness of the outline and of its dark border
	size        int // of the text
	padX, padY  int
	frame       rect
	shortestBox int // sides below it get a thinner outline
}

func measure(p *vision.Picture) measures {
	// The shorter side decides: a portrait 1080x1920 is seen as wide as 1080p.
	h := min(p.Height, p.Width*3/4)
	m := measures{
		line:  max((h+180)/360, 1),
		size:  max(h/40, 11),
		frame: rect{0, 0, p.Width, p.Height},
	}
	if h >= 300 {
		m.line = max(m.line, 2)
	}
	m.halo = max((m.line+1)/3, 1)
	m.padX, m.padY = max(m.size/3, 2), max(m.size/8, 1)
	m.shortestBox = 6 * m.line
	return m
}

// outline draws a box: the coloured line within two dark ones.
func outline(p *vision.Picture, r rect, m measures, dark, c yuv) {
	line, edge := m.line, m.halo
	if min(r.x1-r.x0, r.y1-r.y0) < m.shortestBox {
		line = max(line/2, 1)
	}
	frame(p, rect{r.x0 - edge, r.y0 - edge, r.x1 + edge, r.y1 + edge}, edge, dark)
	frame(p, r, line, c)
	in := rect{r.x0 + line, r.y0 + line, r.x1 - line, r.y1 - line}
	if in.x1-in.x0 > 2*edge && in.y1-in.y0 > 2*edge {
		frame(p, in, edge, dark)
	}
}
