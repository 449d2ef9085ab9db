package engine

import (
	"runtime"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// A session lasts for days: 20,000 pictures, of two sizes and some of them damaged,
// leave nothing behind, and neither do many sessions with their threads.
func TestGivenLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const n = 20000
	a := encoded(t, "vp8", "width=64,height=48", 30, "vp8enc deadline=1 keyframe-max-dist=1000", "vp8enc")
	b := encoded(t, "vp8", "width=80,height=64", 30, "vp8enc deadline=1 keyframe-max-dist=1000", "vp8enc")
	units, frames, early := make(chan Encoded), 0, 0
	routines := runtime.NumGoroutine()
	done := make(chan error)
	go func() {
		done <- ReadUnits(t.Context(), plan.Source{Threads: 1}, units, Handlers{Frame: func(f *Frame) {
			frames++
			f.Release()
		}}, nil)
	}()
	for i := range n {
		u := a[i%30]
		if i/30%2 == 1 {
			u = b[i%30]
		}
		u.PTS = time.Duration(i) * time.Second / 30
		if i%1000 == 999 {
			u.Data = u.Data[:len(u.Data)/2]
		}
		units <- u
		if i == n/3 {
			early = resident(t)
		}
	}
	close(units)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	late := resident(t)
	t.Logf("%d frames of %d units; resident %d KiB after a third, %d KiB at the end", frames, n, early, late)
	if frames < n*95/100 || late > early+4<<10 {
		t.Errorf("%d frames; memory grew by %d KiB", frames, late-early)
	}
	before := 0
	for i := range 60 {
		if i == 10 {
			before = threads(t)
		}
		p := make(chan Encoded, 8)
		for _, u := range a[:8] {
			p <- u
		}
		close(p)
		if err := ReadUnits(t.Context(), plan.Source{Threads: 1}, p, Handlers{Frame: func(f *Frame) { f.Release() }}, nil); err != nil {
			t.Fatal(err)
		}
	}
	after, left := threads(t), runtime.NumGoroutine()
	t.Logf("%d threads after ten, %d at the end; %d goroutines, %d before", before, after, left, routines)
	if after > before+4 || left > routines {
		t.Errorf("%d threads and %d goroutines stay", after-before, left-routines)
	}
}
