package draw

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

func mark(class int, label string, x0, y0, x1, y1 float32) Mark {
	return Mark{Box: vision.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}, Class: class, Label: label, Score: 0.87}
}

// grey is a picture of one colour, with the luma that it has.
func grey(t testing.TB, a *Artist, f vision.Format, w, h int) (*sheet, byte) {
	t.Helper()
	s := newSheet(f, w, h, 3)
	a.Fill(&s.Picture, Colour{90, 90, 90, 255})
	return s, convert(Colour{90, 90, 90, 255}, h).y
}

func (s *sheet) luma(x, y int) byte { return s.Planes[0][y*s.Stride[0]+x] }

// touched is the smallest rectangle around all pixels whose luma is not that.
func (s *sheet) touched(but byte) rect {
	r := rect{s.Width, s.Height, 0, 0}
	for y := range s.Height {
		for x := range s.Width {
			if s.luma(x, y) != but {
				r = rect{min(r.x0, x), min(r.y0, y), max(r.x1, x+1), max(r.y1, y+1)}
			}
		}
	}
	return r
}

// The zero styles draw what Tracks draws, to the byte.
func TestZeroStylesAreThoseOfTracks(t *testing.T) {
	for _, f := range []vision.Format{vision.I420, vision.NV12} {
		one, two := newSheet(f, 641, 361, 5), newSheet(f, 641, 361, 5)
		a := newArtist(t)
		one.backdrop()
		two.backdrop()
		tracks := street(641, 361)
		var marks []Mark
		for i, k := range tracks {
			marks = append(marks, Mark{Box: k.Box, Class: k.Class, Label: k.Label, Score: k.Score, Track: k.ID, Index: i})
		}
		a.Tracks(&one.Picture, tracks)
		a.Boxes(&two.Picture, marks, BoxStyle{})
		a.Labels(&two.Picture, marks, LabelStyle{})
		for i := range one.whole {
			if string(one.whole[i]) != string(two.whole[i]) {
				t.Errorf("format %d: plane %d differs", f, i)
			}
		}
	}
}

func TestThicknessIsThatOfTheStyle(t *testing.T) {
	a := newArtist(t)
	red := Colour{255, 0, 0, 255}
	for _, thick := range []int{1, 2, 5, 20} {
		s, _ := grey(t, a, vision.I420, 640, 360)
		a.Boxes(&s.Picture, []Mark{mark(0, "", 100, 100, 300, 300)}, BoxStyle{Paint: Paint{Palette: []Colour{red}}, Thickness: float64(thick)})
		want, n := convert(red, 360).y, 0
		for x := 90; x < 200; x++ {
			if s.luma(x, 200) == want {
				n++
			}
		}
		if n != thick || s.luma(100, 200) != want {
			t.Errorf("%d pixels thick, want %d from the box's edge inwards", n, thick)
		}
		s.intact(t)
	}
}

// Round corners leave the corner free, keep the sides, and are as round as asked for.
func TestRoundness(t *testing.T) {
	a := newArtist(t)
	white := Paint{Palette: []Colour{{255, 255, 255, 255}}}
	for _, f := range []vision.Format{vision.I420, vision.NV12} {
		for _, odd := range []float32{0, 1} {
			s, back := grey(t, a, f, 641, 481)
			box := mark(0, "", 100+odd, 101+odd, 301, 302)
			a.Boxes(&s.Picture, []Mark{box}, BoxStyle{Paint: white, Thickness: 4, Roundness: 0.5})
			s.intact(t)
			x0, y0 := 100+int(odd), 101+int(odd)
			ink := convert(white.Palette[0], 481).y
			radius := min(301-x0, 302-y0) / 4
			if got := s.luma(x0, y0); got != back {
				t.Errorf("the corner is %d, the background %d", got, back)
			}
			for _, at := range [][2]int{{x0, 200}, {300, 200}, {200, y0}, {200, 301}} {
				if got := s.luma(at[0], at[1]); got != ink {
					t.Errorf("side at %v is %d, want %d", at, got, ink)
				}
			}
			// On the diagonal, the line's middle is a radius from the corner's centre.
			d := int(math.Round(float64(radius) - (float64(radius)-2)/math.Sqrt2))
			for _, at := range [][2]int{{x0 + d, y0 + d}, {300 - d, y0 + d}, {x0 + d, 301 - d}, {300 - d, 301 - d}} {
				if got := s.luma(at[0], at[1]); got != ink {
					t.Errorf("arc at %v is %d, want %d", at, got, ink)
				}
			}
			if got, want := s.touched(back), (rect{x0 - 1, y0 - 1, 302, 303}); got != want {
				t.Errorf("drawn within %v, want %v", got, want)
			}
		}
	}
	// As round as can be, a square is a ring: nothing in its corners, nothing inside.
	s, back := grey(t, a, vision.I420, 400, 400)
	a.Boxes(&s.Picture, []Mark{mark(0, "", 50, 50, 350, 350)}, BoxStyle{Paint: white, Thickness: 3, Roundness: 1})
	for _, at := range [][2]int{{60, 60}, {340, 60}, {200, 200}, {90, 90}} {
		if got := s.luma(at[0], at[1]); got != back {
			t.Errorf("%v is %d, want the background", at, got)
		}
	}
}

