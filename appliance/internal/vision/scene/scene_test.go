package scene_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/motion"
	"github.com/watchpost/watchpost/appliance/internal/vision/scene"
)

func newPicture(f vision.Format, w, h, pad int) *vision.Picture {
	p := &vision.Picture{Format: f, Width: w, Height: h}
	cw, ch := (w+1)/2, (h+1)/2
	sizes := [][2]int{{w, h}, {cw, ch}, {cw, ch}}
	if f == vision.NV12 {
		sizes = [][2]int{{w, h}, {2 * cw, ch}}
	}
	for i, s := range sizes {
		p.Stride[i] = s[0] + pad
		p.Planes[i] = bytes.Repeat([]byte{0xA5}, p.Stride[i]*(s[1]-1)+s[0])
	}
	return p
}

func newScene(t testing.TB, w, h int, fps float64) *scene.Scene {
	t.Helper()
	s, err := scene.New(w, h, fps)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func draw(t testing.TB, s *scene.Scene, p *vision.Picture, n int) {
	t.Helper()
	if err := s.Draw(p, n); err != nil {
		t.Fatal(err)
	}
}

func TestFramesAreDeterministicAndDiffer(t *testing.T) {
	a, b := newScene(t, 322, 181, 25), newScene(t, 322, 181, 25)
	p, q := newPicture(vision.I420, 322, 181, 0), newPicture(vision.I420, 322, 181, 0)
	draw(t, a, p, 400)
	draw(t, b, q, 3)
	if bytes.Equal(p.Planes[0], q.Planes[0]) {
		t.Error("frames 3 and 400 are the same")
	}
	draw(t, b, q, 400)
	for i := range p.Planes {
		if !bytes.Equal(p.Planes[i], q.Planes[i]) {
			t.Errorf("plane %d of frame 400 depends on what was drawn before", i)
		}
	}
}

func TestBothLayoutsShowTheSame(t *testing.T) {
	const w, h = 161, 121
	s := newScene(t, w, h, 25)
	p, q := newPicture(vision.I420, w, h, 5), newPicture(vision.NV12, w, h, 8)
	for n := range 200 {
		draw(t, s, p, 7*n)
		draw(t, s, q, 7*n)
		for y := range h {
			for x := range p.Stride[0] {
				if v, i := byte(0xA5), y*p.Stride[0]+x; x >= w && i < len(p.Planes[0]) && p.Planes[0][i] != v {
					t.Fatalf("frame %d: padding written in row %d", n, y)
				}
			}
			for x := range w {
				u, v := p.Planes[1][y/2*p.Stride[1]+x/2], p.Planes[2][y/2*p.Stride[2]+x/2]
				uv := q.Planes[1][y/2*q.Stride[1]+x/2*2:]
				if p.Planes[0][y*p.Stride[0]+x] != q.Planes[0][y*q.Stride[0]+x] || u != uv[0] || v != uv[1] {
					t.Fatalf("frame %d differs at %d,%d", n, x, y)
				}
			}
		}
	}
}

func TestTruthIsInsideAndThereIsAlwaysSomebody(t *testing.T) {
	for _, size := range [][2]int{{16, 16}, {640, 360}, {1280, 720}, {720, 1280}} {
		s := newScene(t, size[0], size[1], 10)
		for n := range 3000 {
			boxes := s.Truth(n)
			if len(boxes) == 0 {
				t.Fatalf("%v: nobody in frame %d", size, n)
			}
			for _, b := range boxes {
				if b.Area() <= 0 || b != b.Clip(float32(size[0]), float32(size[1])) {
					t.Fatalf("%v frame %d: %v", size, n, b)
				}
			}
		}
	}
}

func TestPicturesOfAnotherSizeAreRefused(t *testing.T) {
	s := newScene(t, 64, 48, 25)
	short := newPicture(vision.I420, 64, 48, 0)
	short.Planes[2] = short.Planes[2][:10]
	for _, p := range []*vision.Picture{newPicture(vision.I420, 62, 48, 0), short, {Width: 64, Height: 48, Format: vision.NV12}} {
		if err := s.Draw(p, 0); !errors.Is(err, scene.ErrSize) {
			t.Errorf("%dx%d: %v", p.Width, p.Height, err)
		}
	}
	for _, c := range [][3]float64{{0, 10, 25}, {100, 10, 25}, {1e5, 100, 25}, {100, 100, 0}, {100, 100, -1}} {
		if _, err := scene.New(int(c[0]), int(c[1]), c[2]); !errors.Is(err, scene.ErrSize) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// TestMotionFindsTheFigures is what the scene is for: the analyser must find most
// of those that move, and little else. Figures that overlap in the picture count
// as one, as no background model can tell them apart.
func TestMotionFindsTheFigures(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {1280, 720}} {
		const fps = 12.5
		s, p := newScene(t, size[0], size[1], fps), newPicture(vision.I420, size[0], size[1], 0)
		m, err := motion.New(motion.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var figures, found, regions, right int
		for n := range int(60 * fps) {
			draw(t, s, p, n)
			pts := time.Duration(float64(n) / fps * float64(time.Second))
			r := m.Update(p.Planes[0], p.Stride[0], p.Width, p.Height, pts)
			if pts < 2*time.Second {
				continue
			}
			truth := grouped(s.Truth(n), float32(size[1])*0.04)
			figures, regions = figures+len(truth), regions+len(r.Regions)
			found += hits(truth, r.Regions)
			right += hits(r.Regions, truth)
		}
		recall, precision := float64(found)/float64(figures), float64(right)/float64(regions)
		t.Logf("%v: %d figures, recall %.3f, precision %.3f at IoU 0.3", size, figures, recall, precision)
		if recall < 0.9 || precision < 0.9 {
			t.Errorf("%v: recall %.3f, precision %.3f: both must be 0.9", size, recall, precision)
		}
	}
}

// grouped joins boxes that are nearer to each other than gap.
func grouped(boxes []vision.Box, gap float32) []vision.Box {
	for again := true; again; {
		again = false
		for i := 0; i < len(boxes) && !again; i++ {
			for j := i + 1; j < len(boxes) && !again; j++ {
				a, b := boxes[i], boxes[j]
				if a.X0-gap < b.X1 && b.X0-gap < a.X1 && a.Y0-gap < b.Y1 && b.Y0-gap < a.Y1 {
					boxes[i] = vision.Box{X0: min(a.X0, b.X0), Y0: min(a.Y0, b.Y0), X1: max(a.X1, b.X1), Y1: max(a.Y1, b.Y1)}
					boxes = append(boxes[:j], boxes[j+1:]...)
					again = true
				}
			}
		}
	}
	return boxes
}

// hits counts the boxes of a that one of b meets.
func hits(a, b []vision.Box) int {
	n := 0
	for _, x := range a {
		for _, y := range b {
			if x.IoU(y) >= 0.3 {
				n++
				break
			}
		}
	}
	return n
}

func TestNoGarbage(t *testing.T) {
	s, p := newScene(t, 640, 360, 25), newPicture(vision.NV12, 640, 360, 0)
	draw(t, s, p, 0)
	n := 0
	if a := testing.AllocsPerRun(50, func() { n += 20; draw(t, s, p, n) }); a > 0 {
		t.Errorf("%v allocations per frame", a)
	}
}

// TestLook renders frames for people, into the folder WATCHPOST_LOOK.
func TestLook(t *testing.T) {
	dir := os.Getenv("WATCHPOST_LOOK")
	if dir == "" {
		t.Skip("WATCHPOST_LOOK names no folder for pictures")
	}
	s, p := newScene(t, 1280, 720, 25), newPicture(vision.I420, 1280, 720, 0)
	for _, n := range []int{75, 250} {
		draw(t, s, p, n)
		img := image.NewYCbCr(image.Rect(0, 0, 1280, 720), image.YCbCrSubsampleRatio420)
		copy(img.Y, p.Planes[0])
		copy(img.Cb, p.Planes[1])
		copy(img.Cr, p.Planes[2])
		out := image.NewRGBA(img.Rect)
		for y := range 720 {
			for x := range 1280 { // limited range, near enough for a look
				c := img.YCbCrAt(x, y)
				full := color.YCbCr{Y: uint8(min(max((int(c.Y)-16)*255/219, 0), 255)), Cb: c.Cb, Cr: c.Cr}
				out.Set(x, y, full)
			}
		}
		f, err := os.Create(filepath.Join(dir, "scene-"+string(rune('a'+n/200))+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, out); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkDraw720p(b *testing.B) {
	s, p := newScene(b, 1280, 720, 25), newPicture(vision.I420, 1280, 720, 0)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		draw(b, s, p, n)
	}
}

func BenchmarkNew720p(b *testing.B) {
	for b.Loop() {
		newScene(b, 1280, 720, 25)
	}
}
