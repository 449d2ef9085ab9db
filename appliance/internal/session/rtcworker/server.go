package rtcworker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Server keeps the sessions of the worker protocol.
type Server struct {
	d       Deps
	c       Config
	metrics *metrics
	work    sync.WaitGroup // the sessions' goroutines
	reading chan struct{}  // requests that are being read and answered
	crowd   *queue.Meter   // of reading
	budget  *budget        // of all sessions' queues

	mu       sync.Mutex
	closed   bool
	slots    int // sessions, and those being opened
	sessions map[string]*life
	inUse    map[string]int // uploads, by how many sessions
}

// Names among the box's queues.
const (
	documentsQueue = "session documents"
	cameraQueue    = "session camera"
	eventsQueue    = "session events"
	videoQueue     = "session video"
	bytesQueue     = "session bytes"
)

// maxRequests are read and answered at once: each may have a body of 1 MiB.
const maxRequests = 16

// New returns a server that is ready to answer requests.
func New(d Deps, c Config) (*Server, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	s := &Server{
		d: d, c: c.withDefaults(), sessions: map[string]*life{}, inUse: map[string]int{},
		reading: make(chan struct{}, maxRequests),
	}
	for _, policy := range []queue.Policy{queue.Block, queue.DropNewest} {
		d.Queues.Declare(documentsQueue, policy)
	}
	d.Queues.Declare(cameraQueue, queue.DropNewest)
	d.Queues.Declare(eventsQueue, queue.Block)
	d.Queues.Declare(videoQueue, queue.DropNewest)
	s.crowd = d.Queues.Register("session requests", queue.Refuse, maxRequests, func() int { return len(s.reading) })
	s.budget = newBudget(s.c.QueueBytes, d.Queues)
	s.metrics = newMetrics(s)
	if d.Registerer != nil {
		if err := d.Registerer.Register(s.metrics); err != nil {
			return nil, fmt.Errorf("rtcworker: register metrics: %w", err)
		}
	}
	return s, nil
}

// Run returns when ctx has ended and every session with it.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Close()
	return nil
}

// Close tells every peer that the box goes down, ends all sessions and waits for them;
// requests are refused from then on. It takes 5 s at most, but where a connection waits
// for a TURN server that does not answer. Closing again waits too.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	left := make([]*life, 0, len(s.sessions))
	for _, w := range s.sessions {
		left = append(left, w)
	}
	s.mu.Unlock()
	for _, w := range left {
		w.tell(func() { w.end(reasonStopping, "The box is going down.") })
	}
	s.work.Wait()
}

// List tells of the sessions that there are, the oldest first.
func (s *Server) List() []Info {
	s.mu.Lock()
	all := make([]Info, 0, len(s.sessions))
	for _, w := range s.sessions {
		all = append(all, w.info())
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// End has a session tell its peer that the operator ended it, and take itself down, and
// does not wait for that. False: there is no such session.
func (s *Server) End(id string) bool {
	s.mu.Lock()
	w := s.sessions[id]
	s.mu.Unlock()
	if w == nil {
		return false
	}
	return w.tell(func() { w.end(reasonOperator, "The session was ended by the operator of the box.") })
}

// InUse tells whether a session needs an upload's file. It answers at once.
func (s *Server) InUse(upload string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inUse[upload] > 0
}

// use counts a session's need of an upload; -1 takes it back.
func (s *Server) use(upload string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inUse[upload] += n; s.inUse[upload] <= 0 {
		delete(s.inUse, upload)
	}
}

// reserve takes a place for a session that is being opened.
func (s *Server) reserve() *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &refusal{status: 503, retry: 5, message: "The box is going down; try again in a moment."}
	case s.slots >= s.c.Most:
		return &refusal{status: 503, retry: 5, message: fmt.Sprintf(
			"This box serves %d sessions at a time and has as many (sessions.most in its configuration). Try again when one has ended.", s.c.Most)}
	}
	s.slots++
	return nil
}

func (s *Server) free() {
	s.mu.Lock()
	s.slots--
	s.mu.Unlock()
}

// admit makes a session known and has it run; false: the box is going down.
func (s *Server) admit(w *life) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[w.id] = w
	s.work.Go(func() {
		w.run()
		s.mu.Lock()
		delete(s.sessions, w.id)
		s.mu.Unlock()
		<-w.hold // as long, nobody else gets its place
		s.free()
	})
	return true
}