// Rounded boxes are the same in both layouts, as chroma by pairs of rows must be.
func TestRoundBoxesInBothLayouts(t *testing.T) {
	a := newArtist(t)
	one, two := newSheet(vision.I420, 163, 121, 3), newSheet(vision.NV12, 163, 121, 9)
	for _, s := range []*sheet{one, two} {
		s.backdrop()
		a.Boxes(&s.Picture, []Mark{mark(0, "", 10, 11, 90, 80), mark(1, "", 61, 20, 300, 140)}, BoxStyle{Roundness: 0.6})
		a.Labels(&s.Picture, []Mark{mark(0, "É", 10, 11, 90, 80)}, LabelStyle{Position: Centre})
		a.Message(&s.Picture, "failed")
		s.intact(t)
	}
	p, q := one.rgb(), two.rgb()
	for i := range p.Pix {
		if p.Pix[i] != q.Pix[i] {
			t.Fatalf("pixel %d differs", i/4)
		}
	}
}

func TestColoursOfMarks(t *testing.T) {
	three := []Colour{{1, 0, 0, 255}, {2, 0, 0, 255}, {3, 0, 0, 255}}
	k := &Mark{Class: 1, Track: 5, Index: 6}
	for _, c := range []struct {
		paint Paint
		want  Colour
	}{
		{Paint{}, ClassColour(1, 5)}, {Paint{Palette: three}, three[1]},
		{Paint{By: ByClass, Palette: three}, three[1]}, {Paint{By: ByTrack, Palette: three}, three[2]}, {Paint{By: ByIndex, Palette: three}, three[0]},
		{Paint{By: ByClass}, palette[1]}, {Paint{By: ByTrack}, palette[5]}, {Paint{By: ByIndex}, palette[6]},
	} {
		if got := c.paint.colour(k); got != c.want {
			t.Errorf("%+v: %v, want %v", c.paint, got, c.want)
		}
	}
	negative := &Mark{Class: -7, Track: -1 << 62, Index: -1}
	for _, by := range []By{"", ByClass, ByTrack, ByIndex, "odd"} {
		_ = Paint{By: by}.colour(negative) // and does not panic
		_ = Paint{By: by, Palette: three}.colour(negative)
	}
}

func TestParseColour(t *testing.T) {
	if c, err := ParseColour("#0aB0ff"); err != nil || c != (Colour{10, 176, 255, 255}) {
		t.Errorf("%v %v", c, err)
	}
	for _, s := range []string{"", "#", "0ab0ff", "#0ab0f", "#0ab0fff", "#0ab0fg", "#+ab0ff", "#0x1234"} {
		if c, err := ParseColour(s); err == nil {
			t.Errorf("%q is taken for %v", s, c)
		}
	}
}

func TestCaptions(t *testing.T) {
	k := &Mark{Box: vision.Box{X0: 10, Y0: 20, X1: 73.6, Y1: 148.2}, Label: "person", Score: 0.874, Track: 12, Index: 3}
	for as, want := range map[Caption]string{
		"": "person #12 87%", CaptionClass: "person", CaptionConfidence: "0.87", CaptionClassConfidence: "person 0.87",
		CaptionTrack: "12", CaptionIndex: "3", CaptionDimensions: "41, 84 63x128", CaptionArea: "8153", "odd": "person #12 87%",
	} {
		if got := string(describe([]byte("x"), k, as)); got != "x"+want {
			t.Errorf("%q: %q, want %q", as, got, want)
		}
	}
	if got := string(describe(nil, &Mark{Label: "person"}, CaptionTrack)); got != "No Tracker ID" {
		t.Errorf("without a track: %q", got)
	}
	nan := float32(math.NaN())
	if got := string(describe(nil, &Mark{Score: nan}, CaptionConfidence)); got != "0.00" {
		t.Errorf("a score that is no number: %q", got)
	}
}

