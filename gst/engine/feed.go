package engine

import (
	"context"
	"sync"
	"time"
)

// feeder takes units from the queue to the decoder of the moment, in time. As
// long as no frame came out it keeps them, for the next decoder to try.
type feeder struct {
	r *reader
	// backlog is what was fed before the first frame and may have to be fed
	// again; next is the first of it that this decoder has not had.
	backlog []*unit
	next    int
	bytes   int
	lost    bool // part of the beginning is gone
	// toKeyframe leaves out what cannot be decoded after a fresh start.
	toKeyframe bool

	mu      sync.Mutex
	playing bool // a frame came out
	touched time.Time
	facts   facts // as of the last unit

	// Pacing: the time line's zero on the clock.
	base   time.Time
	zero   time.Duration
	ahead  time.Duration // of the last unit, on the time line
	behind time.Time     // since when units are left out to catch up; zero: none are
}

// Bounds of what is kept for another decoder.
const (
	backlogUnits = 300
	backlogBytes = 24 << 20
)

// started tells that a frame came out: nothing needs to be kept any more.
func (f *feeder) started() {
	f.mu.Lock()
	f.playing = true
	f.mu.Unlock()
}

func (f *feeder) touch() {
	f.mu.Lock()
	f.touched = time.Now()
	f.mu.Unlock()
}

func (f *feeder) note(u *unit) {
	f.mu.Lock()
	f.touched, f.facts = time.Now(), u.facts
	f.mu.Unlock()
}

func (f *feeder) known() facts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.facts
}

func (f *feeder) idle() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.touched.IsZero() {
		f.touched = time.Now()
	}
	return time.Since(f.touched)
}

func (f *feeder) isPlaying() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.playing
}

// peek is the unit that a new decoder will get first; nil at the end.
func (f *feeder) peek() *unit {
	if f.next < len(f.backlog) {
		return f.backlog[f.next]
	}
	u, ok := <-f.r.units
	if !ok {
		return nil
	}
	f.backlog = append(f.backlog, u)
	return u
}

// rewind has the next decoder start from the beginning.
func (f *feeder) rewind() { f.next = 0 }

func (f *feeder) free() {
	for _, u := range f.backlog {
		u.free()
	}
	f.backlog = nil
}

// feed pushes units until there are no more, the decoder stops or ctx ends.
// Only one feed runs at a time.
func (f *feeder) feed(ctx context.Context, d *decoder) {
	for {
		u, ok := f.take(ctx)
		if !ok {
			return
		}
		if u == nil {
			d.end()
			return
		}
		if f.toKeyframe && !u.keyframe {
			f.drop()
			continue
		}
		f.toKeyframe = false
		if f.late(u) {
			f.r.dropped.Add(1)
			f.drop()
			continue
		}
		if !f.pace(ctx, u) {
			return
		}
		f.note(u)
		f.r.pass.pass(&f.r.h, u)
		if !d.push(u) {
			return
		}
		f.note(u)
		f.pushed()
	}
}

// take returns the next unit, which stays the feeder's; nil at the end.
func (f *feeder) take(ctx context.Context) (*unit, bool) {
	if f.next < len(f.backlog) {
		return f.backlog[f.next], true
	}
	// Waiting for a source is no fault of the decoder's.
	for {
		select {
		case u, ok := <-f.r.units:
			if !ok {
				return nil, true
			}
			f.backlog = append(f.backlog, u)
			f.bytes += int(u.c.size)
			return u, true
		case <-ctx.Done():
			return nil, false
		case <-time.After(time.Second):
			f.touch()
		}
	}
}

// pushed goes on to the next unit, and lets go of what no one will need.
func (f *feeder) pushed() {
	f.next++
	over := f.next > backlogUnits || f.bytes > backlogBytes
	if !f.isPlaying() && !over {
		return
	}
	if !f.isPlaying() {
		f.lost = true
	}
	f.shed()
}

// drop leaves the unit out.
func (f *feeder) drop() {
	f.next++
	f.shed()
}

func (f *feeder) shed() {
	for _, u := range f.backlog[:f.next] {
		u.free()
	}
	f.backlog = append(f.backlog[:0], f.backlog[f.next:]...)
	f.next, f.bytes = 0, 0
}
