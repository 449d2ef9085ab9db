package draw

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Mark is one object to be drawn on a picture.
type Mark struct {
	vision.Box
	// Class and Label say what it is; the class chooses the colour, the label is
	// written.
	Class int
	Label string
	// Score is the analyser's confidence, in [0,1].
	Score float32
	// Track is its id; 0: it is not tracked.
	Track int
	// Index is its place among the objects of the frame, from 0.
	Index int
}

// By says what an object's colour depends on. The zero value is the Artist's own
// choice: class and track together.
type By string

// What colours may depend on.
const (
	ByClass By = "class"
	ByTrack By = "track"
	ByIndex By = "index"
)

// Paint chooses the colours of marks.
type Paint struct {
	By By
	// Palette is gone round; empty: the Artist's own.
	Palette []Colour
}

// BoxStyle is how Boxes draws. Its zero value is what Tracks draws.
type BoxStyle struct {
	Paint
	// Thickness of the line in pixels; 0: chosen from the picture's size.
	Thickness float64
	// Roundness of the corners: 0 is square, 1 as round as the box allows.
	Roundness float64
}

// Caption says what a label tells of its mark. The zero value is "person #12 87%".
type Caption string

// What labels may tell.
const (
	CaptionClass           Caption = "class"            // person
	CaptionConfidence      Caption = "confidence"       // 0.87
	CaptionClassConfidence Caption = "class_confidence" // person 0.87
	CaptionTrack           Caption = "tracker_id"       // 12, or "No Tracker ID"
	CaptionIndex           Caption = "index"            // 0
	CaptionDimensions      Caption = "dimensions"       // 120, 80 64x128: the centre, width and height in pixels
	CaptionArea            Caption = "area"             // 8192, square pixels
)

// Position is where a label lies: beside the named point of its box's outline, on
// the far side of it, and on the box's middle for Centre. The zero value is where
// there is room: above if possible, off other labels.
type Position string

// The positions of labels.
const (
	TopLeft      Position = "top_left"
	TopCentre    Position = "top_center"
	TopRight     Position = "top_right"
	CentreLeft   Position = "center_left"
	Centre       Position = "center"
	CentreRight  Position = "center_right"
	BottomLeft   Position = "bottom_left"
	BottomCentre Position = "bottom_center"
	BottomRight  Position = "bottom_right"
)

// LabelStyle is how Labels draws. Its zero value is what Tracks draws.
type LabelStyle struct {
	Paint    // of the plates behind the text
	Caption  Caption
	Position Position
	// Scale of the letters, 1 being usual; 0: 1.
	Scale float64
	// Text is the colour of the letters; A 0: black or white, whichever is legible.
	Text Colour
	// Padding around the text in pixels; 0: chosen from the letters' size.
	Padding int
}

// ParseColour reads #rrggbb.
func ParseColour(s string) (Colour, error) {
	if len(s) != 7 || s[0] != '#' {
		return Colour{}, fmt.Errorf("colour %.32q is not of the form #rrggbb", s)
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		return Colour{}, fmt.Errorf("colour %.32q is not of the form #rrggbb", s)
	}
	return Colour{R: uint8(n >> 16), G: uint8(n >> 8), B: uint8(n), A: 255}, nil
}

// colour of a mark.
func (c Paint) colour(k *Mark) Colour {
	n := 0
	switch c.By {
	case ByClass:
		n = k.Class
	case ByTrack:
		n = k.Track
	case ByIndex:
		n = k.Index
	default:
		if len(c.Palette) == 0 {
			return ClassColour(k.Class, k.Track)
		}
		n = k.Class
	}
	if colours := c.Palette; len(colours) > 0 {
		return colours[uint(n)%uint(len(colours))]
	}
	return palette[uint(n)%uint(len(palette))]
}

// Tracks draws the outline of every track and its label, "person #12 87%".
// Labels stay inside the picture and, where there is room, off each other.
// Boxes that are not finite, or outside the picture, are left out.
func (a *Artist) Tracks(p *vision.Picture, tracks []vision.Track) {
	a.marks = a.marks[:0]
	for i := range tracks {
		t := &tracks[i]
		a.marks = append(a.marks, Mark{Box: t.Box, Class: t.Class, Label: t.Label, Score: t.Score, Track: t.ID, Index: i})
	}
	a.Boxes(p, a.marks, BoxStyle{})
	a.Labels(p, a.marks, LabelStyle{})
}

