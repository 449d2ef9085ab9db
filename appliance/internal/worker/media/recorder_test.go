package media

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// recorded has a recorder make a video of n frames that fill paints, and returns the
// recorder and the hashes of the video's pictures.
func recorded(t *testing.T, n int, fill func(i int, p []byte)) (*recorder, []uint64) {
	t.Helper()
	dir := t.TempDir()
	r := &recorder{
		queue: newQueue(n, false), artist: artist(t), threads: 1, ledger: &ledger{}, spent: &meanTime{},
		path: filepath.Join(dir, "growing.mp4"), started: func(string) {},
		segment: func(c results.Checkpoint) error { return nil },
	}
	defer r.close()
	end := make(chan error, 1)
	go func() { end <- r.run(t.Context()) }()
	s := newSegments(20)
	for i := range n {
		f, err := engine.NewFrame(plan.I420, 320, 240)
		for err != nil { // so many are in the queue still
			time.Sleep(time.Millisecond)
			f, err = engine.NewFrame(plan.I420, 320, 240)
		}
		for _, p := range f.Planes {
			fill(i, p)
		}
		j := &job{frame: f, pts: time.Duration(i) * 40 * time.Millisecond, fps: 25, tracked: true, analysed: make(chan struct{})}
		if j.ends = s.ends(j.pts); j.ends {
			j.state = &results.Checkpoint{}
		}
		close(j.analysed)
		r.queue.put(t.Context(), j)
	}
	close(r.queue.jobs)
	if err := <-end; err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(dir, "whole.mp4")
	if err := r.finish(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	return r, pictures(t, whole)
}

// An encoder that gives up on what is in the picture costs no picture: another one
// goes on where it stopped, in the same video, and the same way each time.
func TestRecorderTakesAnotherEncoder(t *testing.T) {
	if !engine.HasElement("openh264enc") || !engine.HasElement("x264enc") {
		t.Skip("needs both openh264enc and x264enc")
	}
	var first []uint64
	for run := range 2 {
		rng := rand.New(rand.NewPCG(1, 1))
		r, drawn := recorded(t, 70, func(i int, p []byte) {
			for k := range p {
				p[k] = 128
				if i >= 30 {
					p[k] = byte(rng.UintN(2) * 255)
				}
			}
		})
		if len(drawn) != 70 || r.sent != 70 || r.late != 0 {
			t.Errorf("%d pictures of 70, %d sent, %d late", len(drawn), r.sent, r.late)
		}
		if len(r.gone) == 0 || r.made.Encoder == r.gone[0] {
			t.Errorf("%v gave up, %s goes on", r.gone, r.made.Encoder)
		}
		if run == 0 {
			first = drawn
			continue
		}
		for i := range drawn {
			if drawn[i] != first[i] {
				t.Fatalf("picture %d is another one the second time", i)
			}
		}
	}
}

// A picture gets what its own frame's analysis found, and the frame is not held.
func TestRecorderDrawsItsOwnTracks(t *testing.T) {
	f, err := engine.NewFrame(plan.I420, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Planes {
		clear(p)
	}
	j := &job{frame: f, analysed: make(chan struct{}), tracks: []vision.Track{
		{ID: 1, Detection: vision.Detection{Label: "cat", Score: 1, Box: vision.Box{X0: 10, Y0: 10, X1: 50, Y1: 50}}}}}
	close(j.analysed)
	out, err := overlaid(artist(t), j, j.tracks)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if px := out.Planes[0][10*out.Stride[0]+30]; px == 0 {
		t.Error("nothing is drawn")
	}
}
