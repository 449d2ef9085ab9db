package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Output takes the camera's encoded pictures, in order, one at a time, from the
// workers' goroutines. Publish must not block; u.Data is its own.
type Output interface{ Publish(u link.AccessUnit) }

// Commands are what a running worker can be told; none of them blocks.
type Commands interface {
	Want(link.Want)
	Keyframe(link.Codec)
	Throttle(link.Throttle)
}

// Process is one running worker. Stop asks it to go and kills it if it does not;
// Kill ends it at once; neither waits. Wait returns when nothing of it is left.
type Process interface {
	Commands
	Stop()
	Kill()
	Wait() link.Exit
}

// Spawn starts a worker. handle is called with its reports, one at a time and in
// order; redact takes secrets out of its stderr. ctx is for the start alone.
type Spawn func(ctx context.Context, start link.Start, handle func(link.Message), redact func(string) string) (Process, error)

// Loop is the control loop as a stall meter sees it: Ticked is called for each
// Tick received, Enter around each round of work.
type Loop interface {
	Tick() <-chan time.Time
	Ticked()
	Enter() (leave func())
}

// Deps are what a Camera needs of its surroundings.
type Deps struct {
	Spawn  Spawn
	Output Output
	Log    *slog.Logger
	Loop   Loop            // nil: not metered
	Queues *queue.Registry // of the box; nil: those of the camera are not metered
}

// Config of a camera. The zero value of each time has the default named.
type Config struct {
	// ID is in logs and addresses; Name is what people read (the ID).
	ID, Name string
	// Start is what live workers are told; Mode, Camera, Slate and Since are
	// filled in here.
	Start link.Start
	// StallAfter is how long a playing source may go without a new decoded
	// frame (5 s), ConnectAfter how long one may take to its first (20 s: models
	// are loaded and cameras are woken in it).
	StallAfter, ConnectAfter time.Duration
	// HealthyAfter is how long a run must play to wipe out earlier failures (10 s).
	HealthyAfter time.Duration
	Backoff      Backoff
	// Published: the source is whatever is given to a Publication; while there is
	// none, viewers read that.
	Published bool
	// Redact takes the credentials out of a URL, and out of text with URLs.
	Redact func(string) string
}

// Camera is one camera. Run is its life; the other methods may be called from
// any goroutine, before, during and after it, and do not block.
type Camera struct {
	deps  Deps
	cfg   Config
	log   *slog.Logger
	scrub scrubber
	out   *selector
	wake  chan struct{} // capacity 1: there is something to do

	mu       sync.Mutex
	want     link.Want
	throttle *link.Throttle
	keys     [2]limiter // pending is set here, the rest is the loop's
	retry    bool       // somebody wants the next attempt now
	restart  bool       // and the present one ended for it
	latest   Snapshot
	seen     *link.Detections

	publication *Publication // nil: nobody publishes

	running    atomic.Bool
	changes    feed[Snapshot]
	detections feed[link.Detections]
}

// New returns a camera that does nothing before Run.
func New(deps Deps, cfg Config) (*Camera, error) {
	switch {
	case cfg.ID == "":
		return nil, errors.New("a camera needs an id")
	case cfg.Redact == nil:
		return nil, fmt.Errorf("camera %s: nothing to redact its credentials with", cfg.ID)
	case deps.Spawn == nil || deps.Output == nil || deps.Log == nil:
		return nil, fmt.Errorf("camera %s: a spawner, an output and a log are needed", cfg.ID)
	}
	if cfg.Name == "" {
		cfg.Name = cfg.ID
	}
	if cfg.StallAfter <= 0 {
		cfg.StallAfter = 5 * time.Second
	}
	if cfg.ConnectAfter <= 0 {
		cfg.ConnectAfter = 20 * time.Second
	}
	if cfg.HealthyAfter <= 0 {
		cfg.HealthyAfter = 10 * time.Second
	}
	cfg.Backoff = cfg.Backoff.withDefaults()
	cfg.Start.Camera = cfg.ID
	deps.Queues.Declare(detectionsQueue, queue.DropOldest)
	deps.Queues.Declare(publishedQueue, queue.DropNewest)
	scrub := newScrubber(cfg.Start.Source.URL, cfg.Redact)
	return &Camera{
		deps: deps, cfg: cfg, log: deps.Log.With("camera", cfg.ID), scrub: scrub,
		out: newSelector(deps.Output), wake: make(chan struct{}, 1),
		detections: feed[link.Detections]{name: detectionsQueue, queues: deps.Queues},
		latest: Snapshot{
			ID: cfg.ID, Name: cfg.Name, Source: scrub.clean(cfg.Start.Source.URL),
			State: Starting, Since: time.Now(), Boxes: cfg.Start.Picture.Boxes,
		},
	}, nil
}

// Want says which renditions somebody watches. Nothing else is encoded, and
// without any no slate is shown.
func (c *Camera) Want(h264, vp8 bool) {
	c.mu.Lock()
	c.want = link.Want{H264: h264, VP8: vp8}
	c.mu.Unlock()
	c.nudge()
}

// RequestKeyframe asks for the next picture of a rendition to be a keyframe: at
// most once a second; requests in between are one, at the end of that second.
func (c *Camera) RequestKeyframe(codec link.Codec) {
	if !codec.Valid() {
		return
	}
	c.mu.Lock()
	c.keys[laneOf(codec)].pending = true
	c.mu.Unlock()
	c.nudge()
}

// Throttle limits the analysis of this run and of all that follow.
func (c *Camera) Throttle(t link.Throttle) {
	c.mu.Lock()
	c.throttle = &t
	c.mu.Unlock()
	c.nudge()
}

// Retry makes the next attempt now instead of after its pause; a file that has
// ended is played again.
func (c *Camera) Retry() {
	c.mu.Lock()
	c.retry = true
	c.mu.Unlock()
	c.nudge()
}

// Restart ends the present worker and starts a new one at once, as its operator
// wishes: it counts as no failure.
func (c *Camera) Restart() {
	c.mu.Lock()
	c.restart, c.retry = true, true
	c.mu.Unlock()
	c.nudge()
}

// Subscribe follows the camera: the current Snapshot at once, then the latest
// whenever anything in it changes (twice a second while a worker runs). A slow
// reader misses those in between.
func (c *Camera) Subscribe() *Subscription[Snapshot] {
	s := c.changes.subscribe(1)
	s.begin(c.Snapshot())
	return s
}

// detectionsQueue is of those who follow the analyses of all cameras.
const detectionsQueue = "camera detections"

// Detections follows what the analysis says, frame by frame, on the time line
// of the units that Output gets. A reader may be 16 frames late.
func (c *Camera) Detections() *Subscription[link.Detections] {
	return c.detections.subscribe(16)
}

// nudge wakes the control loop.
func (c *Camera) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
