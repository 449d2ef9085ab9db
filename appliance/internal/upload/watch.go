package upload

import (
	"sync"
)

// watchers are those who want to know. What they are told is read while they are told it, so nobody gets
// something older after something newer.
type watchers struct {
	mu   sync.Mutex
	all  map[int]watcher
	next int
}

type watcher struct {
	id      string // "": all
	deliver func(Info)
}

func (w *watchers) tell(id string, info func() Info) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var now Info
	for _, to := range w.all {
		if to.id != "" && to.id != id {
			continue
		}
		if now.ID == "" {
			now = info()
		}
		to.deliver(now)
	}
}

// Watch calls deliver after each change of the upload, or of all if id is "", until
// stop is called; never two at a time, and never after stop. After a removal it gets an Info with status
// Removed. deliver must return at once and call nothing of this package; stop waits for a delivery that is under
// way, so it must not be called with a lock that deliver takes. What was before is not delivered: call Get after Watch.
func (s *Uploads) Watch(id string, deliver func(Info)) (stop func()) {
	w := &s.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[int]watcher{}
	}
	n := w.next
	w.next++
	w.all[n] = watcher{id, deliver}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, n)
	}
}

// tellRemoved tells that there is no such upload any more.
func (w *watchers) tellRemoved(e *entry) {
	w.tell(e.id, func() Info {
		i := e.info()
		i.Status, i.Rate, i.ETA = Removed, 0, 0
		return i
	})
}
