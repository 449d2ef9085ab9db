package state

import (
	"sync"

	bolt "go.etcd.io/bbolt"
)

// group shares one bbolt transaction, and so one sync of the disk, between all
// who want to write while the one before is under way. Nobody waits for company:
// a lone writer is committed at once.
//
// bbolt's own Batch waits for a while with each first write, and runs functions
// again when another one in the batch fails. Here each runs once.
type group struct {
	// places bounds the writers; one beyond waits for a place, in the order of coming.
	places chan struct{}

	mu      sync.Mutex
	waiting []*call
	leading bool
}

// maxGroup bounds the writes in one transaction, and those that wait for it: as many
// as the next one takes.
const maxGroup = 1024

func newGroup() group { return group{places: make(chan struct{}, 2*maxGroup)} }

// call is one writer's part. One answer comes: lead, or the outcome.
type call struct {
	fn     func(Tx) error
	err    error
	panicv any
	answer chan bool // true: lead the next group; false: done
}

// do has fn take part in a transaction that commit carries out, and returns once
// it is on disk or refused.
func (g *group) do(fn func(Tx) error, commit func([]*call) error) error {
	g.places <- struct{}{}
	defer func() { <-g.places }()
	c := &call{fn: fn, answer: make(chan bool, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	lead := !g.leading
	g.leading = true
	g.mu.Unlock()
	if lead || <-c.answer {
		g.lead(commit)
		<-c.answer
	}
	if c.panicv != nil {
		panic(c.panicv)
	}
	return c.err
}

// lead commits what waits, the leader's own call first in it, and hands over to
// whoever came meanwhile.
func (g *group) lead(commit func([]*call) error) {
	g.mu.Lock()
	n := min(len(g.waiting), maxGroup)
	calls := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()

	err := commit(calls)

	g.mu.Lock()
	if len(g.waiting) > 0 {
		g.waiting[0].answer <- true
	} else {
		g.leading, g.waiting = false, nil
	}
	g.mu.Unlock()
	for _, c := range calls {
		if c.err == nil {
			c.err = err
		}
		c.answer <- false
	}
}

// apply runs one call's function in the shared transaction. An error is one of
// the transaction as a whole; the function's own is in the call.
func (d *DB) apply(tx *bolt.Tx, c *call) error {
	t := &txn{bolt: tx, log: d.log}
	func() {
		// A panic belongs to the goroutine that brought the function along.
		defer func() { c.panicv = recover() }()
		c.err = c.fn(Tx{t})
	}()
	if c.err != nil || c.panicv != nil {
		return t.rollback()
	}
	return nil
}
