package draw

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

func newArtist(t testing.TB) *Artist {
	t.Helper()
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func track(id, class int, label string, score float32, x0, y0, x1, y1 float32) vision.Track {
	return vision.Track{ID: id, Detection: vision.Detection{
		Box: vision.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}, Class: class, Label: label, Score: score}}
}

// street is a set of tracks in parts of the picture, near and over each other.
func street(w, h int) []vision.Track {
	fw, fh := float32(w), float32(h)
	mk := func(id, class int, label string, score, x0, y0, x1, y1 float32) vision.Track {
		return track(id, class, label, score, x0*fw, y0*fh, x1*fw, y1*fh)
	}
	return []vision.Track{
		mk(3, 0, "person", 0.87, 0.05, 0.3, 0.15, 0.8),
		mk(4, 0, "person", 0.91, 0.12, 0.32, 0.22, 0.85),
		mk(12, 2, "car", 0.66, 0.4, 0.5, 0.75, 0.9),
		mk(17, 1, "bicycle", 0.42, 0.7, 0.45, 0.85, 0.75),
		mk(18, 0, "person", 0.58, 0.72, 0.2, 0.83, 0.7),
		mk(128, 9, "traffic light", 0.97, 0.93, 0.0, 0.99, 0.12),
		mk(5, 0, "person", 0.5, 0.3, 0.42, 0.315, 0.5),
	}
}

func TestColoursAreThoseOfTheStandards(t *testing.T) {
	for _, c := range []struct {
		in     Colour
		height int
		want   yuv
	}{
		{Colour{255, 255, 255, 255}, 1080, yuv{235, 128, 128, 256}},
		{Colour{0, 0, 0, 255}, 480, yuv{16, 128, 128, 256}},
		// ITU-R BT.601 and BT.709, 8 bit: pure red, green, blue.
		{Colour{255, 0, 0, 255}, 480, yuv{81, 90, 240, 256}},
		{Colour{0, 255, 0, 255}, 480, yuv{145, 54, 34, 256}},
		{Colour{0, 0, 255, 255}, 480, yuv{41, 240, 110, 256}},
		{Colour{255, 0, 0, 255}, 1080, yuv{63, 102, 240, 256}},
		{Colour{0, 255, 0, 255}, 1080, yuv{173, 42, 26, 256}},
		{Colour{0, 0, 255, 0}, 720, yuv{32, 240, 118, 0}},
	} {
		if got := convert(c.in, c.height); got != c.want {
			t.Errorf("%v at %d: %v, want %v", c.in, c.height, got, c.want)
		}
	}
}

func TestBothLayoutsShowTheSame(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {161, 121}} {
		a := newArtist(t)
		planar, packed := newSheet(vision.I420, size[0], size[1], 7), newSheet(vision.NV12, size[0], size[1], 12)
		for _, s := range []*sheet{planar, packed} {
			s.backdrop()
			a.Tracks(&s.Picture, street(size[0], size[1]))
			a.Text(&s.Picture, 3, 5, 14, "Éa ÿ", white)
			s.intact(t)
		}
		p, q := planar.rgb(), packed.rgb()
		for i := range p.Pix {
			if p.Pix[i] != q.Pix[i] {
				t.Fatalf("%v: pixel %d differs", size, i/4)
			}
		}
	}
}

// TestBoxesAreWhereTheyAreSaidToBe looks at the pixels.
func TestBoxesAreWhereTheyAreSaidToBe(t *testing.T) {
	for _, h := range []int{121, 360, 720, 1080, 2160} {
		w := h * 16 / 9
		s := newSheet(vision.I420, w, h, 0)
		a := newArtist(t)
		a.Fill(&s.Picture, Colour{90, 90, 90, 255})
		grey := convert(Colour{90, 90, 90, 255}, h)
		x0, y0, x1, y1 := w/4, h/2, w*3/4, h*9/10
		a.Tracks(&s.Picture, []vision.Track{track(1, 0, "", 0, float32(x0), float32(y0), float32(x1), float32(y1))})
		c := convert(ClassColour(0, 1), h)
		at := func(x, y int) byte { return s.Planes[0][y*s.Stride[0]+x] }
		for _, q := range [][2]int{{x0, h * 7 / 10}, {x1 - 1, h * 7 / 10}, {w / 2, y0}, {w / 2, y1 - 1}, {x0, y0}, {x1 - 1, y1 - 1}} {
			if got := at(q[0], q[1]); got != c.y {
				t.Errorf("%dp: outline at %v is %d, want %d", h, q, got, c.y)
			}
		}
		// Dark beside the line, untouched in the middle and away from it.
		if got := at(x0-1, h*7/10); got >= grey.y {
			t.Errorf("%dp: no dark border outside: %d", h, got)
		}
		if got := at(w/2, h*7/10); got != grey.y {
			t.Errorf("%dp: the inside was touched: %d", h, got)
		}
		if got := at(x0-h/20, h*7/10); got != grey.y {
			t.Errorf("%dp: the outside was touched: %d", h, got)
		}
	}
}

