package upload

import "github.com/watchpost/watchpost/appliance/internal/queue"

// queues are the entries of the uploads' queues among the box's. The buffers are queues
// of what has come and is not yet written or hashed: each is one piece of a file.
type queues struct {
	all           []*queue.Meter
	appends, open *queue.Meter
	express       *queue.Meter
}

// meterQueues tells of the queues until close.
func (s *Uploads) meterQueues(r *queue.Registry) (q queues) {
	add := func(name string, p queue.Policy, bound int, depth func() int) *queue.Meter {
		m := r.Register(name, p, bound, depth)
		q.all = append(q.all, m)
		return m
	}
	// An Append waits for its turn for a while, then its client is told to come again.
	q.appends = add("upload appends", queue.Refuse, cap(s.appending), func() int { return len(s.appending) })
	add("upload append buffers", queue.Block, s.buffers.bound(), s.buffers.used)
	// Without one left the Append goes on by the slower road.
	q.express = add("upload express buffers", queue.Refuse, s.large.bound(), s.large.used)
	add("upload chunk buffers", queue.Block, s.placing.bound(), s.placing.used)
	add("upload writes", queue.Block, cap(s.writing), func() int { return len(s.writing) })
	add("upload syncs", queue.Block, cap(s.syncs), func() int { return len(s.syncs) })
	q.open = add("uploads open", queue.Refuse, s.cfg.MaxOpen, s.unfinished)
	add("upload removals", queue.Refuse, maxUploads, func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.trash)
	})
	return q
}

// unfinished is how many uploads are not complete.
func (s *Uploads) unfinished() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openLocked()
}

func (q queues) close() {
	for _, m := range q.all {
		m.Close()
	}
}
