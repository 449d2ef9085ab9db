package camera

import (
	"sync"
	"sync/atomic"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Subscription is one reader of a feed. It is leaky: what its reader is too slow
// for is dropped, oldest first, and counted.
type Subscription[T any] struct {
	// C is closed when the camera is gone or the subscription closed.
	C       <-chan T
	c       chan T
	feed    *feed[T]
	dropped atomic.Uint64
	meter   *queue.Meter
}

// Dropped counts what the reader was too slow for.
func (s *Subscription[T]) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription.
func (s *Subscription[T]) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if _, ok := s.feed.subs[s]; ok {
		s.feed.drop(s)
	}
}

// feed hands each value to all its subscriptions and waits for none.
type feed[T any] struct {
	// name of the subscriptions among the box's queues; "": they are not metered.
	name   string
	queues *queue.Registry

	mu     sync.Mutex
	subs   map[*Subscription[T]]struct{}
	closed bool
}

// subscribe adds a reader that may be depth values late.
func (f *feed[T]) subscribe(depth int) *Subscription[T] {
	c := make(chan T, depth)
	s := &Subscription[T]{C: c, c: c, feed: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(c)
		return s
	}
	if f.subs == nil {
		f.subs = make(map[*Subscription[T]]struct{})
	}
	f.subs[s] = struct{}{}
	if f.name != "" {
		s.meter = f.queues.Register(f.name, queue.DropOldest, depth, func() int { return len(c) })
	}
	return s
}

// drop ends a subscription; mu is held.
func (f *feed[T]) drop(s *Subscription[T]) {
	delete(f.subs, s)
	s.meter.Close()
	close(s.c)
}

// begin gives a new reader its first value, unless a newer one was published since.
func (s *Subscription[T]) begin(v T) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if _, ok := s.feed.subs[s]; ok && len(s.c) == 0 {
		s.c <- v
	}
}

func (f *feed[T]) publish(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		for sent := false; !sent; {
			select {
			case s.c <- v:
				sent = true
			default:
				select {
				case <-s.c:
					s.dropped.Add(1)
					s.meter.Dropped(1)
				default: // the reader was quicker
				}
			}
		}
	}
}

func (f *feed[T]) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subs {
		f.drop(s)
	}
}
