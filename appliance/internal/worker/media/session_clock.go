package media

import (
	"context"
	"sync"
	"time"
)

// stamp is a frame's place in its session.
type stamp struct {
	id    uint64 // from 1
	ticks uint64 // of the 90 kHz clock, 0 for the first frame
}

// videoClock is the rate of RTP's clock for video, RFC 3551 section 5: ticks a second.
const videoClock = 90_000

// time is the stamp's, such that whoever counts ticks of it, rounding or cutting,
// gets the stamp's.
func (t stamp) time() time.Duration {
	return time.Duration((t.ticks*uint64(time.Second) + videoClock - 1) / videoClock)
}

// sessionClock numbers and dates the frames that a session handles.
type sessionClock struct {
	origin time.Duration
	last   stamp
}

// next stamps a frame of the run's time; no two frames share a tick.
func (c *sessionClock) next(pts time.Duration) stamp {
	if c.last.id == 0 {
		c.origin = pts
		c.last.id = 1
		return c.last
	}
	since := max(pts-c.origin, 0)
	whole, part := uint64(since/time.Second), uint64(since%time.Second)
	ticks := whole*videoClock + (part*videoClock+uint64(time.Second)/2)/uint64(time.Second)
	c.last.id++
	c.last.ticks = max(ticks, c.last.ticks+1)
	return c.last
}

// pace measures the rate of the frames that were handled lately.
type pace struct {
	at [64]time.Time // a ring
	n  int
}

// lately is the time over which a rate is measured, where frames come that fast.
const lately = 3 * time.Second

// frame counts one and returns the frames a second; 0 for the first.
func (p *pace) frame(now time.Time) float64 {
	p.at[p.n%len(p.at)] = now
	p.n++
	first, frames := now, 0
	for i := p.n - 2; i >= 0 && i > p.n-1-len(p.at); i-- {
		then := p.at[i%len(p.at)]
		if frames > 0 && now.Sub(then) > lately {
			break
		}
		first = then
		frames++
	}
	if d := now.Sub(first).Seconds(); d > 0 {
		return float64(frames) / d
	}
	return 0
}

// credit says up to which frame a peer is told.
type credit struct {
	mu      sync.Mutex
	through uint64
	changed chan struct{} // closed at the next raise
}

// raise never lowers it.
func (c *credit) raise(through uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if through <= c.through {
		return
	}
	c.through = through
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func (c *credit) covers(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return id <= c.through
}

// wait until it covers a frame; false: ctx was done first.
func (c *credit) wait(ctx context.Context, id uint64) bool {
	for {
		c.mu.Lock()
		if id <= c.through {
			c.mu.Unlock()
			return true
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