// Labels are where the style says, and inside the picture all the same.
func TestPositionsOfLabels(t *testing.T) {
	const w, h = 640, 360
	a := newArtist(t)
	for _, c := range []struct {
		at     Position
		fx, fy float64 // of the box's sides: where the plate's centre is
		dx, dy float64 // and in halves of the plate's size, from there
	}{
		{TopLeft, 0, 0, 1, -1}, {TopCentre, 0.5, 0, 0, -1}, {TopRight, 1, 0, -1, -1},
		{CentreLeft, 0, 0.5, -1, 0}, {Centre, 0.5, 0.5, 0, 0}, {CentreRight, 1, 0.5, 1, 0},
		{BottomLeft, 0, 1, 1, 1}, {BottomCentre, 0.5, 1, 0, 1}, {BottomRight, 1, 1, -1, 1},
	} {
		s, _ := grey(t, a, vision.I420, w, h)
		a.Labels(&s.Picture, []Mark{mark(0, "person", 200, 100, 400, 300)}, LabelStyle{Position: c.at, Caption: CaptionClass})
		if len(a.plates) != 1 {
			t.Fatalf("%s: %d plates", c.at, len(a.plates))
		}
		p := a.plates[0].rect
		x, y := float64(p.x0+p.x1)/2, float64(p.y0+p.y1)/2
		wantX := 200 + 200*c.fx + c.dx*float64(p.x1-p.x0)/2
		wantY := 100 + 200*c.fy + c.dy*float64(p.y1-p.y0)/2
		if math.Abs(x-wantX) > 2 || math.Abs(y-wantY) > 2 {
			t.Errorf("%s: centre %v,%v, want %v,%v", c.at, x, y, wantX, wantY)
		}
		for _, box := range [][4]float32{{-50, -50, 20, 20}, {630, 350, 700, 400}, {0, 0, w, h}} {
			a.Labels(&s.Picture, []Mark{mark(0, "person", box[0], box[1], box[2], box[3])}, LabelStyle{Position: c.at, Padding: 9})
			if p := a.plates[0].rect; p.x0 < 0 || p.y0 < 0 || p.x1 > w || p.y1 > h {
				t.Errorf("%s of %v: %v leaves the picture", c.at, box, p)
			}
		}
		s.intact(t)
	}
}

func TestScaleAndPaddingOfLabels(t *testing.T) {
	a := newArtist(t)
	s, _ := grey(t, a, vision.NV12, 640, 360)
	plateOf := func(style LabelStyle) (w, h int) {
		a.Labels(&s.Picture, []Mark{mark(0, "person", 200, 100, 400, 300)}, style)
		r := a.plates[0].rect
		return r.x1 - r.x0, r.y1 - r.y0
	}
	w1, h1 := plateOf(LabelStyle{Padding: 1})
	w2, h2 := plateOf(LabelStyle{Padding: 11})
	if w2-w1 != 20 || h2-h1 != 20 {
		t.Errorf("10 pixels more padding make it %dx%d larger", w2-w1, h2-h1)
	}
	w3, h3 := plateOf(LabelStyle{Padding: 1, Scale: 2})
	if w3 < w1*17/10 || w3 > w1*23/10 || h3 < h1*17/10 {
		t.Errorf("twice the scale: %dx%d instead of %dx%d", w3, h3, w1, h1)
	}
	for _, scale := range []float64{1e-9, 1e9, math.Inf(1), math.NaN()} {
		a.Labels(&s.Picture, []Mark{mark(0, "person", 200, 100, 400, 300)}, LabelStyle{Scale: scale, Padding: 1 << 40})
		s.intact(t)
	}
}

