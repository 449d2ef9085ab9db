package engine

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// A file that plays live is a camera: its clock waits for nobody. What a box
// cannot show in time it leaves out, up to a keyframe that it can.
const (
	// lag is how late a unit may be fed to the decoder before some are left out.
	lag = time.Second
	// stale is how long units may be left out before the clock gives in: it is
	// the file that is read too slowly then, and later units will be no earlier.
	stale = 2 * time.Second
)

// paced tells whether units are fed by the clock.
func (f *feeder) paced() bool { return f.r.in.Kind == plan.File && f.r.in.Live }

// due is when a unit is to be fed; at once, when it is for others' sake.
func (f *feeder) due(u *unit, now time.Time) time.Time {
	if u.outside {
		return now
	}
	at := u.dts
	if at == none {
		at = u.pts
	}
	if at == none {
		at = f.ahead + u.facts.frame
	}
	at = max(at, f.ahead)
	f.ahead = at
	if f.base.IsZero() {
		f.base, f.zero = now, at
	}
	return f.base.Add(at - f.zero)
}

// late tells whether a unit is to be left out because the clock went on.
func (f *feeder) late(u *unit) bool {
	// Before the first frame units are kept for another decoder.
	if !f.paced() || !f.isPlaying() {
		return false
	}
	now := time.Now()
	by := now.Sub(f.due(u, now))
	switch {
	case f.behind.IsZero() && by <= lag:
		return false
	case f.behind.IsZero():
		f.behind = now
		return true
	case !u.keyframe:
		return true
	case by <= lag/4:
	case now.Sub(f.behind) > stale:
		f.base = time.Time{}
	default:
		return true
	}
	f.behind = time.Time{}
	return false
}

// pace waits until it is a unit's time and stamps it; false if ctx ended.
func (f *feeder) pace(ctx context.Context, u *unit) bool {
	if !f.paced() {
		return ctx.Err() == nil
	}
	now := time.Now()
	due := f.due(u, now)
	if now.Sub(due) > lag {
		// A decoder that took its time to give a first frame.
		f.base, f.zero = now, f.ahead
		due = now
	}
	if wait := due.Sub(now); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		for waiting := true; waiting; {
			select {
			case <-t.C:
				waiting = false
			case <-ctx.Done():
				return false
			}
		}
	}
	u.captured = monotonic()
	return true
}
