package media

import (
	"fmt"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// The slate is what viewers see while there is no picture: who is offline,
// since when, and why. Few frames a second suffice for a clock that is seen to run.
const (
	slateFPS      = 5
	slateInterval = time.Second / slateFPS
	// slateAfter is how long a playing source may be silent before the slate
	// takes its place; a fresh worker whose viewers have seen nothing yet
	// waits for less, one that was started with a reason not at all.
	slateAfter      = 2 * time.Second
	slateFirstAfter = 700 * time.Millisecond
)

// slate knows whether the slate is due and draws it.
type slate struct {
	name   string
	artist *draw.Artist

	mu     sync.Mutex
	reason string
	since  time.Time // no picture since
	from   time.Time // show the slate from then on
	width  int
	height int
}

func newSlate(name, reason string, since time.Time, artist *draw.Artist) *slate {
	now := time.Now()
	s := &slate{name: name, artist: artist, reason: reason, since: since, from: now, width: 1280, height: 720}
	if reason == "" {
		s.reason, s.from = "Connecting to the camera", now.Add(slateFirstAfter)
	}
	if since.IsZero() {
		s.since = now
	}
	return s
}

// frameCame puts the slate away. Every frame of the source counts, watched or
// not: who begins to watch shall not be told of a silence that there was not.
func (s *slate) frameCame(now time.Time, width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.from = now, now.Add(slateAfter)
	s.width, s.height = width, height
	s.reason = "The camera sends no picture"
}

func (s *slate) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !now.Before(s.from)
}

// frame draws the slate at the size of the last picture, so that players need
// not resize.
func (s *slate) frame() (*engine.Frame, error) {
	s.mu.Lock()
	reason, since, w, h := s.reason, s.since, s.width, s.height
	s.mu.Unlock()
	f, err := engine.NewFrame(plan.I420, w, h)
	if err != nil {
		return nil, fmt.Errorf("allocate a %dx%d slate: %w", w, h, err)
	}
	pic := picture(f)
	s.artist.Slate(&pic, s.name, reason, since, time.Now())
	f.Captured = monotonic()
	return f, nil
}
