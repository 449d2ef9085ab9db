package queue

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Policy is what becomes of an item that finds its queue full.
type Policy string

const (
	// Block makes who brings an item wait. Nobody who keeps a connection alive
	// may bring items to such a queue.
	Block Policy = "block"
	// DropOldest makes room: what has waited longest is lost, and counted.
	DropOldest Policy = "drop-oldest"
	// DropNewest loses the item that comes, and counts it.
	DropNewest Policy = "drop-newest"
	// Latest keeps the newest word on each matter: what it says replaces what was
	// said before, which loses nothing that anybody still wants. Its drops, where
	// an owner counts them, are words that were replaced unread.
	Latest Policy = "latest"
	// Refuse tells who brings an item that there is no room; nothing is lost
	// unnoticed. What was refused is counted.
	Refuse Policy = "refuse"
)

// Registry knows the queues of a process. Its methods may be called from any
// goroutine; it is a prometheus.Collector. The zero value is ready.
type Registry struct {
	mu    sync.Mutex
	kinds []*kind // by name, then by policy
}

// kind is all the queues of one name. It outlives them, so that its count of
// drops never goes back.
type kind struct {
	name    string
	policy  Policy
	dropped atomic.Uint64
	open    map[*Meter]struct{} // Registry.mu
}

// Meter is one queue's entry in a registry.
type Meter struct {
	registry *Registry
	kind     *kind
	capacity int
	depth    func() int
}

// Declare makes a queue's name known before the first of its kind exists, as of a
// queue that every viewer has: it then shows with 0 instances. The name says what
// the queue is of, never whose it is: names are kept for as long as the process runs.
func (r *Registry) Declare(name string, policy Policy) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kind(name, policy)
}

// Register adds a queue that may hold up to capacity items; a name that says
// "bytes" counts those instead. Queues of one name are shown as one, with their sum and
// the fullest of them. depth tells how many it holds; it is called from other
// goroutines, at any time and, by a reader who has begun already, even once more
// while or after Close. It must not wait for who fills or empties the queue. The
// owner calls Close when the queue is gone.
func (r *Registry) Register(name string, policy Policy, capacity int, depth func() int) *Meter {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kind(name, policy)
	m := &Meter{registry: r, kind: k, capacity: capacity, depth: depth}
	k.open[m] = struct{}{}
	return m
}

// kind finds or adds one; mu is held.
func (r *Registry) kind(name string, policy Policy) *kind {
	i, found := slices.BinarySearchFunc(r.kinds, name, func(k *kind, name string) int {
		return cmp.Or(cmp.Compare(k.name, name), cmp.Compare(k.policy, policy))
	})
	if !found {
		r.kinds = slices.Insert(r.kinds, i, &kind{name: name, policy: policy, open: map[*Meter]struct{}{}})
	}
	return r.kinds[i]
}

// Dropped counts n items that found the queue full and were lost, replaced or
// refused, as its policy says. It does not block.
func (m *Meter) Dropped(n int) {
	if m != nil && n > 0 {
		m.kind.dropped.Add(uint64(n))
	}
}

// Close takes the queue out of the metrics; what it dropped stays counted. It
// may be called more than once.
func (m *Meter) Close() {
	if m == nil {
		return
	}
	m.registry.mu.Lock()
	defer m.registry.mu.Unlock()
	delete(m.kind.open, m)
}

// Figures is what is known of the queues of one name at one moment.
type Figures struct {
	Name      string
	Policy    Policy
	Instances int
	Depth     int     // of all instances
	Capacity  int     // of all instances
	Fullest   float64 // share of its capacity that the fullest instance holds, 0 to 1
	Dropped   uint64  // since the process began
}

// Figures lists the queues by name.
func (r *Registry) Figures() []Figures {
	if r == nil {
		return nil
	}
	// Depths are asked for without the lock: an owner may hold its own lock
	// when it calls Register or Close, and want the same lock to tell a depth.
	type entry struct {
		kind   *kind
		meters []*Meter
	}
	r.mu.Lock()
	entries := make([]entry, 0, len(r.kinds))
	for _, k := range r.kinds {
		e := entry{kind: k, meters: make([]*Meter, 0, len(k.open))}
		for m := range k.open {
			e.meters = append(e.meters, m)
		}
		entries = append(entries, e)
	}
	r.mu.Unlock()

	all := make([]Figures, 0, len(entries))
	for _, e := range entries {
		f := Figures{Name: e.kind.name, Policy: e.kind.policy, Instances: len(e.meters), Dropped: e.kind.dropped.Load()}
		for _, m := range e.meters {
			depth := m.depth()
			f.Depth += depth
			f.Capacity += m.capacity
			if m.capacity > 0 {
				f.Fullest = max(f.Fullest, float64(depth)/float64(m.capacity))
			}
		}
		all = append(all, f)
	}
	return all
}
