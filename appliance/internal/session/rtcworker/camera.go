package rtcworker

import (
	"context"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// heldPictures and heldBytes bound what waits of a peer's camera while the worker
	// comes up, so that the first frames that are sent by hand are not lost.
	heldPictures = 128
	heldBytes    = 16 << 20
	// mediaRetry is how often a worker that is behind is asked again whether it takes the
	// next picture.
	mediaRetry = 5 * time.Millisecond
)

// camera is the peer's own track on its way to the worker. One goroutine gives. The bytes of
// what waits, here and for the worker to read it, are the budget's.
type camera struct {
	realtime bool
	meter    *queue.Meter
	budget   *budget // of all sessions

	mu      sync.Mutex
	proc    Process // nil: not started
	refresh func()  // asks the peer for a keyframe
	held    []link.AccessUnit
	bytes   int  // of held
	passed  int  // bytes that the worker is known not to have read
	skip    bool // up to the next keyframe
	ended   bool
	off     bool // the session has another source
}

// give takes the next picture. While the worker is behind, a session that is not
// realtime waits, and the peer's packets with it, as far as their buffer goes.
func (c *camera) give(ctx context.Context, u link.AccessUnit) {
	for !c.offer(u) {
		select {
		case <-time.After(mediaRetry):
		case <-ctx.Done():
			return
		}
	}
}

// offer gives a picture to the worker, keeps it for one that is to come, or leaves it
// out; false: it is to be offered again.
func (c *camera) offer(u link.AccessUnit) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.off || c.ended:
		return true
	case c.skip && !u.Keyframe:
		c.meter.Dropped(1)
		return true
	case c.proc == nil:
		if len(c.held) >= heldPictures || c.bytes+len(u.Data) > heldBytes || !c.afford(u, len(c.held) == 0) {
			c.lose()
			return true
		}
		c.held = append(c.held, u)
		c.bytes += len(u.Data)
	case c.pass(u):
	case !c.realtime:
		return false
	default:
		c.lose()
		return true
	}
	c.skip = false
	return true
}

// afford takes a picture's bytes from the budget; mu is held.
func (c *camera) afford(u link.AccessUnit, first bool) bool {
	if c.budget.take(len(u.Data), first) {
		return true
	}
	c.budget.refused()
	return false
}

// pass gives a picture to the worker; mu is held.
func (c *camera) pass(u link.AccessUnit) bool {
	c.settle()
	if !c.budget.take(len(u.Data), c.passed == 0) {
		if c.realtime {
			c.budget.refused() // else it is offered again
		}
		return false
	}
	if !c.proc.Media(u) {
		c.budget.give(len(u.Data))
		return false
	}
	c.passed += len(u.Data)
	return true
}

// settle gives back what the worker has read of what was passed on; mu is held.
func (c *camera) settle() {
	if c.proc == nil {
		return
	}
	if left := c.proc.MediaBytes(); left < c.passed {
		c.budget.give(c.passed - left)
		c.passed = left
	}
}

// beat settles for a peer that has stopped sending, too.
func (c *camera) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
}

// lose leaves out pictures up to the next keyframe, and asks for that; mu is held.
func (c *camera) lose() {
	c.meter.Dropped(1)
	if !c.skip && c.refresh != nil {
		c.refresh()
	}
	c.skip = true
}

// again asks the peer for a keyframe.
func (c *camera) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refresh != nil && !c.ended {
		c.refresh()
	}
}

// start hands what is held to the worker, and everything from then on.
func (c *camera) start(p Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return
	}
	c.proc = p
	c.budget.give(c.bytes) // they are taken again, one by one
	held := c.held
	c.held, c.bytes = nil, 0
	for i, u := range held {
		if !c.pass(u) {
			c.meter.Dropped(len(held) - i - 1)
			c.lose()
			break
		}
	}
	if c.ended {
		p.End()
	}
}

// end tells the worker that no more pictures come.
func (c *camera) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended = true; c.proc != nil {
		c.proc.End()
	}
}

// stop forgets the camera: the session has another source, or none any more.
func (c *camera) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget.give(c.bytes + c.passed)
	c.off, c.held, c.bytes, c.passed, c.proc = true, nil, 0, 0, nil
}

// waiting is how many pictures are held.
func (c *camera) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}
