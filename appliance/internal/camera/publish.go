package camera

import (
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// heldUnits and heldBytes bound what of a publication waits for its worker to be
	// started; the worker itself takes some seconds of it.
	heldUnits = 64
	heldBytes = 8 << 20
)

// Feeder is a Process that takes the pictures of a publisher; Media must not block, and
// tells whether there was room.
type Feeder interface {
	Media(u link.AccessUnit) (ok bool)
}

// Publication is one publisher's pictures for a camera whose source is whatever is
// published (Config.Published). Its methods do not block.
type Publication struct {
	c       *Camera
	refresh func()

	mu     sync.Mutex
	codec  link.Codec // 0: nothing came yet
	feeder Feeder     // nil: no worker yet
	held   []link.AccessUnit
	bytes  int
	broken bool // left out up to a keyframe
	over   bool
	begun  bool
	meter  *queue.Meter
}

// publishedQueue is the name of what waits for a worker, among the box's queues.
const publishedQueue = "published pictures before a worker"

// Publish has the camera play what is given to the Publication from now on, in place of
// what was published before. refresh asks the publisher for a keyframe; it must not
// block, and limits itself.
func (c *Camera) Publish(refresh func()) *Publication {
	p := &Publication{c: c, refresh: refresh, broken: true}
	p.meter = c.deps.Queues.Register(publishedQueue, queue.DropNewest, heldUnits, func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.held)
	})
	return p
}

// Give hands over the next picture. With the first one, the camera's worker is started;
// its codec is that of all.
func (p *Publication) Give(u link.AccessUnit) {
	p.mu.Lock()
	if p.codec == 0 {
		p.codec = u.Codec
	}
	if p.over || u.Codec != p.codec {
		p.mu.Unlock()
		return
	}
	begins := !p.begun
	p.begun = true
	lost := p.broken && !u.Keyframe || !p.put(u)
	p.broken = lost
	p.mu.Unlock()
	if begins {
		p.c.present(p)
	}
	if lost {
		p.meter.Dropped(1)
		p.refresh()
	}
}

// put needs mu.
func (p *Publication) put(u link.AccessUnit) (ok bool) {
	if p.feeder != nil {
		return p.feeder.Media(u)
	}
	if u.Keyframe {
		p.held, p.bytes = p.held[:0], 0 // it needs none of those before
	}
	if len(p.held) >= heldUnits || p.bytes+len(u.Data) > heldBytes && len(p.held) > 0 {
		p.held, p.bytes = nil, 0
		return false
	}
	p.held = append(p.held, u)
	p.bytes += len(u.Data)
	return true
}

// feed gives the pictures to a worker from now on; nil: to none.
func (p *Publication) feed(f Feeder) {
	p.mu.Lock()
	p.feeder = f
	held := p.held
	p.held, p.bytes = nil, 0
	if f == nil || len(held) == 0 {
		p.broken = true // it begins with a keyframe
	} else {
		for _, u := range held {
			p.broken = p.broken || !f.Media(u)
		}
	}
	ask := f != nil && p.broken && !p.over
	p.mu.Unlock()
	if ask {
		p.refresh()
	}
}

// End says that nothing more is published. The camera shows a slate from then on.
func (p *Publication) End() {
	p.mu.Lock()
	p.over, p.held, p.feeder = true, nil, nil
	p.mu.Unlock()
	p.meter.Close()
	p.c.absent(p)
}

// source is where the worker finds the pictures.
func (p *Publication) source() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.codec == link.VP8 {
		return "peer:vp8"
	}
	return "peer:h264"
}

func (c *Camera) present(p *Publication) {
	p.mu.Lock()
	if !p.over {
		c.mu.Lock()
		c.publication = p
		c.mu.Unlock()
	}
	p.mu.Unlock()
	c.nudge()
}

// rest takes a publisher that sends nothing for one that is away, until it sends again.
func (p *Publication) rest() {
	p.mu.Lock()
	p.begun = false
	p.mu.Unlock()
	p.c.absent(p)
}

func (c *Camera) absent(p *Publication) {
	c.mu.Lock()
	if c.publication == p {
		c.publication = nil
	}
	c.mu.Unlock()
	c.nudge()
}

// takePublication notes who publishes now. A run that plays somebody else's pictures is
// ended; while nobody publishes there is nothing to try.
func (k *control) takePublication(now time.Time) {
	if !k.c.cfg.Published {
		return
	}
	k.c.mu.Lock()
	p := k.c.publication
	k.c.mu.Unlock()
	if k.publication != p {
		k.publication, k.changed = p, true
		k.history.healthy()
		k.retryAt = now
	}
	if k.live != nil && k.live.publication != p {
		k.stop(k.live)
	}
	switch {
	case k.live != nil:
	case p == nil && k.reason != reasonWaiting && k.reason != reasonSilent:
		k.move(now, failed, reasonWaiting)
	case p != nil && (k.reason == reasonWaiting || k.reason == reasonSilent):
		k.move(now, failed, reasonStarting)
	}
}

// waits tells that there is nobody whose pictures could be played.
func (k *control) waits() bool { return k.c.cfg.Published && k.publication == nil }

// awaiting is what viewers read after a publisher has left.
func (k *control) awaiting() string {
	if k.waits() {
		return reasonWaiting
	}
	return reasonStarting
}
