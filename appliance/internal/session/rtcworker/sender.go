package rtcworker

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// maxQueued is how many bytes of documents may wait in a session.
	maxQueued = 32 << 20
	// maxNotices that belong to no frame wait; more are left out.
	maxNotices = 16
	// documentsBeyond is how many documents wait beyond the window: those that a worker
	// had under way when its credit was last counted.
	documentsBeyond = 2 * unacknowledged
)

// sink takes a document's messages. write waits while the peer reads slowly; drained
// waits until it has taken everything.
type sink interface {
	write(ctx context.Context, p []byte) error
	drained(ctx context.Context) error
}

// sender writes a session's documents to its peer, at the peer's pace, on a goroutine of
// its own. What waits is bounded by number and bytes: whoever brings a document of a session
// that is not realtime waits for room, and one of a realtime session is left out. Its bytes
// are the budget's from being taken to being written or dropped.
type sender struct {
	realtime bool
	most     int
	meter    *queue.Meter
	budget   *budget       // of all sessions
	wake     chan struct{} // capacity 1: there is something to do for run
	space    chan struct{} // capacity 1: the queue has become shorter
	// progress is called after each document, and when a sink fails.
	progress func()
	// took is called after each message; nil: nobody wants to know.
	took func()
	// failed is called when a sink takes no more.
	failed func(sink)
	// delivered is closed when the last word was, or nobody is there for it.
	delivered chan struct{}

	offered atomic.Uint64 // the newest frame whose document has begun to be written
	written atomic.Uint64 // the newest that was written whole
	sent    atomic.Uint64 // documents
	leftOut atomic.Uint64
	bytes   atomic.Uint64 // of messages

	mu      sync.Mutex
	queue   []link.Result
	queued  int // bytes
	busy    int // 1 while a document is being written
	writing int // its bytes
	notices [][]byte
	out     sink // nil: there is none
	unread  bool // documents are not wanted
	closing bool // nothing more is taken
	last    []byte
	lastID  uint32
	cut     bool // the last word follows what was written, not what waited
	hope    bool // a sink may come yet for the last document
}

func newSender(realtime bool, window int, progress func(), failed func(sink)) *sender {
	return &sender{
		realtime: realtime, most: max(window, unacknowledged) + documentsBeyond, progress: progress, failed: failed,
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), delivered: make(chan struct{}),
	}
}

// nudge signals a channel of capacity 1.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// put queues a frame's document. It waits for room where the session is not realtime.
func (s *sender) put(ctx context.Context, r link.Result) {
	for first := true; ; first = false {
		freed := s.budget.news()
		s.mu.Lock()
		full := len(s.queue) >= s.most || s.queued+len(r.Data) > maxQueued && len(s.queue) > 0
		if !full && !s.closing && !s.unread && !s.budget.take(len(r.Data), len(s.queue)+s.busy == 0) {
			if full = true; first {
				s.budget.refused()
			}
		}
		switch {
		case s.closing || s.unread || full && s.realtime:
			s.mu.Unlock()
			s.leftOut.Add(1)
			s.meter.Dropped(1)
			return
		case !full:
			s.queue = append(s.queue, r)
			s.queued += len(r.Data)
			s.mu.Unlock()
			nudge(s.wake)
			return
		}
		s.mu.Unlock()
		select {
		case <-s.space:
		case <-freed:
		case <-ctx.Done():
			return
		}
	}
}

// clear leaves out what waits; mu is held.
func (s *sender) clear() {
	s.leftOut.Add(uint64(len(s.queue)))
	s.budget.give(s.queued)
	s.queue, s.queued = nil, 0
}

// settle gives back what the document took that was being written; mu is held.
func (s *sender) settle() {
	s.budget.give(s.writing)
	s.busy, s.writing = 0, 0
}

// release gives back what nobody will write any more, once run has returned; nothing is
// taken from then on.
func (s *sender) release() {
	s.mu.Lock()
	s.closing = true
	s.clear()
	s.settle()
	s.mu.Unlock()
}

// tell queues a document of no frame.
func (s *sender) tell(document []byte) {
	s.mu.Lock()
	if !s.closing && len(s.notices) < maxNotices {
		s.notices = append(s.notices, document)
	}
	s.mu.Unlock()
	nudge(s.wake)
}