// Messages stay in the upper third, on a plate, and what is too long is cut.
func TestMessages(t *testing.T) {
	long := "the model failed on this frame: " + strings.Repeat("input 0 has the wrong shape, ", 200)
	a := newArtist(t)
	for _, size := range [][2]int{{1, 1}, {2, 7}, {33, 21}, {161, 121}, {640, 360}, {361, 641}, {1920, 1080}} {
		for _, f := range []vision.Format{vision.I420, vision.NV12} {
			for _, text := range []string{"", " \n ", "short", "two\nlines", long, strings.Repeat("W", 1<<16), strings.Repeat("\u0301", 1<<12), "\xff\x00日本"} {
				s, back := grey(t, a, f, size[0], size[1])
				a.Message(&s.Picture, text)
				s.intact(t)
				r := s.touched(back)
				if blank := strings.TrimSpace(text) == ""; blank && r.x1 > 0 {
					t.Errorf("%v %q: drawn within %v", size, text, r)
				} else if size[1] >= 360 && !blank && (r.y1 == 0 || r.y1 > size[1]/3+2) {
					t.Errorf("%v %.20q: drawn within %v", size, text, r)
				}
			}
		}
	}
	s, _ := grey(t, a, vision.I420, 640, 360)
	a.Message(&s.Picture, long)
	if len(a.lines) < 2 || len(a.lines) > maxMessageLines {
		t.Errorf("%d lines", len(a.lines))
	}
	if !strings.HasSuffix(string(a.text), "…") {
		t.Errorf("a message that was cut ends with %q", a.text[max(len(a.text)-20, 0):])
	}
	a.Message(&s.Picture, "short \n")
	if len(a.lines) != 1 || strings.Contains(string(a.text), "…") {
		t.Errorf("%d lines, %q", len(a.lines), a.text)
	}
}

// Nothing of any style writes outside the picture, and none of it allocates for long.
func TestStylesStayInside(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 9))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e-9, 0.5, 1, 7, 1e6, math.MaxFloat64}
	any := func() float64 { return odd[rng.IntN(len(odd))] }
	positions := []Position{"", TopLeft, TopCentre, TopRight, CentreLeft, Centre, CentreRight, BottomLeft, BottomCentre, BottomRight, "odd"}
	captions := []Caption{"", CaptionClass, CaptionConfidence, CaptionClassConfidence, CaptionTrack, CaptionIndex, CaptionDimensions, CaptionArea, "odd"}
	a := newArtist(t)
	for range 400 {
		w, h := 1+rng.IntN(200), 1+rng.IntN(150)
		s := newSheet(vision.Format(rng.IntN(2)), w, h, rng.IntN(20))
		num := func(size int) float32 {
			if rng.IntN(6) == 0 {
				return float32(any())
			}
			return (rng.Float32()*2 - 0.5) * float32(size)
		}
		marks := make([]Mark, rng.IntN(12))
		for i := range marks {
			marks[i] = mark(rng.IntN(100)-50, "lorry ☃\x00", num(w), num(h), num(w), num(h))
			marks[i].Track, marks[i].Index, marks[i].Score = rng.IntN(9)-3, i, num(1)
		}
		paint := Paint{By: []By{"", ByClass, ByTrack, ByIndex}[rng.IntN(4)], Palette: palette[:rng.IntN(4)]}
		a.Boxes(&s.Picture, marks, BoxStyle{Paint: paint, Thickness: any(), Roundness: any()})
		a.Labels(&s.Picture, marks, LabelStyle{Paint: paint, Caption: captions[rng.IntN(len(captions))], Position: positions[rng.IntN(len(positions))],
			Scale: any(), Padding: rng.IntN(300) - 50, Text: Colour{200, 0, 0, uint8(rng.IntN(256))}})
		a.Message(&s.Picture, "it failed")
		s.intact(t)
	}
	a.Boxes(nil, make([]Mark, 1), BoxStyle{})
	a.Labels(nil, make([]Mark, 1), LabelStyle{})
	a.Message(nil, "x")
}

func TestStylesMakeNoGarbage(t *testing.T) {
	a := newArtist(t)
	s := newSheet(vision.I420, 1280, 720, 0)
	var marks []Mark
	for i, k := range street(1280, 720) {
		marks = append(marks, Mark{Box: k.Box, Class: k.Class, Label: k.Label, Score: k.Score, Track: k.ID, Index: i})
	}
	step := func() {
		a.Boxes(&s.Picture, marks, BoxStyle{Roundness: 0.7, Thickness: 3})
		a.Labels(&s.Picture, marks, LabelStyle{Caption: CaptionClassConfidence, Position: BottomRight, Scale: 1.5})
		a.Message(&s.Picture, "the model failed on this frame")
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(50, step); n > 0.2 {
		t.Errorf("%v allocations per frame", n)
	}
}