func TestChromaOfPartlyCoveredBlocks(t *testing.T) {
	for _, f := range []vision.Format{vision.I420, vision.NV12} {
		s := newSheet(f, 5, 5, 3)
		a := newArtist(t)
		a.Fill(&s.Picture, Colour{128, 128, 128, 255})
		a.FillRect(&s.Picture, vision.Box{X0: 1, Y0: 1, X1: 5, Y1: 5}, Colour{255, 0, 0, 255})
		s.intact(t)
		v := func(bx, by int) int {
			if f == vision.NV12 {
				return int(s.Planes[1][by*s.Stride[1]+2*bx+1])
			}
			return int(s.Planes[2][by*s.Stride[2]+bx])
		}
		// A quarter, half and all of the way from 128 to 240.
		for _, c := range [][3]int{{0, 0, 156}, {1, 0, 184}, {0, 1, 184}, {1, 1, 240}, {2, 2, 240}, {2, 0, 184}} {
			if got := v(c[0], c[1]); got < c[2]-1 || got > c[2]+1 {
				t.Errorf("format %d, block %v: Cr %d, want %d", f, c[:2], got, c[2])
			}
		}
	}
}

// TestNothingOutsideIsWritten draws anything anywhere.
func TestNothingOutsideIsWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), -1e30, 1e30, 0, -0.5, 1e9, math.MaxFloat32}
	a := newArtist(t)
	for n := range 400 {
		w, h := 1+rng.IntN(200), 1+rng.IntN(150)
		s := newSheet(vision.Format(rng.IntN(2)), w, h, rng.IntN(20))
		num := func(size int) float32 {
			if rng.IntN(6) == 0 {
				return odd[rng.IntN(len(odd))]
			}
			return (rng.Float32()*2 - 0.5) * float32(size)
		}
		tracks := make([]vision.Track, rng.IntN(25))
		for i := range tracks {
			tracks[i] = track(rng.IntN(1e9)-5, rng.IntN(100)-5, "lorry ☃\x00\xff", num(1), num(w), num(h), num(w), num(h))
		}
		a.Tracks(&s.Picture, tracks)
		a.Text(&s.Picture, int(int32(rng.Uint32())>>rng.IntN(32)), int(int32(rng.Uint32())>>rng.IntN(32)), rng.IntN(60)-5, "Wj\u0301 日本 \n", white)
		a.FillRect(&s.Picture, vision.Box{X0: num(w), Y0: num(h), X1: num(w), Y1: num(h)}, halo)
		s.intact(t)
		if n%8 == 0 {
			a.Slate(&s.Picture, "Front door", "the camera does not answer", time.Unix(1e9, 0), time.Unix(1e9+100, 0))
			s.intact(t)
		}
	}
}

func FuzzTracks(f *testing.F) {
	f.Add([]byte("\x00\x00\x80\x3f\x00\x00\x80\x7f"), "person", 161, 121)
	a := newArtist(f)
	f.Fuzz(func(t *testing.T, data []byte, label string, w, h int) {
		s := newSheet(vision.Format(len(data)%2), 1+int(uint(w)%300), 1+int(uint(h)%300), len(label)%9)
		var v [4]float32
		var tracks []vision.Track
		for i := 0; i+16 <= len(data) && i < 1600; i += 16 {
			for k := range v {
				v[k] = math.Float32frombits(binary.LittleEndian.Uint32(data[i+4*k:]))
			}
			tracks = append(tracks, track(i, i, label, v[0], v[0], v[1], v[2], v[3]))
		}
		a.Tracks(&s.Picture, tracks)
		a.Slate(&s.Picture, label, label, time.Unix(0, int64(w)), time.Unix(0, int64(h)))
		s.intact(t)
	})
}

