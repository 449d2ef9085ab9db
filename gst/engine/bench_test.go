package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// clip decodes the beginning of a real video, scaled to a size.
func clip(b *testing.B, w, h, n int) []*Frame {
	ctx, cancel := context.WithCancel(context.Background())
	s := NewScaler()
	defer s.Close()
	var frames []*Frame
	_ = Read(ctx, plan.Source{URL: filepath.Join(media(b), "video/one-by-one-person-detection.mp4")}, Handlers{Frame: func(f *Frame) {
		defer f.Release()
		if len(frames) == n || f.PTS < 20*time.Second {
			return
		}
		g, err := s.Resize(f, w, h)
		if err != nil {
			b.Fatal(err)
		}
		if frames = append(frames, g); len(frames) == n {
			cancel()
		}
	}})
	return frames
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct {
		element, codec string
		w, h           int
	}{
		{"openh264enc", "h264", 1280, 720}, {"openh264enc", "h264", 1920, 1080},
		{"x264enc", "h264", 1280, 720}, {"x264enc", "h264", 1920, 1080}, {"vp8enc", "vp8", 1280, 720},
	} {
		b.Run(fmt.Sprintf("%s/%d", c.element, c.h), func(b *testing.B) {
			frames := clip(b, c.w, c.h, 24)
			bytes, busy, n := 0, time.Duration(0), 0
			x, err := NewEncoder(plan.Encode{Codec: c.codec, Width: c.w, Height: c.h, Elements: []string{c.element}, Live: true}, func(u Unit) {
				bytes += len(u.Data)
				busy += u.Encode
				n++
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				f := frames[i%len(frames)]
				f.Retain()
				f.PTS = time.Duration(i) * time.Second / 30
				if err := x.Push(f); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			x.Close()
			b.ReportMetric(float64(busy.Microseconds())/float64(n)/1000, "ms/frame")
			b.ReportMetric(float64(bytes)*8*30/float64(n)/1e6, "Mbit/s@30")
			for _, f := range frames {
				f.Release()
			}
		})
	}
}

func BenchmarkScale(b *testing.B) {
	for _, c := range []struct{ w, h int }{{1280, 720}, {1920, 1080}} {
		b.Run(fmt.Sprint(c.h), func(b *testing.B) {
			f := clip(b, c.w, c.h, 1)[0]
			s := NewScaler()
			for b.Loop() {
				g, err := s.Scale(f, 416, 234)
				if err != nil {
					b.Fatal(err)
				}
				g.Release()
			}
			s.Close()
			f.Release()
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, file := range []string{"rot270_720p.mp4", "editlist_shift.mp4", "bbb_vp8_1080p60.webm"} {
		b.Run(file, func(b *testing.B) {
			n := 0
			start := time.Now()
			for b.Loop() {
				err := Read(context.Background(), plan.Source{URL: filepath.Join(media(b), "video", file), Threads: 1}, Handlers{Frame: func(f *Frame) { n++; f.Release() }})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n)/1000, "ms/frame")
		})
	}
}
