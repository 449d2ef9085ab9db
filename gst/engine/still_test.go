package engine

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// painted is a frame of one colour.
func painted(t testing.TB, format plan.Format, w, h int, y, u, v byte) *Frame {
	t.Helper()
	f, err := NewFrame(format, w, h)
	if err != nil {
		t.Fatal(err)
	}
	for p := range f.Planes {
		for i := range f.Planes[p] {
			c := [3]byte{y, u, v}[p]
			if format == plan.NV12 && p == 1 && i&1 == 1 {
				c = v
			}
			f.Planes[p][i] = c
		}
	}
	return f
}

// The colours of a picture are those of the frame: video's range and matrix become
// JPEG's. BT.709 from 720 lines on, BT.601 below, as everywhere.
func TestStillColours(t *testing.T) {
	s, err := NewStill(95)
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name    string
		h       int
		y, u, v byte
		want    [3]int
	}{
		{"black", 480, 16, 128, 128, [3]int{0, 0, 0}},
		{"white", 480, 235, 128, 128, [3]int{255, 255, 255}},
		{"grey", 720, 126, 128, 128, [3]int{128, 128, 128}},
		{"red 601", 480, 81, 90, 240, [3]int{254, 0, 0}},
		{"green 601", 480, 145, 54, 34, [3]int{0, 255, 0}},
		{"blue 601", 480, 41, 240, 110, [3]int{0, 0, 255}},
		{"red 709", 720, 63, 102, 240, [3]int{255, 0, 0}},
		{"green 709", 720, 173, 42, 26, [3]int{0, 255, 0}},
		{"blue 709", 720, 32, 240, 118, [3]int{0, 0, 255}},
	} {
		for _, format := range []plan.Format{plan.I420, plan.NV12} {
			for _, odd := range []int{0, 1} {
				f := painted(t, format, 320+odd, c.h+odd, c.y, c.u, c.v)
				data, err := s.Encode(f)
				f.Release()
				if err != nil {
					t.Fatal(err)
				}
				m, err := jpeg.Decode(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				if m.Bounds() != image.Rect(0, 0, 320+odd, c.h+odd) {
					t.Errorf("%s %s: %v", c.name, format, m.Bounds())
				}
				for _, at := range []image.Point{{0, 0}, {160, 100}, {319 + odd, c.h - 1 + odd}} {
					r, g, b, _ := m.At(at.X, at.Y).RGBA()
					for i, got := range []uint32{r >> 8, g >> 8, b >> 8} {
						if d := int(got) - c.want[i]; d < -5 || d > 5 {
							t.Errorf("%s %s %v: %d %d %d, want %v", c.name, format, at, r>>8, g>>8, b>>8, c.want)
							break
						}
					}
				}
			}
		}
	}
}

// Sizes and layouts change from one picture to the next, and nothing of one is left
// in another; what cannot be is refused and leaves the encoder as it was.
func TestStillChanges(t *testing.T) {
	s, err := NewStill(80)
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	n := 0
	for _, size := range [][2]int{{64, 48}, {1, 1}, {1920, 1080}, {3, 17}, {161, 121}, {16, 16}, {64, 48}} {
		for _, format := range []plan.Format{plan.I420, plan.NV12, plan.RGB} {
			n++
			y := byte(40 + 7*n)
			f := painted(t, format, size[0], size[1], y, 128, 128)
			data, err := s.Encode(f)
			if format == plan.RGB {
				f.Release()
				if err == nil {
					t.Error("RGB was taken")
				}
				continue
			}
			if err != nil {
				t.Fatal(size, format, err)
			}
			if f.Width != size[0] || f.Planes[0][0] != y {
				t.Error("the frame changed")
			}
			if err := f.Writable(); err != nil {
				t.Error(err)
			}
			f.Release()
			m, err := jpeg.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			r, _, _, _ := m.At(size[0]/2, size[1]/2).RGBA()
			if want := (int(y) - 16) * 255 / 219; m.Bounds().Dx() != size[0] || m.Bounds().Dy() != size[1] || int(r>>8)-want < -5 || int(r>>8)-want > 5 {
				t.Errorf("%v %s: %v, %d instead of %d", size, format, m.Bounds(), r>>8, want)
			}
		}
	}
}

func BenchmarkStill(b *testing.B) {
	for _, h := range []int{720, 1080} {
		for _, q := range []int{85, 95} {
			b.Run(fmt.Sprintf("%d/q%d", h, q), func(b *testing.B) {
				frames := clip(b, h*16/9, h, 8)
				s, err := NewStill(q)
				if err != nil {
					b.Fatal(err)
				}
				bytes, n := 0, 0
				start := time.Now()
				for b.Loop() {
					data, err := s.Encode(frames[n%len(frames)])
					if err != nil {
						b.Fatal(err)
					}
					bytes += len(data)
					n++
				}
				b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n)/1000, "ms/frame")
				b.ReportMetric(float64(bytes)/float64(n)/1024, "KiB")
				s.Close()
				for _, f := range frames {
					f.Release()
				}
			})
		}
	}
}

// What lies in memory behind a picture's rows has no part in it.
func TestStillEdges(t *testing.T) {
	s, err := NewStill(80)
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	for _, size := range [][2]int{{3, 17}, {321, 9}, {1, 1}, {30, 30}} {
		var first []byte
		for _, dirt := range []byte{0, 255, 90} {
			g, err := newBlocks(plan.I420, size[0], size[1], jpegBlock)
			if err != nil {
				t.Fatal(err)
			}
			for _, plane := range g.Planes {
				for i := range plane {
					plane[i] = dirt
				}
			}
			g.Release() // the next one made has its memory
			f := painted(t, plan.I420, size[0], size[1], 120, 90, 160)
			data, err := s.Encode(f)
			f.Release()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = data
			} else if !bytes.Equal(data, first) {
				t.Errorf("%v: with %d behind its rows it is another picture", size, dirt)
			}
		}
	}
}
