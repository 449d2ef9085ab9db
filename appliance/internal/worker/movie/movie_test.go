package movie

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// film encodes n frames of a moving picture, frame i at at(i).
func film(t testing.TB, width, height, n, gop int, at func(i int) time.Duration) []Unit {
	t.Helper()
	if err := engine.Start(engine.Options{}); err != nil {
		t.Skip("GStreamer does not start: ", err)
	}
	var units []Unit
	x, err := engine.NewEncoder(plan.Encode{Codec: "h264", Width: width, Height: height, GOP: gop, Live: true}, func(u engine.Unit) {
		units = append(units, Unit{Data: u.Data, PTS: u.PTS, Keyframe: u.Keyframe})
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f, err := engine.NewFrame(plan.I420, width, height)
		if err != nil {
			t.Fatal(err)
		}
		for p, plane := range f.Planes {
			for j := range plane {
				plane[j] = byte(64 + 40*p + (j%f.Stride[p]+i*3)%96)
			}
		}
		f.PTS = at(i)
		if err := x.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if len(units) != n {
		t.Fatalf("%d frames gave %d units", n, len(units))
	}
	return units
}

func regular(i int) time.Duration { return time.Duration(i) * time.Second / 30 }

// times reads a video as the box reads any and returns its frames' times.
func times(t testing.TB, path string) (pts []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := engine.Read(ctx, plan.Source{URL: path, Threads: 1}, engine.Handlers{
		Frame:   func(f *engine.Frame) { pts = append(pts, f.PTS); f.Release() },
		Warning: func(w string) { t.Errorf("%s: %s", filepath.Base(path), w) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return pts
}

func TestRoundTrip(t *testing.T) {
	for name, at := range map[string]func(int) time.Duration{
		"30":          regular,
		"29.97":       func(i int) time.Duration { return time.Duration(i) * time.Second * 1001 / 30000 },
		"variable":    func(i int) time.Duration { return time.Duration(i*40+i*i%7) * time.Millisecond },
		"begins late": func(i int) time.Duration { return 1500*time.Millisecond + regular(i) },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 100
			units := film(t, 320, 240, n, 15, at)
			dir := t.TempDir()
			w, err := Create(filepath.Join(dir, "growing.mp4"), Video{320, 240})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			for i, u := range units {
				if err := w.Write(u); err != nil {
					t.Fatal(err)
				}
				if i%40 == 39 {
					if _, err := w.Commit(); err != nil {
						t.Fatal(err)
					}
				}
			}
			final := filepath.Join(dir, "final.mp4")
			if err := w.Finish(t.Context(), final); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{filepath.Join(dir, "growing.mp4"), final} {
				got := times(t, path)
				if len(got) != n {
					t.Fatalf("%s: %d frames went in, %d came back", filepath.Base(path), n, len(got))
				}
				for i := range got {
					if d := got[i] - got[0] - (at(i) - at(0)); d.Abs() > time.Millisecond {
						t.Fatalf("%s: frame %d is %v off", filepath.Base(path), i, d)
					}
				}
				t.Logf("%s begins at %v", filepath.Base(path), got[0])
			}
		})
	}
}