func TestPicturesThatDoNotFitAreLeftAlone(t *testing.T) {
	a := newArtist(t)
	for _, p := range []*vision.Picture{
		nil, {}, {Width: 4, Height: 4},
		{Width: 4, Height: 4, Planes: [3][]byte{make([]byte, 16), make([]byte, 3), make([]byte, 4)}, Stride: [3]int{4, 2, 2}},
		{Width: 4, Height: 4, Planes: [3][]byte{make([]byte, 16), make([]byte, 8)}, Stride: [3]int{2, 4}, Format: vision.NV12},
		{Width: 4, Height: 4, Planes: [3][]byte{make([]byte, 99), make([]byte, 99)}, Stride: [3]int{9, 9}, Format: 7},
	} {
		a.Tracks(p, street(4, 4))
		a.Slate(p, "a", "b", time.Time{}, time.Time{})
		a.Fill(p, white)
		a.FillRect(p, vision.Box{X1: 3, Y1: 3}, white)
		if got := a.Text(p, 0, 0, 10, "a", white); got != 0 {
			t.Errorf("text of width %d on nothing", got)
		}
	}
}

func TestLabelsStayInsideAndApart(t *testing.T) {
	for _, size := range [][2]int{{161, 121}, {640, 360}, {1280, 720}, {3840, 2160}, {1080, 1920}} {
		w, h := size[0], size[1]
		s := newSheet(vision.I420, w, h, 0)
		a := newArtist(t)
		tracks := street(w, h)
		a.Tracks(&s.Picture, tracks)
		if len(a.plates) != len(tracks) {
			t.Errorf("%v: %d labels for %d tracks", size, len(a.plates), len(tracks))
		}
		covered := 0
		for i, l := range a.plates {
			if l.x0 < 0 || l.y0 < 0 || l.x1 > w || l.y1 > h {
				t.Errorf("%v: label %v leaves the picture", size, l.rect)
			}
			for _, o := range a.plates[:i] {
				covered += l.overlap(o.rect)
			}
		}
		if covered > 0 && w > 200 {
			t.Errorf("%v: labels overlap by %d pixels", size, covered)
		}
	}
}

