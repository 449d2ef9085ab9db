package track

import (
	"math"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// The stages of the association. Each takes what the earlier ones left.
const (
	strictOverlap = 0.2 // stage 1: predicted box and good detection
	weakOverlap   = 0.5 // stage 2: predicted box and weak detection
	wideOverlap   = 0.1 // stage 3: boxes widened by how little is known
	otherClass    = 0.5 // least overlap where the class differs
	weakTrust     = 0.5 // weak detections often show a part of the object
)

// associate matches objects and detections in ByteTrack's order: good
// detections first, then the weak ones for the tracks that are left. A third
// stage widens both boxes by the filter's doubt, for objects whose speed is not
// known yet and for low frame rates, where boxes no longer overlap at all.
func (t *Tracker) associate(pts time.Duration) {
	high, all := t.cfg.High, float32(2)
	confirmed := func(o *object) bool { return o.id != 0 }
	recent := func(o *object) bool { return o.id != 0 && pts-o.seen <= t.hold() }
	any := func(*object) bool { return true }

	strict := float64(t.cfg.Overlap)
	t.match(pts, confirmed, high, all, strict, 0)
	t.match(pts, recent, t.cfg.Low, high, weakOverlap, 0)
	// Who asks for more overlap shall not get by widening what fails without.
	wide := wideOverlap
	if strict > strictOverlap {
		wide += (strict - strictOverlap) * (1 - wideOverlap) / (1 - strictOverlap)
	}
	t.match(pts, any, high, all, wide, 1)
}

// match assigns unmatched objects that pass and untaken detections with a score
// in [from, to), at least so much alike. Widen scales the widening of boxes.
func (t *Tracker) match(pts time.Duration, pass func(*object) bool, from, to float32, least float64, widen float64) {
	t.rows, t.cols = t.rows[:0], t.cols[:0]
	for i := range t.objects {
		if o := &t.objects[i]; !o.matched && pass(o) {
			t.rows = append(t.rows, int32(i))
		}
	}
	for j, d := range t.dets {
		if !t.taken[j] && d.Score >= from && d.Score < to {
			t.cols = append(t.cols, int32(j))
		}
	}
	if len(t.rows) == 0 || len(t.cols) == 0 {
		return
	}
	t.assign.reset()
	for _, i := range t.rows {
		o := &t.objects[i]
		box := o.prior.boxAfter(0)
		pad := float32(widen * math.Min(1.5*o.prior.doubt(), 0.8))
		for c, j := range t.cols {
			d := &t.dets[j]
			if s := alike(o, box, d, pad); s >= least {
				t.assign.pair(c, 1-s)
			}
		}
		t.assign.endRow()
	}
	for r, c := range t.assign.solve(len(t.cols), 1-least+1e-9) {
		if c >= 0 {
			j := t.cols[c]
			t.taken[j] = true
			t.support(&t.objects[t.rows[r]], &t.dets[j], pts)
		}
	}
}

// alike is how well a detection fits an object's predicted box, in [0,1]: the
// overlap of both widened by pad of their size, a little less for a detection
// that is itself doubtful (ByteTrack's score fusion, softened). Things of
// another class must overlap far more, and lose against the right class.
func alike(o *object, box vision.Box, d *vision.Detection, pad float32) float64 {
	a, b := box, d.Box
	if pad > 0 {
		a, b = widened(a, pad), widened(b, pad)
		// A widened box says little of the size: it must fit on its own.
		if ratio := box.Area() / d.Area(); ratio > 4 || ratio < 0.25 {
			return 0
		}
	}
	iou := a.IoU(b)
	if iou == 0 {
		return 0
	}
	s := float64(iou) * (0.75 + 0.25*float64(min(d.Score, 1)))
	if o.votes.class() != d.Class {
		if pad > 0 || iou < otherClass {
			return 0
		}
		s *= 0.8
	}
	return s
}

// widened grows a box on each side by pad of its size; thin boxes grow by the
// mean of both sides, as people move sideways by more than their width.
func widened(b vision.Box, pad float32) vision.Box {
	m := pad * float32(math.Sqrt(float64(b.Width())*float64(b.Height())))
	return vision.Box{X0: b.X0 - m, Y0: b.Y0 - m, X1: b.X1 + m, Y1: b.Y1 + m}
}

// support corrects an object by the detection that was found for it.
func (t *Tracker) support(o *object, d *vision.Detection, pts time.Duration) {
	trust := 1.0
	if d.Score < t.cfg.High {
		trust = weakTrust
	}
	o.body = o.prior.seen(d.Box, trust)
	o.matched, o.seen, o.found = true, pts, *d
	if d.Score >= t.cfg.High {
		o.score, o.strong = d.Score, pts
	}
	o.support++
	o.votes.cast(*d)
	t.confirm(o)
}

// ballot decides an object's class by the scores of its detections, older ones
// counting less: a car that is called a truck for a frame stays a car. Four
// candidates are kept; the weakest gives way.
type ballot struct {
	list [4]vote
	n    int
	best int
}

type vote struct {
	class  int
	label  string
	weight float32
}

func (b *ballot) class() int    { return b.list[b.best].class }
func (b *ballot) label() string { return b.list[b.best].label }

// cast counts a detection; the votes before it fade by a tenth.
func (b *ballot) cast(d vision.Detection) {
	at := -1
	for i := range b.list[:b.n] {
		b.list[i].weight *= 0.9
		if b.list[i].class == d.Class {
			at = i
		}
	}
	if at < 0 {
		at = b.n
		if b.n < len(b.list) {
			b.n++
		} else {
			at = b.weakest()
		}
		b.list[at] = vote{class: d.Class}
	}
	b.list[at].weight += max(d.Score, 0)
	b.list[at].label = d.Label
	b.best = 0
	for i := range b.list[:b.n] {
		if b.list[i].weight > b.list[b.best].weight {
			b.best = i
		}
	}
}

func (b *ballot) weakest() int {
	w := 0
	for i := range b.list {
		if b.list[i].weight < b.list[w].weight {
			w = i
		}
	}
	return w
}
