package media

import "context"

// queue holds the jobs of a camera's or a file's road.
type queue = queueOf[job]

func newQueue(depth int, leaky bool) *queue { return newQueueOf[job](depth, leaky) }

// queueOf holds what is between two stages. Bounded; leaky (the oldest gives way
// and is handed back, so that it is counted) or blocking.
type queueOf[T any] struct {
	jobs  chan *T
	leaky bool
}

func newQueueOf[T any](depth int, leaky bool) *queueOf[T] {
	return &queueOf[T]{jobs: make(chan *T, depth), leaky: leaky}
}

// put enters j. There is one producer. It returns the job that had to give
// way, if any; that is j itself when a blocking queue's context ended.
func (q *queueOf[T]) put(ctx context.Context, j *T) (out *T) {
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
