package rtcworker

import (
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// budget is what all sessions' queues together may hold, bytes: each has a bound of its
// own, and their sum would be more than the control process may take. Where it is spent, a
// queue counts as full; one that holds nothing takes an item all the same, so that every
// session goes on. A nil *budget has no end.
type budget struct {
	most  int
	meter *queue.Meter

	mu    sync.Mutex
	used  int
	freed chan struct{} // closed when used has fallen; nil: nobody waits for that
}

func newBudget(most int, queues *queue.Registry) *budget {
	b := &budget{most: most}
	b.meter = queues.Register(bytesQueue, queue.Refuse, most, b.spent)
	return b
}

// take spends n bytes, which are to be given back once; false: there are none left.
// first: they are granted whatever is left.
func (b *budget) take(n int, first bool) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !first && b.used+n > b.most {
		return false
	}
	b.used += n
	return true
}

// give takes n bytes back.
func (b *budget) give(n int) {
	if b == nil || n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used -= n; b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// news is closed when something is given back. Who waits asks for it before it tries take.
func (b *budget) news() <-chan struct{} {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return b.freed
}

// refused counts an item that found the budget spent.
func (b *budget) refused() {
	if b != nil {
		b.meter.Dropped(1)
	}
}

// spent is how many bytes are.
func (b *budget) spent() int {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
