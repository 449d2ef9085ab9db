package track

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrState is wrapped by Restore's error for a State that no tracker of this
// configuration can have been in.
var ErrState = errors.New("tracker state")

// State is all that a tracker knows between two frames. It survives JSON to the
// bit: floats are written with as many digits as tell them apart. Its size is
// bounded by Config.MaxObjects, about 700 bytes an object.
type State struct {
	Width    float32       `json:"width"`
	Height   float32       `json:"height"`
	LastID   int           `json:"last_id"`
	Last     time.Duration `json:"last_ns"`
	Started  bool          `json:"started"`
	Fresh    bool          `json:"fresh"`
	Interval float64       `json:"interval"` // seconds
	Objects  []ObjectState `json:"objects,omitempty"`
}

// ObjectState is one followed thing: a confirmed track, or (ID 0) a candidate.
type ObjectState struct {
	// X, Y, W and H are the filters of the box's centre and size: value, rate,
	// and the covariances of value, both, and rate.
	X [5]float64 `json:"x"`
	Y [5]float64 `json:"y"`
	W [5]float64 `json:"w"`
	H [5]float64 `json:"h"`

	ID      int           `json:"id"`
	Votes   []VoteState   `json:"votes"`
	Best    int           `json:"best"` // index of the leading vote
	Score   float32       `json:"score"`
	Since   time.Duration `json:"since_ns"`
	Seen    time.Duration `json:"seen_ns"`
	Strong  time.Duration `json:"strong_ns"`
	Support int           `json:"support"`
}

// VoteState is one candidate for an object's class.
type VoteState struct {
	Class  int     `json:"class"`
	Label  string  `json:"label"`
	Weight float32 `json:"weight"`
}

// Snapshot copies the tracker's state. A tracker of the same configuration that
// Restores it answers everything that follows exactly as this one would.
func (t *Tracker) Snapshot() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := State{
		Width: t.w, Height: t.h, LastID: t.lastID, Last: t.last,
		Started: t.started, Fresh: t.fresh, Interval: t.interval,
	}
	if len(t.objects) > 0 {
		s.Objects = make([]ObjectState, len(t.objects))
	}
	for i := range t.objects {
		o := &t.objects[i]
		s.Objects[i] = ObjectState{
			X: o.cx.state(), Y: o.cy.state(), W: o.w.state(), H: o.h.state(),
			ID: o.id, Best: o.votes.best, Score: o.score,
			Since: o.since, Seen: o.seen, Strong: o.strong, Support: o.support,
		}
		for _, v := range o.votes.list[:o.votes.n] {
			s.Objects[i].Votes = append(s.Objects[i].Votes, VoteState{v.class, v.label, v.weight})
		}
	}
	return s
}

// Restore puts the tracker into a state that another one was in. On an error,
// which wraps ErrState, nothing has changed.
func (t *Tracker) Restore(s State) error {
	if err := s.check(t.cfg); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.w, t.h, t.lastID, t.last = s.Width, s.Height, s.LastID, s.Last
	t.started, t.fresh, t.interval = s.Started, s.Fresh, s.Interval
	t.objects = t.objects[:0]
	for _, from := range s.Objects {
		o := object{
			body: body{cx: axisOf(from.X), cy: axisOf(from.Y), w: axisOf(from.W), h: axisOf(from.H)},
			id:   from.ID, score: from.Score,
			since: from.Since, seen: from.Seen, strong: from.Strong, support: from.Support,
		}
		for i, v := range from.Votes {
			o.votes.list[i] = vote{v.Class, v.Label, v.Weight}
		}
		o.votes.n, o.votes.best = len(from.Votes), from.Best
		t.objects = append(t.objects, o)
	}
	t.publish()
	return nil
}

// check bounds what a damaged state could make the tracker do.
func (s State) check(cfg Config) error {
	switch {
	case len(s.Objects) > cfg.MaxObjects:
		return fmt.Errorf("%w: %d objects, the most is %d", ErrState, len(s.Objects), cfg.MaxObjects)
	case !(s.Width >= 0 && s.Height >= 0 && s.Interval >= 0) || s.LastID < 0:
		return fmt.Errorf("%w: a %vx%v frame, interval %v, last id %d", ErrState, s.Width, s.Height, s.Interval, s.LastID)
	}
	for _, o := range s.Objects {
		if n := len(o.Votes); n < 1 || n > len(ballot{}.list) || o.Best < 0 || o.Best >= n {
			return fmt.Errorf("%w: object %d has %d votes, the best is %d", ErrState, o.ID, n, o.Best)
		}
		if o.ID < 0 || o.ID > s.LastID || o.Support < 1 {
			return fmt.Errorf("%w: object %d of %d with support %d", ErrState, o.ID, s.LastID, o.Support)
		}
		for _, a := range [...][5]float64{o.X, o.Y, o.W, o.H} {
			for _, x := range a {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					return fmt.Errorf("%w: object %d is nowhere", ErrState, o.ID)
				}
			}
		}
		if !(o.W[0] > 0 && o.H[0] > 0) {
			return fmt.Errorf("%w: object %d has no size", ErrState, o.ID)
		}
	}
	return nil
}

func (a axis) state() [5]float64 { return [5]float64{a.x, a.v, a.xx, a.xv, a.vv} }

func axisOf(s [5]float64) axis { return axis{x: s[0], v: s[1], xx: s[2], xv: s[3], vv: s[4]} }
