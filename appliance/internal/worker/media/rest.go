package media

import (
	"context"
	"sync"
	"time"
)

// rest holds a file's frames back while the machine is needed elsewhere: wholly
// (pause), or so that it does not get too hot (throttle). It changes when frames are
// analysed, and not which: a file's results do not depend on the weather.
type rest struct {
	mu      sync.Mutex
	on      bool
	every   time.Duration // least time between two frames
	changed chan struct{} // closed at the next change

	last time.Time // when the last frame passed; the passing goroutine's
}

func (r *rest) change(set func(*rest)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set(r)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *rest) pause(on bool) { r.change(func(r *rest) { r.on = on }) }

// limit takes frames a second; 0: no limit.
func (r *rest) limit(fps float64) {
	var every time.Duration
	if fps > 0 {
		every = time.Duration(float64(time.Second) / max(fps, 0.1))
	}
	r.change(func(r *rest) { r.every = every })
}

// pass waits until the next frame may go on, or ctx is done.
func (r *rest) pass(ctx context.Context) {
	for {
		r.mu.Lock()
		wait := time.Duration(-1) // for ever
		if !r.on {
			wait = r.every - time.Since(r.last)
			if r.every == 0 || wait <= 0 {
				r.mu.Unlock()
				r.last = time.Now()
				return
			}
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if !sleep(ctx, wait, changed) {
			return
		}
	}
}

// sleep waits for d (less than 0: for ever), or a change; false: ctx is done.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	var due <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-changed:
	case <-ctx.Done():
		return false
	}
	return true
}
