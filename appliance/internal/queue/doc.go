// Package queue owns the names of the box's queues, and what is told of each:
// how much it may hold, how much it holds, what happens when it is full, and how
// often that was.
//
// It holds no queue itself. A queue stays a channel or a slice of its owner's,
// who says at its making what it is:
//
//	ch := make(chan Item, 64)
//	meter := queues.Register("camera road", queue.DropOldest, cap(ch), func() int { return len(ch) })
//	defer meter.Close()
//
// A nil *Registry and a nil *Meter are of use and measure nothing, so that a
// package can be tested without them. Metering costs an owner nothing while
// items come and go: the depth is asked for by who reads the metrics, and only a
// drop is counted, by one atomic addition.
package queue
