package track

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

const ms = time.Millisecond

// at makes a box from centre and size.
func at(cx, cy, w, h float64) vision.Box {
	return vision.Box{X0: float32(cx - w/2), Y0: float32(cy - h/2), X1: float32(cx + w/2), Y1: float32(cy + h/2)}
}

func person(b vision.Box, score float32) vision.Detection {
	return vision.Detection{Box: b, Class: 0, Label: "person", Score: score}
}

// jitter moves edges as a detector does: by a part of the size.
func jitter(rng *rand.Rand, b vision.Box, part float64) vision.Box {
	w, h := float64(b.Width())*part, float64(b.Height())*part
	b.X0 += float32(rng.NormFloat64() * w)
	b.X1 += float32(rng.NormFloat64() * w)
	b.Y0 += float32(rng.NormFloat64() * h)
	b.Y1 += float32(rng.NormFloat64() * h)
	return b
}

// newTracker returns a tracker that is checked for consistency when the test
// ends.
func newTracker(t testing.TB, cfg Config) *Tracker {
	t.Helper()
	if cfg.Width == 0 {
		cfg.Width, cfg.Height = 1280, 720
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consistent(t, tr) })
	return tr
}

// consistent checks what must hold between any two calls.
func consistent(t testing.TB, tr *Tracker) {
	t.Helper()
	tr.mu.Lock()
	ids := map[int]bool{}
	for i := range tr.objects {
		o := &tr.objects[i]
		if o.id < 0 || o.id > tr.lastID {
			t.Errorf("object has id %d, last given is %d", o.id, tr.lastID)
		}
		if o.id != 0 && ids[o.id] {
			t.Errorf("id %d is there twice", o.id)
		}
		ids[o.id] = true
		if o.seen < o.since || o.seen > tr.last || o.support < 1 {
			t.Errorf("object %d: since %v, seen %v, support %d at %v", o.id, o.since, o.seen, o.support, tr.last)
		}
		for _, a := range []axis{o.cx, o.cy, o.w, o.h} {
			if !finite(a.x, a.v, a.xx, a.xv, a.vv) || a.xx < 0 || a.vv < 0 || a.xx*a.vv < a.xv*a.xv*(1-1e-6)-1e-6 {
				t.Errorf("object %d: filter is not sound: %+v", o.id, a)
			}
		}
		if o.w.x < 1 || o.h.x < 1 {
			t.Errorf("object %d: size %v x %v", o.id, o.w.x, o.h.x)
		}
	}
	if len(tr.objects) > tr.cfg.MaxObjects {
		t.Errorf("%d objects, allowed are %d", len(tr.objects), tr.cfg.MaxObjects)
	}
	last := tr.last
	tr.mu.Unlock()
	for _, d := range []time.Duration{-time.Second, 0, 33 * ms, time.Hour} {
		sound(t, tr, tr.At(last+d))
	}
}

// sound checks a result.
func sound(t testing.TB, tr *Tracker, tracks []vision.Track) {
	t.Helper()
	w, h := tr.view.w, tr.view.h
	for i, k := range tracks {
		if i > 0 && k.ID <= tracks[i-1].ID {
			t.Errorf("ids are not ascending: %d after %d", k.ID, tracks[i-1].ID)
		}
		if !finite(float64(k.X0), float64(k.Y0), float64(k.X1), float64(k.Y1)) || k.Box != k.Clip(w, h) || k.Area() <= 0 {
			t.Errorf("track %d: box %v in a %vx%v frame", k.ID, k.Box, w, h)
		}
		if k.ID < 1 || k.Since > k.Seen {
			t.Errorf("track %d: since %v, seen %v", k.ID, k.Since, k.Seen)
		}
	}
}

func finite(xs ...float64) bool {
	for _, x := range xs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// follow returns the id of the track that covers box best, 0 for none.
func follow(tracks []vision.Track, box vision.Box) int {
	id, best := 0, float32(0.3)
	for _, k := range tracks {
		if iou := k.IoU(box); iou > best {
			id, best = k.ID, iou
		}
	}
	return id
}
