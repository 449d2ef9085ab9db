package media

import (
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
