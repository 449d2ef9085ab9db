package media

import "context"

// queue holds jobs between two stages. Bounded; leaky (the oldest gives way
// and is handed back, so that it is counted) or blocking.
type queue struct {
	jobs  chan *job
	leaky bool
}

func newQueue(depth int, leaky bool) *queue {
	return &queue{jobs: make(chan *job, depth), leaky: leaky}
}

// put enters j. There is one producer. It returns the job that had to give
// way, if any; that is j itself when a blocking queue's context ended.
func (q *queue) put(ctx context.Context, j *job) (out *job) {
	if !q.leaky {
		select {
		case q.jobs <- j:
			return nil
		case <-ctx.Done():
			return j
		}
	}
	for {
		select {
		case q.jobs <- j:
			return out
		default:
		}
		// One producer: at most one round finds the queue full.
		select {
		case out = <-q.jobs:
		default:
		}
	}
}