func TestLabelText(t *testing.T) {
	for _, c := range []struct {
		in   vision.Track
		want string
	}{
		{track(12, 0, "person", 0.87, 0, 0, 0, 0), "person #12 87%"},
		{track(0, 0, "person", 0.999, 0, 0, 0, 0), "person 100%"},
		{track(3, 0, "", 7, 0, 0, 0, 0), "#3 100%"},
		{track(3, 0, "motion", float32(math.NaN()), 0, 0, 0, 0), "motion #3"},
	} {
		if got := string(describe(nil, &Mark{Label: c.in.Label, Score: c.in.Score, Track: c.in.ID}, "")); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestColoursAreStableAndLegible(t *testing.T) {
	for id := range 50 {
		for class := range 20 {
			c := ClassColour(class, id)
			if c != ClassColour(class, id) {
				t.Fatal("not stable")
			}
			back, text := convert(c, 720), convert(c.onto(), 720)
			if d := int(back.y) - int(text.y); d < 60 && d > -60 {
				t.Errorf("class %d id %d: text differs from its plate by %d only", class, id, d)
			}
		}
	}
}

func TestSlateWords(t *testing.T) {
	now := time.Date(2024, 5, 17, 14, 5, 33, 0, time.UTC)
	for _, c := range []struct {
		ago  time.Duration
		want string
	}{
		{12 * time.Second, "offline since 14:05:21 (12 s)"},
		{141 * time.Second, "offline since 14:03:12 (2 min)"},
		{3*time.Hour + 5*time.Minute, "offline since 11:00:33 (3 h 5 min)"},
		{26 * time.Hour, "offline since 16 May 12:05 (26 h)"},
		{100 * time.Hour, "offline since 13 May 10:05 (4 days)"},
		{-time.Minute, "offline since 14:06:33 (0 s)"},
	} {
		if got := string(appendSince(nil, now.Add(-c.ago), now)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := string(appendSince(nil, time.Time{}, now)); got != "offline" {
		t.Errorf("%q", got)
	}
}

func TestSlateMoves(t *testing.T) {
	a := newArtist(t)
	now := time.Date(2024, 5, 17, 14, 5, 33, 0, time.UTC)
	one, two := newSheet(vision.I420, 640, 360, 0), newSheet(vision.I420, 640, 360, 0)
	a.Slate(&one.Picture, "Front door", "no answer", now, now)
	a.Slate(&two.Picture, "Front door", "no answer", now, now.Add(40*time.Millisecond))
	changed := 0
	for i := range one.Planes[0] {
		if one.Planes[0][i] != two.Planes[0][i] {
			changed++
		}
	}
	if changed == 0 || changed > 3000 {
		t.Errorf("%d pixels change from frame to frame", changed)
	}
}

func TestSlateWrapsLongReasons(t *testing.T) {
	a := newArtist(t)
	s := newSheet(vision.NV12, 320, 180, 0)
	reason := "the camera at 192.0.2.7 refused the sign-in: check user name and password in the settings of this camera, then save"
	a.Slate(&s.Picture, "A camera with a name that is far too long for one line of this picture", reason, time.Time{}, time.Unix(0, 0))
	if len(a.lines) < 2 || len(a.lines) > maxReasonLines {
		t.Fatalf("%d lines", len(a.lines))
	}
	for _, l := range a.lines {
		if w, _ := a.TextSize(8, reason[l[0]:l[1]]); w > 320 {
			t.Errorf("line %q is %d wide", reason[l[0]:l[1]], w)
		}
	}
}

func TestNoGarbageInTheLongRun(t *testing.T) {
	a := newArtist(t)
	s := newSheet(vision.NV12, 1280, 720, 0)
	tracks := street(1280, 720)
	now := time.Now()
	step := func() {
		a.Tracks(&s.Picture, tracks)
		now = now.Add(40 * time.Millisecond)
		a.Slate(&s.Picture, "Front door", "the camera does not answer", now.Add(-time.Hour), now)
	}
	for range 300 { // all digits of the clock
		step()
	}
	if n := testing.AllocsPerRun(50, step); n > 0.2 {
		t.Errorf("%v allocations per frame", n)
	}
}

func TestGlyphMemoryIsBounded(t *testing.T) {
	a := newArtist(t)
	s := newSheet(vision.I420, 64, 64, 0)
	for size := minSize; size < 100; size++ {
		a.Text(&s.Picture, 0, 0, size, "abc", white)
	}
	for r := rune(0x20); r < 0x6000; r++ {
		a.Text(&s.Picture, 0, 0, 12, string(r), white)
	}
	if n := len(a.face.atlases); n > maxAtlases || n != a.face.recent.Len() {
		t.Errorf("%d atlases", n)
	}
	if at := a.face.at(12); len(at.glyphs) > maxGlyphs || len(at.advance) > maxGlyphs {
		t.Errorf("%d glyphs, %d advances", len(at.glyphs), len(at.advance))
	}
}

func TestMissingCharactersShowAsBoxes(t *testing.T) {
	a := newArtist(t)
	s := newSheet(vision.I420, 64, 64, 0)
	a.Fill(&s.Picture, black)
	if w := a.Text(&s.Picture, 4, 4, 30, "日", white); w < 5 {
		t.Fatalf("width %d", w)
	}
	lit := 0
	for _, v := range s.Planes[0] {
		if v > 150 {
			lit++
		}
	}
	if lit < 40 {
		t.Errorf("%d pixels", lit)
	}
}

func benchmark(b *testing.B, h int) {
	w := h * 16 / 9
	s := newSheet(vision.NV12, w, h, 0)
	a := newArtist(b)
	var tracks []vision.Track
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 20 {
		x, y := rng.Float32()*float32(w)*0.8, rng.Float32()*float32(h)*0.6
		tracks = append(tracks, track(i+1, i%5, "person", rng.Float32(), x, y, x+float32(w)*0.08, y+float32(h)*0.35))
	}
	a.Tracks(&s.Picture, tracks)
	b.ReportAllocs()
	for b.Loop() {
		a.Tracks(&s.Picture, tracks)
	}
}

func BenchmarkTracks(b *testing.B) {
	for _, h := range []int{720, 1080, 2160} {
		b.Run(fmt.Sprintf("%dp", h), func(b *testing.B) { benchmark(b, h) })
	}
}

func BenchmarkSlate720p(b *testing.B) {
	s := newSheet(vision.I420, 1280, 720, 0)
	a := newArtist(b)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(40 * time.Millisecond)
		a.Slate(&s.Picture, "Front door", "the camera does not answer", now.Add(-time.Hour), now)
	}
}
