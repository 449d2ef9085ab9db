package track

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// A tracker that is restored from another's state, through JSON, answers what
// follows exactly as the other does, wherever it is taken: occlusions, candidates,
// other sizes of the frame, time that goes back.
func TestRestoredTrackerGoesOnAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	labels := []string{"person", "car", "dog", "bicycle", "cat", "truck"}
	a := newTracker(t, Config{MaxObjects: 40})
	b := a
	pts := time.Duration(0)
	for frame := range 600 {
		if frame%37 == 11 {
			a.SetFrame(640+rng.IntN(3)*320, 360+rng.IntN(3)*180)
			if b != a {
				b.SetFrame(int(a.w), int(a.h))
			}
		}
		pts += time.Duration(rng.IntN(60)) * ms
		if frame%150 == 149 {
			pts -= 700 * ms
		}
		var dets []vision.Detection
		for range rng.IntN(30) {
			class := rng.IntN(len(labels))
			dets = append(dets, vision.Detection{
				Box:   at(rng.Float64()*1280, rng.Float64()*720, 10+rng.Float64()*200, 10+rng.Float64()*200),
				Class: class, Label: labels[class], Score: rng.Float32(),
			})
		}
		for i := range 6 { // some that last
			cx := 200*float64(i+1) + 3*float64(frame%100)
			dets = append(dets, person(jitter(rng, at(cx, 300, 60, 140), 0.03), 0.3+0.6*rng.Float32()))
		}
		step := func(tr *Tracker) []vision.Track {
			if frame%9 == 4 {
				tr.Keep(pts)
				return nil
			}
			return tr.Update(pts, dets)
		}
		one := step(a)
		if b != a {
			if two := step(b); !slices.Equal(one, two) {
				t.Fatalf("frame %d: the restored tracker supports %v, the other %v", frame, two, one)
			}
		}
		for _, d := range []time.Duration{-20 * ms, 0, 50 * ms, 500 * ms} {
			if x, y := a.At(pts+d), b.At(pts+d); !slices.Equal(x, y) {
				t.Fatalf("frame %d, at %v: the restored tracker shows %v, the other %v", frame, d, y, x)
			}
		}
		if rng.IntN(20) == 0 {
			b = restored(t, a)
		}
	}
}

func restored(t *testing.T, from *Tracker) *Tracker {
	t.Helper()
	text, err := json.Marshal(from.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if most := 900*from.cfg.MaxObjects + 300; len(text) > most {
		t.Errorf("the state of %d objects takes %d bytes, more than %d", len(from.objects), len(text), most)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	tr, err := New(from.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Restore(s); err != nil {
		t.Fatal(err)
	}
	return tr
}

// A state that cannot be is refused, and leaves the tracker as it was.
func TestImpossibleStatesAreRefused(t *testing.T) {
	tr := newTracker(t, Config{MaxObjects: 4})
	for i := range 5 {
		tr.Update(time.Duration(i)*40*ms, []vision.Detection{person(at(300, 300, 50, 100), 0.9)})
	}
	before := tr.At(200 * ms)
	if len(before) != 1 {
		t.Fatalf("%d tracks", len(before))
	}
	for name, spoil := range map[string]func(*State){
		"too many":    func(s *State) { s.Objects = slices.Repeat(s.Objects, 5) },
		"no votes":    func(s *State) { s.Objects[0].Votes = nil },
		"no such":     func(s *State) { s.Objects[0].Best = 1 },
		"id":          func(s *State) { s.Objects[0].ID = 9 },
		"size":        func(s *State) { s.Objects[0].W[0] = 0 },
		"no support":  func(s *State) { s.Objects[0].Support = 0 },
		"frame":       func(s *State) { s.Width = -1 },
		"many votes":  func(s *State) { s.Objects[0].Votes = slices.Repeat(s.Objects[0].Votes, 5) },
		"negative id": func(s *State) { s.LastID = -1 },
	} {
		s := tr.Snapshot()
		spoil(&s)
		if err := tr.Restore(s); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
		if after := tr.At(200 * ms); !slices.Equal(after, before) {
			t.Errorf("%s: it shows %v", name, after)
		}
	}
}
