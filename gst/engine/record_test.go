package engine

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// record writes frames with these times to an MP4 and returns its path.
func record(t testing.TB, e plan.Encode, pts []time.Duration) string {
	t.Helper()
	e.Path = filepath.Join(t.TempDir(), "out.mp4")
	x, err := NewEncoder(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range pts {
		f, err := NewFrame(plan.I420, e.Width, e.Height)
		if err != nil {
			t.Fatal(err)
		}
		ramp(f, i)
		f.PTS = at
		if err := x.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return e.Path
}

// Every frame that goes into a recording comes out of it, at its time: the
// last one too, whose duration nothing that follows could tell.
func TestRecordingKeepsEveryFrame(t *testing.T) {
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	const n = 100
	rates := []struct {
		name     string
		num, den int
		at       func(i int) time.Duration
	}{
		{name: "10", num: 10, den: 1},
		{name: "25", num: 25, den: 1},
		{name: "30", num: 30, den: 1},
		{name: "29.97", num: 30000, den: 1001},
		{name: "30 as thousands", num: 30000, den: 1000},
		{name: "variable", num: 30, den: 1, at: func(i int) time.Duration { return time.Duration(i*i%7+i*40) * time.Millisecond }},
		{name: "rate not known", at: func(i int) time.Duration { return time.Duration(i) * time.Second / 24 }},
	}
	for _, element := range []string{"openh264enc", "x264enc"} {
		if !HasElement(element) {
			t.Logf("%s is not installed", element)
			continue
		}
		for _, r := range rates {
			t.Run(fmt.Sprintf("%s at %s", element, r.name), func(t *testing.T) {
				pts := make([]time.Duration, n)
				for i := range pts {
					if r.at != nil {
						pts[i] = r.at(i)
					} else {
						pts[i] = time.Duration(i) * time.Second * time.Duration(r.den) / time.Duration(r.num)
					}
				}
				path := record(t, plan.Encode{Codec: "h264", Width: 320, Height: 240, FPSNum: r.num, FPSDen: r.den,
					Elements: []string{element}}, pts)
				got := readAll(t, plan.Source{URL: path})
				if got.err != nil || got.frames != n {
					t.Fatalf("%d frames went in, %d came back, %v", n, got.frames, got.err)
				}
				for i := range pts {
					if d := (got.pts[i] - got.pts[0]) - (pts[i] - pts[0]); d.Abs() > time.Millisecond {
						t.Fatalf("frame %d moved by %v", i, d)
					}
				}
			})
		}
	}
}
