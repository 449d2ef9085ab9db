package media

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is CLOCK_MONOTONIC in nanoseconds, the clock that all processes of
// the box share.
func monotonic() int64 {
	var ts unix.Timespec
	// The clock exists on every Linux; there is no failure to handle.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// stint is for how long a stage has been at the frame that it has in hand.
type stint struct{ since atomic.Int64 }

func (s *stint) begin() { s.since.Store(monotonic()) }
func (s *stint) end()   { s.since.Store(0) }

// lasting is 0 while the stage waits for work.
func (s *stint) lasting() time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(monotonic() - since)
}

// timeline turns a source's timestamps into this run's: they start at the
// moment of the first frame and never go back, whatever the source does.
type timeline struct {
	begun  time.Time
	offset time.Duration
	last   time.Duration
	set    bool
	live   bool
}

// jump is how far a live source's timestamps may run from the wall clock
// before they are taken up anew: a camera whose clock was set.
const jump = 5 * time.Second

// restart says that the next timestamps are of another play of the source.
func (t *timeline) restart() { t.set = false }

func (t *timeline) at(pts time.Duration) time.Duration {
	if !t.live {
		t.last = max(pts, t.last)
		return t.last
	}
	now := time.Since(t.begun)
	out := pts + t.offset
	if !t.set || out-now > jump || now-out > jump {
		t.offset = now - pts
		t.set = true
		out = now
	}
	out = max(out, t.last+time.Millisecond)
	t.last = out
	return out
}
