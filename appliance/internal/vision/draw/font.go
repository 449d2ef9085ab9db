package draw

import (
	"container/list"
	"fmt"
	"image"
	"image/draw"
	"unicode"
	"unicode/utf8"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

const (
	// maxAtlases is how many text sizes are kept; a camera uses one for its
	// boxes and three for its slate.
	maxAtlases = 8
	// maxGlyphs bounds the glyphs of one size, so that hostile texts do not grow
	// the memory without end.
	maxGlyphs = 1024
	maxPixels = 4 << 20
	// subpixels is how many horizontal positions a glyph is drawn at: even
	// spacing at small sizes.
	subpixels = 4
	// Text sizes in pixels.
	minSize, maxSize = 6, 400
)

// typeface is the embedded Go Bold font and its rasterised glyphs.
type typeface struct {
	font    *opentype.Font
	atlases map[int]*list.Element // by size
	recent  *list.List            // of *atlas, last used first
}

// atlas holds the glyphs of one size.
type atlas struct {
	size    int
	font    *opentype.Font
	buf     sfnt.Buffer
	face    font.Face
	ascent  int
	descent int
	glyphs  map[glyphKey]glyph
	advance map[rune]fixed.Int26_6
	pix     []uint8 // coverage of all glyphs, one after the other
}

type glyphKey struct {
	r   rune
	sub uint8
}

// glyph is a mask of w x h at pix[at:], dx, dy from the pen.
type glyph struct{ at, dx, dy, w, h int }

func newTypeface() (*typeface, error) {
	f, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return nil, fmt.Errorf("parse the embedded font: %w", err)
	}
	return &typeface{font: f, atlases: map[int]*list.Element{}, recent: list.New()}, nil
}

// at returns the atlas of a size in pixels, the least recently used one giving
// way for a new one. It is nil if the font cannot be scaled so.
func (t *typeface) at(size int) *atlas {
	size = min(max(size, minSize), maxSize)
	if e, ok := t.atlases[size]; ok {
		t.recent.MoveToFront(e)
		return e.Value.(*atlas)
	}
	// At 72 dots per inch a point is a pixel.
	face, err := opentype.NewFace(t.font, &opentype.FaceOptions{Size: float64(size), DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		return nil
	}
	if t.recent.Len() >= maxAtlases {
		old := t.recent.Remove(t.recent.Back()).(*atlas)
		delete(t.atlases, old.size)
	}
	m := face.Metrics()
	a := &atlas{size: size, font: t.font, face: face, ascent: m.Ascent.Ceil(), descent: m.Descent.Ceil(),
		glyphs: map[glyphKey]glyph{}, advance: map[rune]fixed.Int26_6{}}
	t.atlases[size] = t.recent.PushFront(a)
	return a
}

// printable replaces what has no shape of its own: white space is a space, and
// marks that only change their neighbours are left out (-1).
func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r):
		return -1
	}
	return r
}

// has says whether the font knows a character.
func (a *atlas) has(r rune) bool {
	i, err := a.font.GlyphIndex(&a.buf, r)
	return err == nil && i != 0
}

// box is the outline that stands for a character that the font lacks.
func (a *atlas) box() glyph {
	w, h, line := max(a.size/2, 3), max(a.size*7/10, 4), max(a.size/12, 1)
	g := glyph{at: len(a.pix), dx: max(a.size/16, 1), dy: -h, w: w, h: h}
	for y := range h {
		for x := range w {
			v := uint8(0)
			if x < line || y < line || x >= w-line || y >= h-line {
				v = 255
			}
			a.pix = append(a.pix, v)
		}
	}
	return g
}

// step is how far the pen moves for a character.
func (a *atlas) step(r rune) fixed.Int26_6 {
	if w, ok := a.advance[r]; ok {
		return w
	}
	w := fixed.I(a.size * 5 / 8)
	if a.has(r) {
		w, _ = a.face.GlyphAdvance(r)
	}
	if len(a.advance) >= maxGlyphs {
		clear(a.advance)
	}
	a.advance[r] = w
	return w
}

// width of a text in pixels.
func (a *atlas) width(s []byte) int {
	var x fixed.Int26_6
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		s = s[n:]
		if r = printable(r); r >= 0 {
			x += a.step(r)
		}
	}
	return x.Ceil()
}

// glyph returns a character's mask for a pen that stands sub quarters of a pixel
// right of a whole one.
func (a *atlas) glyph(r rune, sub uint8) glyph {
	key := glyphKey{r, sub}
	if g, ok := a.glyphs[key]; ok {
		return g
	}
	if len(a.glyphs) >= maxGlyphs || len(a.pix) >= maxPixels {
		clear(a.glyphs)
		a.pix = a.pix[:0]
	}
	if !a.has(r) {
		g := a.box()
		a.glyphs[key] = g
		return g
	}
	var g glyph
	dot := fixed.Point26_6{X: fixed.Int26_6(sub) * (64 / subpixels)}
	if box, mask, from, _, ok := a.face.Glyph(dot, r); ok && !box.Empty() {
		g = glyph{at: len(a.pix), dx: box.Min.X, dy: box.Min.Y, w: box.Dx(), h: box.Dy()}
		out := image.NewAlpha(image.Rect(0, 0, g.w, g.h))
		draw.Draw(out, out.Rect, mask, from, draw.Src)
		for y := range g.h {
			a.pix = append(a.pix, out.Pix[y*out.Stride:][:g.w]...)
		}
	}
	a.glyphs[key] = g
	return g
}
