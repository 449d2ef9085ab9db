package intake

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/upload"
)

// Turns decides who writes. All roads of one box share one.
type Turns struct {
	bodies chan struct{} // a place for each request whose body is taken
	meter  *queue.Meter

	mu      sync.Mutex
	holders map[string]*holder // by upload id

	refused prometheus.Counter
	taken   prometheus.Counter
}

type holder struct {
	yield func()
	done  chan struct{} // closed when it gave its turn back
}

// NewTurns has at most bodies requests bring bytes at a time; 0: 128. The metrics
// go to r, and what is told of the queue to q; nil: nowhere. It lives as long as q.
func NewTurns(bodies int, r prometheus.Registerer, q *queue.Registry) *Turns {
	if bodies <= 0 {
		bodies = 128
	}
	t := &Turns{
		bodies:  make(chan struct{}, bodies),
		holders: make(map[string]*holder),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "watchpost_upload_requests_refused_total", Help: "Upload requests refused because too many were in hand."}),
		taken:   prometheus.NewCounter(prometheus.CounterOpts{Name: "watchpost_upload_turns_taken_over_total", Help: "Upload requests that ended because a newer one went on with the upload."}),
	}
	if r != nil {
		r.MustRegister(t.refused, t.taken, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "watchpost_upload_requests", Help: "Upload requests whose body is being taken."},
			func() float64 { return float64(len(t.bodies)) }))
	}
	t.meter = q.Register("upload bodies", queue.Refuse, cap(t.bodies), func() int { return len(t.bodies) })
	return t
}

// Enter takes one of the places for bodies; call leave when the request ended.
// Without a free place: upload.ErrTooMany.
func (t *Turns) Enter() (leave func(), err error) {
	select {
	case t.bodies <- struct{}{}:
		return func() { <-t.bodies }, nil
	default:
		t.refused.Inc()
		t.meter.Dropped(1)
		return nil, Wrong(upload.ErrTooMany, "%d files arrive already, as many as may at a time: try again in a moment", cap(t.bodies))
	}
}

// Take waits for the turn to write to the upload and asks whoever has it to
// yield. yield is called, maybe more than once and from any goroutine, when
// somebody else wants the turn; it returns at once, and give must be called soon
// after. nil: the turn is given back soon anyway. Where ctx ends first: upload.ErrBusy.
func (t *Turns) Take(ctx context.Context, id string, yield func()) (give func(), err error) {
	mine := &holder{yield: yield, done: make(chan struct{})}
	asked := false
	for {
		t.mu.Lock()
		other := t.holders[id]
		if other == nil {
			t.holders[id] = mine
			t.mu.Unlock()
			return sync.OnceFunc(func() { t.give(id, mine) }), nil
		}
		t.mu.Unlock()
		if other.yield != nil {
			if other.yield(); !asked {
				asked = true
				t.taken.Inc()
			}
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, Wrong(upload.ErrBusy, "another request writes to this upload and has not ended yet: try again in a moment")
		}
	}
}

func (t *Turns) give(id string, mine *holder) {
	t.mu.Lock()
	delete(t.holders, id)
	t.mu.Unlock()
	close(mine.done)
}
