package rtcworker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/outbound"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Bounds of one session's times.
const (
	// deliverTime is what the last message has to reach the peer, and leaveTime what the
	// peer has then to close the connection itself.
	deliverTime = 5 * time.Second
	leaveTime   = 2 * time.Second
	// The same while the box goes down.
	deliverTimeStopping = 3 * time.Second
	leaveTimeStopping   = time.Second
	// filmedEvery is how often it is looked whether the last pictures are sent.
	filmedEvery = 20 * time.Millisecond
	// channelTime is how long documents wait for the peer to open a channel for them,
	// from being connected.
	channelTime = 5 * time.Second
	// maxEvents wait for the control loop; who brings more waits.
	maxEvents = 64
)

// errOver ends everything of a session.
var errOver = errors.New("the session is over")

// life is one session, from its answer to its end. Fields below the line are the
// control loop's alone.
type life struct {
	id    string
	began time.Time
	s     *Server
	log   *slog.Logger
	req   *request
	graph *workflow.Graph
	conn  io.Closer // the peer connection; nil: it could not be made
	track *outbound.Track
	codec link.Codec // of track; 0: there is none

	ctx    context.Context // ends with the session
	cancel context.CancelCauseFunc
	events chan func()   // to the control loop
	moved  chan struct{} // capacity 1: documents were written, or frames handled
	over   chan struct{} // closed when the loop takes no more events

	sender *sender
	camera *camera
	queues []*queue.Meter
	video  *queue.Meter // of track's queue; one of queues

	lastSign   atomic.Int64  // of life, ns since began
	lastTaken  atomic.Int64  // something of what is sent, or an acknowledgement; ns since began
	lastResult atomic.Uint64 // the newest frame with a document
	pictures   atomic.Uint64 // given to the track
	ledger     atomic.Pointer[link.Ledger]
	taken      atomic.Bool  // an upload channel is open
	serving    atomic.Int32 // channels

	mu      sync.Mutex
	ending  bool // nothing new is begun
	work    sync.WaitGroup
	proc    Process
	uploads map[string]bool // begun here: announced
	shown   Info            // what List tells, but for counters

	// ------------------------------------------------------------------

	connected time.Time // zero: not yet
	outlets   []*outlet // open inference channels, the oldest first
	channels  bool      // the offer has data channels
	hope      time.Time // until then documents wait for a channel that they can go over
	stream    *[]string // as asked for last
	data      []string
	selection link.Select
	started   bool // the worker, or its start
	live      bool // the worker runs
	credit    credit
	granted   uint64    // what the worker was told
	exhausted bool      // and it has come to it
	offline   string    // the reason that was told last
	broken    time.Time // the upload channel was closed too early; zero: it was not
	finished  *ended    // nil: the session goes on
	deadline  time.Time // of the present step of ending
	spoken    bool      // the last message was delivered, or there is nobody for it
	leaving   bool      // so was the last picture: the peer may close the connection
	filmedTo  uint64    // pictures that had been sent when that was looked at
	loop      Loop
	// hold is closed when nothing of the connection is left. The WebRTC stack waits
	// with that for STUN and TURN servers that never answer, up to 8 s.
	hold chan struct{}
}

// tell has the control loop call f; false: it has come to its end. It may come to it
// before f is called, too.
func (l *life) tell(f func()) bool {
	select {
	case <-l.over:
		return false
	default:
	}
	select {
	case l.events <- f:
		return true
	case <-l.over:
		return false
	}
}

// sign notes a sign of life.
func (l *life) sign() { l.lastSign.Store(int64(time.Since(l.began))) }

// took notes that the peer has taken something.
func (l *life) took() { l.lastTaken.Store(int64(time.Since(l.began))) }

// do runs f on a goroutine that the session waits for; false: it is ending.
func (l *life) do(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return false
	}
	l.work.Go(f)
	return true
}

// show changes what List tells.
func (l *life) show(change func(*Info)) {
	l.mu.Lock()
	change(&l.shown)
	l.mu.Unlock()
}

func (l *life) info() Info {
	l.mu.Lock()
	i := l.shown
	if l.proc != nil {
		i.PID = l.proc.PID()
	}
	l.mu.Unlock()
	i.Frames = max(l.lastResult.Load(), l.pictures.Load())
	i.Documents, i.LeftOut, i.Bytes = l.sender.sent.Load(), l.sender.leftOut.Load(), l.sender.bytes.Load()
	i.Ledger = l.ledger.Load()
	return i
}

// run is the session: the control loop, and then taking everything down.
func (l *life) run() {
	l.do(func() { l.sender.run(l.ctx) })
	l.control()
	l.takeDown()
}

// noLoop is the loop of a session that nobody meters.
type noLoop struct{}

func (noLoop) Tick() <-chan time.Time { return nil }
func (noLoop) Ticked()                {}
func (noLoop) Enter() func()          { return func() {} }
func (noLoop) Stop()                  {}

// control decides, and waits for nothing but what is to be decided.
func (l *life) control() {
	defer close(l.over)
	l.loop = noLoop{}
	if l.s.d.Loops != nil {
		l.loop = l.s.d.Loops("session")
	}
	defer l.loop.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	delivered := l.sender.delivered
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.loop.Tick():
			l.loop.Ticked()
			continue
		case f := <-l.events:
			l.enter(f)
		case <-l.moved:
			l.enter(l.grant)
		case <-delivered:
			delivered = nil
			l.enter(func() { l.spoken = true })
		case <-timer.C:
		}
		next := l.check(time.Now())
		timer.Reset(next)
	}
}

func (l *life) enter(f func()) {
	defer l.loop.Enter()()
	f()
}

// check looks at the clocks, and returns after how long to do so again.
func (l *life) check(now time.Time) time.Duration {
	next := time.Hour
	due := func(at time.Time) bool {
		left := at.Sub(now)
		if left > 0 {
			next = min(next, left)
		}
		return left <= 0
	}
	if l.finished != nil {
		if !l.leaving && l.spoken && !l.filmed() {
			l.leave(now)
		}
		if l.finished.reason == reasonDone && !l.leaving {
			l.deliver(now)
		}
		if l.spoken && !l.leaving {
			next = filmedEvery
		}
		if due(l.deadline) {
			l.hangUp()
		}
		return next
	}
	silent := l.began.Add(time.Duration(l.lastSign.Load())).Add(l.s.c.Silence)
	switch {
	case l.connected.IsZero():
		if due(l.began.Add(l.s.c.Setup)) {
			l.end(reasonNotConnected, "The peer did not connect within "+l.s.c.Setup.String()+".")
		}
	case l.req.timeout > 0 && due(l.connected.Add(l.req.timeout)):
		l.end(reasonTimeout, l.timedOut())
	case due(silent):
		l.end(reasonSilent, "There was no sign of life for "+l.s.c.Silence.String()+": no frame, no byte of an upload, no ping, no acknowledgement.")
	case !l.broken.IsZero() && due(l.broken.Add(channelPause)):
		l.end(reasonUpload, "The upload channel was closed before the whole file had come.")
	case len(l.outlets) == 0 && !l.credit.unread && due(l.hope):
		l.choose() // nobody will read documents: do without
	}
	if l.finished != nil {
		return l.check(now)
	}
	return next
}
