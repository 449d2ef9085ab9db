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
	conn  io.Closer // the peer connection
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
	lastResult atomic.Uint64 // the newest frame with a document
	pictures   atomic.Uint64 // given to the track
	ledger     atomic.Pointer[link.Ledger]
	taken      atomic.Bool // an upload channel is open

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
	loop      Loop
	// hold is closed when nothing of the connection is left. The WebRTC stack waits
	// with that for STUN and TURN servers that never answer, up to 8 s.
	hold chan struct{}
}

// ended is how a session came to its end.
type ended struct {
	reason string // one of the reasons below
	words  string
}

// The reasons for the end of a session. Those of the first group are told to the peer,
// who is there to be told; the others are for the log and the metrics.
const (
	reasonDone     = "" // the source came to its end
	reasonTimeout  = "timeout_reached"
	reasonSilent   = "silent"
	reasonSource   = "source_failed"
	reasonUpload   = "upload_failed"
	reasonWorker   = "worker_failed"
	reasonStopping = "box_stopping"
	reasonOperator = "ended_by_operator"

	reasonLost         = "peer_lost"     // no sign of the peer: ICE failed
	reasonLeft         = "peer_left"     // it closed the connection
	reasonNotConnected = "not_connected" // it never came
)

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
	silent := l.began.Add(time.Duration(l.lastSign.Load())).Add(l.s.c.Silence)
	if l.finished != nil {
		if !l.leaving && l.spoken && !l.filmed() {
			l.leave(now)
		}
		if l.finished.reason == reasonDone && !l.leaving {
			l.deadline = silent // a slow reader gets all of it
		}
		if l.spoken && !l.leaving {
			next = filmedEvery
		}
		if due(l.deadline) {
			l.hangUp()
		}
		return next
	}
	switch {
	case l.connected.IsZero():
		if due(l.began.Add(l.s.c.Setup)) {
			l.end(reasonNotConnected, "The peer did not connect within "+l.s.c.Setup.String()+".")
		}
	case l.req.timeout > 0 && due(l.connected.Add(l.req.timeout)):
		l.end(reasonTimeout, "The session's processing_timeout of "+l.req.timeout.String()+" is over.")
	case due(silent):
		l.end(reasonSilent, "There was no sign of life for "+l.s.c.Silence.String()+": no frame, no byte of an upload, no ping, no acknowledgement.")
	case !l.broken.IsZero() && due(l.broken.Add(channelPause)):
		l.end(reasonUpload, "The upload channel was closed before the whole file had come.")
	case l.channels && len(l.outlets) == 0 && !l.credit.unread && due(l.connected.Add(channelTime)):
		l.choose() // nobody will read documents: do without
	}
	if l.finished != nil {
		return l.check(now)
	}
	return next
}

// end begins the session's end; the first reason stays.
func (l *life) end(reason, words string) {
	if l.finished != nil {
		return
	}
	l.finished = &ended{reason: reason, words: words}
	l.show(func(i *Info) { i.State = StateEnding })
	l.camera.stop()
	silent := false // nobody is there to be told
	switch reason {
	case reasonLost, reasonLeft, reasonNotConnected:
		silent = true
	}
	var errors []string
	if words != "" {
		errors = []string{words}
	}
	if reason != reasonDone {
		l.kill()
	}
	if silent || l.connected.IsZero() || !l.read() && !l.filmed() {
		l.hangUp()
		return
	}
	l.spoken = !l.read()
	deliver := deliverTime
	if reason == reasonStopping {
		deliver = deliverTimeStopping
	}
	l.deadline = time.Now().Add(deliver)
	// At the source's end everything is delivered that came before. Otherwise the peer
	// has waited, or is to wait, for something else.
	id := uint32(l.lastResult.Load() + 1)
	l.sender.finish(lastWord(reason, errors), id, reason != reasonDone, len(l.outlets) == 0)
}

// filmed tells whether pictures still wait for the peer, in a session whose source came
// to its end.
func (l *life) filmed() bool {
	if l.track == nil || l.finished == nil || l.finished.reason != reasonDone {
		return false
	}
	pictures, _ := l.track.Queued()
	return pictures > 0
}

// leave gives the peer time to close the connection itself, so that nothing of what
// it was sent is lost in closing, and lost packets can be asked for again.
func (l *life) leave(now time.Time) {
	leave := leaveTime
	if l.finished.reason == reasonStopping {
		leave = leaveTimeStopping
	}
	l.leaving, l.deadline = true, now.Add(leave)
}

// hangUp has the control loop return.
func (l *life) hangUp() { l.cancel(errOver) }

// kill ends the worker, if there is one. It is reaped by the goroutine that started it.
func (l *life) kill() {
	l.mu.Lock()
	proc := l.proc
	l.mu.Unlock()
	if proc != nil {
		proc.Kill()
	}
}

// takeDown ends everything of the session and waits for it.
func (l *life) takeDown() {
	l.cancel(errOver)
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.camera.stop()
	l.kill()
	l.hold = make(chan struct{})
	go func() {
		defer close(l.hold)
		if err := l.conn.Close(); err != nil {
			l.log.Debug("close connection", "err", err)
		}
	}()
	l.work.Wait() // what reads from the connection ends with it
	for _, m := range l.queues {
		m.Close()
	}
	for id, announced := range l.uploads {
		l.s.use(id, -1)
		if !announced {
			l.s.d.Discard(id)
		}
	}
	reason, words := reasonLeft, ""
	if l.finished != nil {
		reason, words = l.finished.reason, l.finished.words
	}
	i := l.info()
	l.s.metrics.ended(reason, i)
	l.log.Info("session ended", "reason", reasonName(reason), "why", words, "source", i.Source,
		"frames", i.Frames, "documents", i.Documents, "left_out", i.LeftOut, "bytes", i.Bytes, "after", time.Since(l.began).Round(time.Millisecond))
}

// abandon takes down a session that never ran.
func (l *life) abandon() {
	close(l.over)
	l.finished = &ended{reason: reasonStopping}
	l.takeDown()
	<-l.hold
}

// reasonName is a reason as logs and metrics have it.
func reasonName(reason string) string {
	if reason == reasonDone {
		return "complete"
	}
	return reason
}
