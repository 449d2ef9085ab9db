package engine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// A file that plays live on a box that is too slow for it behaves as a camera:
// it keeps to the clock, and what cannot be shown in time is left out, said, and
// never shown late.
func TestSlowLiveFileKeepsToTheClock(t *testing.T) {
	if testing.Short() {
		t.Skip("takes eight seconds")
	}
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	pts := make([]time.Duration, 150)
	for i := range pts {
		pts[i] = time.Duration(i) * time.Second / 30
	}
	file := record(t, plan.Encode{Codec: "h264", Width: 320, Height: 240, FPSNum: 30, FPSDen: 1, GOP: 30}, pts)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var warnings []string
	var first time.Time
	var worst, last time.Duration
	frames := 0
	_ = Read(ctx, plan.Source{URL: file, Live: true, Loop: true}, Handlers{
		Warning: func(s string) { warnings = append(warnings, s) },
		Frame: func(f *Frame) {
			frames++
			if first.IsZero() {
				first = time.Now()
			}
			last = f.PTS
			worst = max(worst, time.Since(first)-f.PTS)
			f.Release()
			time.Sleep(100 * time.Millisecond) // 10 frames a second at best
			if time.Since(first) > 8*time.Second {
				cancel()
			}
		},
	})
	t.Logf("%d frames up to %v, at worst %v late; %q", frames, last, worst, warnings)
	if last < 6*time.Second || worst > 2*time.Second {
		t.Errorf("after 8 s it is at %v, it was %v late", last, worst)
	}
	if !strings.Contains(strings.Join(warnings, " "), "left out") {
		t.Error("nothing was said of it")
	}
}
