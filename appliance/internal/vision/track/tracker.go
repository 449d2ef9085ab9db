package track

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// backstep is how far time may go back before it counts as a new start: streams
// with damaged timestamps step back by a frame or two, loops by their length.
const backstep = 250 * time.Millisecond

// object is one followed thing.
type object struct {
	body
	prior body // the estimate at the time of the frame in hand

	id      int // 0 until confirmed
	votes   ballot
	score   float32
	since   time.Duration
	seen    time.Duration
	strong  time.Duration // the last detection of High or more; score is its
	support int           // frames that supported it
	found   vision.Detection
	matched bool
}

// Tracker follows objects. Update, Keep and SetFrame may be called by one
// goroutine at a time each (they lock), At by any number of others.
type Tracker struct {
	cfg Config

	mu       sync.Mutex // everything down to show
	w, h     float32
	objects  []object
	lastID   int
	last     time.Duration
	started  bool
	fresh    bool    // the next frame's objects are taken at once
	interval float64 // seconds between updates, running mean
	assign   assigner
	dets     []vision.Detection
	taken    []bool
	rows     []int32
	cols     []int32

	show sync.Mutex // what At reads; never held during an association
	view view
}

// New returns a tracker without tracks, or an error that wraps ErrConfig.
func New(cfg Config) (*Tracker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	t := &Tracker{cfg: cfg, w: float32(cfg.Width), h: float32(cfg.Height), fresh: true}
	t.publish()
	return t, nil
}

// SetFrame tells the size of the frames from now on, in pixels. Tracks are
// scaled to it: the same scene at another resolution keeps its ids.
func (t *Tracker) SetFrame(width, height int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if width <= 0 || height <= 0 {
		return
	}
	w, h := float32(width), float32(height)
	if w == t.w && h == t.h {
		return
	}
	if t.w > 0 && t.h > 0 {
		for i := range t.objects {
			t.objects[i].resize(float64(w/t.w), float64(h/t.h))
		}
	}
	t.w, t.h = w, h
	t.publish()
}

// Update takes the detections of the frame at pts and returns the tracks that
// it supports, in the order of their ids, boxes as the filter sees them, inside
// the frame. Pass every detection from the configured Low score on: the weak
// ones continue tracks. A pts before the last one starts anew (ids go on).
// Detections that are not finite or empty are ignored. dets is not kept.
func (t *Tracker) Update(pts time.Duration, dets []vision.Detection) []vision.Track {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.supported(t.update(pts, dets), nil)
}

// Match is a track and the detection that supports it, as it was handed in.
type Match struct {
	vision.Track
	Found vision.Detection
}

// Follow is Update for who wants to know which detection is of which track.
func (t *Tracker) Follow(pts time.Duration, dets []vision.Detection) []Match {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Match
	t.supported(t.update(pts, dets), func(tr vision.Track, found vision.Detection) {
		out = append(out, Match{tr, found})
	})
	slices.SortFunc(out, func(a, b Match) int { return a.ID - b.ID })
	return out
}

// update associates a frame's detections and returns the time that goes for it.
// The caller holds mu.
func (t *Tracker) update(pts time.Duration, dets []vision.Detection) time.Duration {
	pts = t.advance(pts)
	t.admit(dets)
	for i := range t.objects {
		o := &t.objects[i]
		o.prior, o.matched = o.after(pts-o.seen), false
	}
	t.associate(pts)
	t.retire(pts)
	t.enlist(pts)
	t.fresh = false
	t.publish()
	return pts
}

// Keep tells that the frame at pts was not analysed because nothing moves in
// it: what was in sight still is, where it was. Without it a track would run
// out while the motion gate spares the model.
func (t *Tracker) Keep(pts time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.last
	pts = t.advance(pts)
	hold := t.hold()
	for i := range t.objects {
		o := &t.objects[i]
		if o.id == 0 || before-o.seen > hold {
			continue
		}
		o.body = o.after(min(pts-o.seen, 100*time.Millisecond))
		o.cx.v, o.cy.v, o.w.v, o.h.v = 0, 0, 0, 0
		o.seen, o.strong = pts, pts
	}
	t.retire(pts)
	t.publish()
}

