package api

import (
	"slices"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// newsSize is of how many things the news waits for a slow reader.
const newsSize = 4096

// news holds what one reader has not been told yet: of each upload, or job, the
// newest event only. put never blocks. Where more things than newsSize have news,
// some is lost, and the stream must end: the reader comes back and is told the
// present state.
type news[E interface{ id() string }] struct {
	wake chan struct{} // one token: there is something to take

	mu     sync.Mutex
	events []E
	lost   bool

	meter *queue.Meter
}

// The names of news among the box's queues.
const (
	uploadNews = "upload news to readers"
	jobNews    = "job news to readers"
)

// newNews goes into q by its name; close takes it out.
func newNews[E interface{ id() string }](q *queue.Registry, name string) *news[E] {
	n := &news[E]{wake: make(chan struct{}, 1)}
	n.meter = q.Register(name, queue.Latest, newsSize, func() int {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.events)
	})
	return n
}

func (n *news[E]) close() { n.meter.Close() }

// put keeps e for the reader. Anybody may call it, at any time.
func (n *news[E]) put(e E) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// From the end: what has just moved moves again.
	i := len(n.events) - 1
	for ; i >= 0 && n.events[i].id() != e.id(); i-- {
	}
	switch {
	case i >= 0:
		n.events[i] = e
	case len(n.events) >= newsSize:
		n.lost = true
		n.meter.Dropped(1)
	default:
		n.events = append(n.events, e)
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take returns what is new, in the order in which things first moved; lost tells
// that it is not all.
func (n *news[E]) take() (events []E, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	events = slices.Clip(n.events)
	n.events = nil
	return events, n.lost
}