// Boxes draws the outline of every mark, large ones first, so that small ones in
// front of them stay whole. Boxes that are not finite, or outside the picture,
// are left out.
func (a *Artist) Boxes(p *vision.Picture, marks []Mark, s BoxStyle) {
	if !sound(p) || len(marks) == 0 {
		return
	}
	m := measure(p)
	if s.Thickness > 0 { // false for NaN
		const thickest = 256
		m.line = max(int(min(s.Thickness, thickest)+0.5), 1)
		m.halo = max((m.line+1)/3, 1)
		m.shortestBox = 0 // thin as asked for, whatever the box
	}
	a.choose(p, marks)
	slices.SortStableFunc(a.order, func(x, y int) int {
		return int(clampArea(marks[y].Area()) - clampArea(marks[x].Area()))
	})
	dark := convert(halo, p.Height)
	for _, i := range a.order {
		r, _ := pixels(marks[i].Box)
		c := convert(s.colour(&marks[i]), p.Height)
		if s.Roundness > 0 {
			a.rounded(p, r, min(s.Roundness, 1), m, dark, c)
		} else {
			outline(p, r, m, dark, c)
		}
	}
}

// Labels writes what the style says of every mark on a plate of its colour.
// Labels stay inside the picture. Marks that are not finite, or outside the
// picture, are left out.
func (a *Artist) Labels(p *vision.Picture, marks []Mark, s LabelStyle) {
	if !sound(p) || len(marks) == 0 {
		return
	}
	m := measure(p)
	if s.Scale > 0 {
		m.size = int(min(max(float64(m.size)*s.Scale, minSize), maxSize))
		m.padX, m.padY = max(m.size/3, 2), max(m.size/8, 1)
	}
	if s.Padding > 0 {
		m.padX, m.padY = min(s.Padding, p.Width/3), min(s.Padding, p.Height/3)
	}
	a.choose(p, marks)
	a.label(p, marks, m, s)
}

// choose puts those marks into a.order that can be seen.
func (a *Artist) choose(p *vision.Picture, marks []Mark) {
	a.order = a.order[:0]
	for i := range marks {
		r, ok := pixels(marks[i].Box)
		if ok && !r.clip(p.Width, p.Height).empty() {
			a.order = append(a.order, i)
		}
	}
}

func clampArea(v float32) int64 { return int64(min(v, 1<<40)) }

// describe appends a mark's label to dst.
func describe(dst []byte, k *Mark, as Caption) []byte {
	switch as {
	case CaptionClass:
		return append(dst, k.Label...)
	case CaptionConfidence:
		return appendScore(dst, k.Score)
	case CaptionClassConfidence:
		if dst = append(dst, k.Label...); len(k.Label) > 0 {
			dst = append(dst, ' ')
		}
		return appendScore(dst, k.Score)
	case CaptionTrack:
		if k.Track <= 0 {
			return append(dst, "No Tracker ID"...)
		}
		return strconv.AppendInt(dst, int64(k.Track), 10)
	case CaptionIndex:
		return strconv.AppendInt(dst, int64(k.Index), 10)
	case CaptionDimensions:
		dst = append(appendWhole(dst, (k.X0+k.X1)/2), ", "...)
		dst = append(appendWhole(dst, (k.Y0+k.Y1)/2), ' ')
		dst = append(appendWhole(dst, k.Width()), 'x')
		return appendWhole(dst, k.Height())
	case CaptionArea:
		return appendWhole(dst, k.Area())
	}
	from := len(dst)
	dst = append(dst, k.Label...)
	if k.Track > 0 {
		if len(k.Label) > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, '#')
		dst = strconv.AppendInt(dst, int64(k.Track), 10)
	}
	if k.Score > 0 { // false for NaN
		if len(dst) > from {
			dst = append(dst, ' ')
		}
		dst = strconv.AppendInt(dst, int64(min(k.Score, 1)*100+0.5), 10)
		dst = append(dst, '%')
	}
	return dst
}

func appendScore(dst []byte, v float32) []byte {
	if !(v > 0) { // NaN too
		v = 0
	}
	return strconv.AppendFloat(dst, float64(min(v, 1)), 'f', 2, 32)
}

// appendWhole appends the whole part of v.
func appendWhole(dst []byte, v float32) []byte {
	return strconv.AppendInt(dst, int64(min(max(v, -1<<40), 1<<40)), 10)
}