// use has documents written to out from now on; nil: there is nobody to write to now, and
// unread tells that documents are not wanted.
func (s *sender) use(out sink, unread bool) {
	s.mu.Lock()
	s.out, s.unread = out, unread
	if unread {
		s.clear()
	}
	s.mu.Unlock()
	nudge(s.wake)
	nudge(s.space)
}

// finish writes the last document behind those that wait, under id, or, with cut, in front of
// them, which go nowhere then, under the id that the first of them would have had. hope: a sink may be about to come, if there is none.
func (s *sender) finish(document []byte, id uint32, cut, hope bool) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.closing, s.last, s.lastID, s.hope = true, document, id, hope
	if s.cut = cut; cut {
		s.clear()
	}
	s.mu.Unlock()
	nudge(s.wake)
	nudge(s.space)
}

// cutShort writes another last document instead of what waits, unless the last is on its way.
func (s *sender) cutShort(document []byte) {
	s.mu.Lock()
	if s.last != nil {
		s.last, s.cut = document, true
		s.clear()
	}
	s.mu.Unlock()
	nudge(s.wake)
	nudge(s.space)
}

// waiting is how many documents are not written yet.
func (s *sender) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) + s.busy
}

// parcel is a document on its way.
type parcel struct {
	to       sink
	id       uint32
	frame    uint64 // 0: of none
	document []byte
	last     bool
}

// next takes what is to be written next; false: nothing is.
func (s *sender) next() (p parcel, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	p.to = s.out
	switch {
	case s.out == nil && (!s.closing || s.last == nil || s.hope):
		return p, false
	case s.out == nil: // the last word, and nobody to hear it
		p.last, s.last = true, nil
	case len(s.notices) > 0:
		p.document = s.notices[0]
		s.notices = s.notices[1:]
	case len(s.queue) > 0:
		r := s.queue[0]
		s.queue[0] = link.Result{}
		s.queue = s.queue[1:]
		s.queued -= len(r.Data)
		s.busy, s.writing = 1, len(r.Data)
		p.id, p.frame, p.document = uint32(r.Frame), r.Frame, r.Data
		nudge(s.space)
	case s.last != nil:
		p.id, p.document, p.last = s.lastID, s.last, true
		if s.cut {
			p.id = uint32(s.offered.Load() + 1)
		}
		s.last = nil
	default:
		return p, false
	}
	return p, true
}

// run writes until ctx ends or the last word was delivered.
func (s *sender) run(ctx context.Context) {
	defer close(s.delivered)
	message := make([]byte, 0, chunkHeader+chunkPayload)
	for {
		p, ok := s.next()
		if !ok {
			select {
			case <-s.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		if p.to == nil {
			return
		}
		if p.frame > 0 {
			s.offered.Store(p.frame)
		}
		err := s.write(ctx, p, message)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.drop(p)
		case p.frame > 0:
			s.written.Store(p.frame)
			s.sent.Add(1)
		}
		if p.frame > 0 {
			s.mu.Lock()
			s.settle()
			s.mu.Unlock()
			nudge(s.space) // whoever found the budget spent may be the first now
			s.progress()
		}
		if p.last {
			if err == nil {
				_ = p.to.drained(ctx) // ctx has ended: the session's time is over
			}
			return
		}
	}
}

// write sends the messages of a document.
func (s *sender) write(ctx context.Context, p parcel, message []byte) error {
	for i := range chunksOf(len(p.document)) {
		message = appendChunk(message[:0], p.id, p.document, i)
		if err := p.to.write(ctx, message); err != nil {
			return err
		}
		s.bytes.Add(uint64(len(message)))
		if s.took != nil {
			s.took()
		}
	}
	return nil
}

// drop gives up a sink that took a document in part or not at all.
func (s *sender) drop(p parcel) {
	if p.frame > 0 {
		s.leftOut.Add(1)
	}
	s.mu.Lock()
	if s.out == p.to {
		s.out, s.hope = nil, false
	}
	s.mu.Unlock()
	s.failed(p.to)
}