// advance moves the clock to pts and returns the time to go by: tracks are
// dropped where time went back, small steps back are taken as no time passing.
func (t *Tracker) advance(pts time.Duration) time.Duration {
	if !t.started {
		t.started, t.last = true, pts
		return pts
	}
	if pts < t.last {
		if t.last-pts <= backstep {
			return t.last
		}
		t.objects = t.objects[:0]
		t.fresh, t.last = true, pts
		return pts
	}
	if dt := (pts - t.last).Seconds(); dt > 0 && dt < 5 {
		if t.interval == 0 {
			t.interval = dt
		}
		t.interval += 0.2 * (dt - t.interval)
	}
	t.last = pts
	return pts
}

// hold is how long an unsupported track is shown.
func (t *Tracker) hold() time.Duration {
	return min(max(t.cfg.Hold, time.Duration(2.2*t.interval*float64(time.Second))), max(t.cfg.Lost, t.cfg.Hold))
}

// admit copies the detections that can be worked with, best first.
func (t *Tracker) admit(dets []vision.Detection) {
	t.dets = t.dets[:0]
	for _, d := range dets {
		if usable(d) && d.Score >= t.cfg.Low {
			t.dets = append(t.dets, d)
		}
	}
	slices.SortStableFunc(t.dets, func(a, b vision.Detection) int { return cmp.Compare(b.Score, a.Score) })
	if len(t.dets) > t.cfg.MaxObjects {
		t.dets = t.dets[:t.cfg.MaxObjects]
	}
	t.taken = grown(t.taken, len(t.dets), false)
}

// usable says whether a detection is finite, of sane size and not empty.
func usable(d vision.Detection) bool {
	const far = 1 << 20 // pixels: beyond every picture
	for _, x := range [...]float32{d.X0, d.Y0, d.X1, d.Y1} {
		if !(x > -far && x < far) {
			return false
		}
	}
	return d.Width() >= 0.5 && d.Height() >= 0.5 && !math.IsNaN(float64(d.Score))
}

// retire forgets what has been lost for too long, and candidates at the first
// frame without them.
func (t *Tracker) retire(pts time.Duration) {
	t.objects = slices.DeleteFunc(t.objects, func(o object) bool {
		lost := max(t.cfg.Lost, t.hold())
		if o.seen == pts {
			// What only weak detections speak for, for so long, was a mistake or is gone.
			return pts-o.strong > lost
		}
		return o.id == 0 || pts-o.seen > lost
	})
}

// enlist makes candidates of the good detections that nothing explains.
func (t *Tracker) enlist(pts time.Duration) {
	for i, d := range t.dets {
		if t.taken[i] || d.Score < t.cfg.High || len(t.objects) >= t.cfg.MaxObjects || t.known(d, pts) {
			continue
		}
		o := object{body: newBody(d.Box), found: d, score: d.Score, since: pts, seen: pts, strong: pts, support: 1}
		o.votes.cast(d)
		t.confirm(&o)
		t.objects = append(t.objects, o)
	}
}

// known says whether a supported track already stands where d is: a detector
// that gives one thing two boxes (or two classes) shall not give it two tracks.
func (t *Tracker) known(d vision.Detection, pts time.Duration) bool {
	for i := range t.objects {
		o := &t.objects[i]
		least := float32(0.7)
		if o.votes.class() != d.Class {
			least = 0.85
		}
		if o.seen == pts && o.boxAfter(0).IoU(d.Box) >= least {
			return true
		}
	}
	return false
}

// confirm gives an object its id once enough frames support it.
func (t *Tracker) confirm(o *object) {
	if o.id == 0 && (o.support >= t.cfg.Confirm || t.fresh) {
		t.lastID++
		o.id = t.lastID
	}
}

// supported lists the confirmed tracks that the frame at pts supports, or gives them
// to each, in no order.
func (t *Tracker) supported(pts time.Duration, each func(vision.Track, vision.Detection)) []vision.Track {
	var out []vision.Track
	for i := range t.objects {
		o := &t.objects[i]
		if o.id == 0 || o.seen != pts {
			continue
		}
		tr, ok := t.view.frame(o.shown(), pts)
		switch {
		case !ok:
		case each != nil:
			each(tr, o.found)
		default:
			out = append(out, tr)
		}
	}
	slices.SortFunc(out, func(a, b vision.Track) int { return a.ID - b.ID })
	return out
}
