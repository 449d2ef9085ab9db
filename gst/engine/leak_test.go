package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// resident is the process's memory in KiB.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

// Every picture and every pipeline must go when it is released, not when the
// collector gets to it.
func TestMemoryStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	file := filepath.Join(media(t), "video/highway_asp.avi")
	frames, early := 0, 0
	for i := range 30 {
		s := readAll(t, plan.Source{URL: file, Threads: 1})
		if s.err != nil {
			t.Fatal(s.err)
		}
		frames += s.frames
		if i == 9 {
			early = resident(t)
		}
	}
	late := resident(t)
	t.Logf("%d frames; resident %d KiB after a third, %d KiB at the end", frames, early, late)
	if late > early+8<<10 {
		t.Errorf("memory grew by %d KiB", late-early)
	}
}

// threads is how many threads the process has, those of GStreamer with Go's.
func threads(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(list)
}

// small is a file of n frames of 64x48.
func small(t *testing.T, n int) string {
	t.Helper()
	return write(t, fmt.Sprintf("videotestsrc num-buffers=%d pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=30/1 ! vp8enc deadline=1 cpu-used=16 keyframe-max-dist=30 ! matroskamux", n))
}

// The way of a frame through a box, so often that a hundred bytes lost on it would
// show: decoded, made its own, drawn on, scaled for a detector, encoded. 200,000
// frames grew by 0.4 MiB, but take a minute on two cores; these take a third of it.
func TestNothingIsLostOnTheWay(t *testing.T) {
	if testing.Short() {
		t.Skip("takes twenty seconds")
	}
	const passes, each = 6, 10000
	file := small(t, each)
	units := 0
	x, err := NewEncoder(plan.Encode{Codec: "vp8", Elements: []string{"vp8enc"}, Width: 64, Height: 48, Live: true}, func(Unit) { units++ })
	if err != nil {
		t.Skip(err)
	}
	s := NewScaler()
	defer s.Close()
	frames, early := 0, 0
	for pass := range passes {
		err := Read(t.Context(), plan.Source{URL: file, Threads: 1}, Handlers{Frame: func(f *Frame) {
			if err := f.Writable(); err != nil {
				t.Error(err)
			}
			f.Planes[0][f.Stride[0]+1] ^= 0xff
			g, err := s.Scale(f, 32, 24)
			if err != nil {
				t.Error(err)
			} else {
				g.Release()
			}
			f.PTS = time.Duration(frames) * time.Second / 30
			if err := x.Push(f); err != nil {
				t.Error(err)
			}
			frames++
		}})
		if err != nil || t.Failed() {
			t.Fatal(err)
		}
		if pass == 1 {
			early = resident(t)
		}
	}
	late := resident(t)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d frames, %d units; resident %d KiB after a third, %d KiB at the end", frames, units, early, late)
	if frames != passes*each || units != frames {
		t.Errorf("%d frames and %d units of %d", frames, units, passes*each)
	}
	if late > early+4<<10 {
		t.Errorf("memory grew by %d KiB", late-early)
	}
}

// What is opened is closed: threads, too, whether it ran to its end or not.
func TestThreadsEnd(t *testing.T) {
	file := small(t, 30)
	cycle := func(whole bool) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var x *Encoder
		err := Read(ctx, plan.Source{URL: file}, Handlers{Frame: func(f *Frame) {
			if x == nil {
				var err error
				if x, err = NewEncoder(plan.Encode{Codec: "h264", Width: 64, Height: 48, Live: true}, func(Unit) {}); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.Push(f); err != nil {
				t.Error(err)
			}
			if !whole {
				cancel()
			}
		}})
		if whole && err != nil || !whole && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	// What GLib and Go keep for good is there after a few.
	for i := range 5 {
		cycle(i%2 == 0)
	}
	settled := func() int {
		// GLib's pool lets its idle threads go after a while.
		n := threads(t)
		for start := time.Now(); time.Since(start) < time.Second; time.Sleep(50 * time.Millisecond) {
			n = min(n, threads(t))
		}
		return n
	}
	before, routines := settled(), runtime.NumGoroutine()
	for i := range 50 {
		cycle(i%2 == 0)
	}
	after, left := settled(), runtime.NumGoroutine()
	t.Logf("%d threads before, %d after; %d goroutines, %d after", before, after, routines, left)
	if after > before+2 || left > routines {
		t.Errorf("%d threads and %d goroutines stay", after-before, left-routines)
	}
}
