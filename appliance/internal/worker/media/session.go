package media

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// sessionRun is the work of mode "session": every frame's outputs to one peer.
//
//	source → [decoded] → look → [looked] → show → [shown] → tell
//
// Each arrow is a bounded queue between two goroutines. look runs the analysis,
// show draws and encodes the video, tell draws the documents' pictures and writes
// the documents. Only the first queue may leak, and a frame gets its number behind
// it: what is dropped there leaves no gap. Frames wait for credit in front of show,
// so that what a peer changes while they wait counts for them.
type sessionRun struct {
	w      *worker
	ask    link.Session
	looks  []look // of the outputs, in their order
	inbox  *inbox // of a peer's track
	credit credit
	chosen atomic.Pointer[choice]

	decoded, looked, shown *queueOf[moment]

	line  timeline     // of enter
	count sessionClock // of look
	sight *sight       // nil: nothing is looked for
	pace  pace         // of show
	video *videoSide   // of show
	words *wordSide    // of tell

	fps      atomic.Pointer[float64] // that the source declares; nil: none
	played   atomic.Bool             // a frame came, since it was last asked
	position atomic.Int64            // run's time of the newest decoded frame
	duration atomic.Int64            // of a file; 0: unknown
}

// moment is one frame on its way through a session. Its frame has one owner at a
// time, the stage that has the moment in hand.
type moment struct {
	frame  *engine.Frame
	pts    time.Duration // in this run's time
	at     stamp         // in the session's
	fps    float64       // that the source declares, or a usual rate
	found  []finding
	blind  string   // why it was not analysed, in a line; empty: it was
	errors []string // what went wrong with this frame, one line each

	// Set by show.
	choice   *choice
	declared float64
	measured float64
	sent     *engine.Frame // the picture that went out as video, if the document shows it too
}

func (m *moment) release() {
	m.frame.Release()
	if m.sent != nil {
		m.sent.Release()
		m.sent = nil
	}
}

// failed notes an error of this frame.
func (m *moment) failed(format string, args ...any) {
	m.errors = append(m.errors, oneLine(fmt.Sprintf(format, args...)))
}

// Depths of a session's queues, in frames.
const (
	// sessionDepth is that between two stages: each has one to go on with.
	sessionDepth = 2
	// heldBack is how many frames of a live source may wait for a session that is
	// not realtime: a hiccup, at the end of which they are dropped.
	heldBack = 8
)

// newSession makes what commands may reach at once. The rest follows in sessionRoad.
func newSession(w *worker) *sessionRun {
	s := &sessionRun{w: w, ask: *w.start.Session, looked: newQueueOf[moment](sessionDepth, false), shown: newQueueOf[moment](sessionDepth, false)}
	switch {
	case s.ask.Realtime:
		s.decoded = newQueueOf[moment](liveAnalysisDepth, true)
	case s.live():
		s.decoded = newQueueOf[moment](heldBack, true)
	default:
		// A peer's track is held back where it costs least, as encoded pictures.
		s.decoded = newQueueOf[moment](sessionDepth, false)
	}
	if s.peer() {
		s.inbox = newInbox(w)
	}
	for _, o := range s.ask.Outputs {
		s.looks = append(s.looks, newLook(o))
	}
	s.credit.raise(s.ask.Credit.Through)
	s.choose(s.ask.Select)
	return s
}

// sessionRoad plays the source to its end and tells the peer of every frame.
func (w *worker) sessionRoad(ctx context.Context) error {
	s := w.session
	if !s.ask.NoModel {
		g, err := w.newSight()
		if err != nil {
			return err
		}
		defer g.close()
		s.sight = g
		w.analysis.Store(g.analysis)
	}
	return s.run(ctx)
}

// run returns the source's error, or that of a stage that could not go on.
func (s *sessionRun) run(ctx context.Context) error {
	artists := [2]*draw.Artist{} // one for each side
	for i := range artists {
		a, err := draw.New()
		if err != nil {
			return err
		}
		artists[i] = a
	}
	s.line = timeline{begun: s.w.begun, live: s.live()}
	s.video = &videoSide{s: s, artist: artists[0]}
	s.words = newWordSide(s, artists[1])
	defer s.words.close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	wg.Go(func() { s.lookAll(ctx, fail) })
	wg.Go(func() { s.showAll(ctx) })
	wg.Go(func() { s.tellAll(ctx, fail) })
	err := s.play(ctx)
	close(s.decoded.jobs) // what is in hand is worked off
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return s.verdict(err)
}

// verdict tells whether a source that came to its end, or failed with err, was one.
func (s *sessionRun) verdict(err error) error {
	l := s.w.ledger.snapshot()
	if !s.file() {
		return err
	}
	if l.Decoded == 0 {
		if err == nil {
			return link.Fault{Kind: link.FaultDamaged, Message: "no frame could be decoded: the file is damaged or has no picture in it"}
		}
		return err
	}
	if err != nil {
		// What could be decoded was told of.
		s.w.warnings.add("the file could not be read to its end: " + faultOf(err).Message)
	}
	return nil
}

// enter takes a decoded frame into the road; it runs on the source's thread.
func (s *sessionRun) enter(ctx context.Context, f *engine.Frame) {
	if s.holds() {
		s.w.rest.pass(ctx)
	}
	if f.Captured == 0 {
		f.Captured = monotonic()
	}
	s.played.Store(true)
	s.w.ledger.decoded()
	s.w.rate.frame()
	m := &moment{frame: f, pts: s.line.at(f.PTS), fps: s.w.rate.nominal()}
	s.position.Store(int64(m.pts))
	if !s.holds() {
		if ok, why := s.w.limiter.admit(m.pts); !ok {
			s.settle(m, why)
			m.release()
			return
		}
	}
	if out := s.decoded.put(ctx, m); out != nil {
		s.settle(out, dropped)
		out.release()
	}
}

func (s *sessionRun) settle(_ *moment, how fate) { s.w.ledger.settle(how) }

// lookAll numbers and analyses frames until there are no more. Once ctx is done it
// only empties the queue.
func (s *sessionRun) lookAll(ctx context.Context, fail func(error)) {
	defer close(s.looked.jobs)
	var reports repeats
	for m := range s.decoded.jobs {
		if ctx.Err() != nil {
			s.settle(m, dropped)
			m.release()
			continue
		}
		m.at = s.count.next(m.pts)
		how := inferred
		if s.sight != nil {
			var err error
			if m.found, err = s.sight.look(m.frame, m.pts); err != nil {
				how = failed
				m.failed("The frame could not be analysed: %v", err)
				m.blind = m.errors[0]
				if n, ok := reports.due(time.Now()); ok {
					s.w.log.Warn("a frame was not analysed", "frame", m.at.id, "error", err, "times", n)
				}
				if s.sight.failed >= tooManyFailures {
					fail(link.Fault{Kind: link.FaultModel, Message: oneLine(fmt.Sprintf(
						"%d frames in a row could not be analysed, the last because: %v", s.sight.failed, err))})
				}
			}
		}
		s.settle(m, how)
		if out := s.looked.put(ctx, m); out != nil {
			out.release()
		}
	}
}

// holds tells of a session whose source waits for it.
func (s *sessionRun) holds() bool { return !s.decoded.leaky }

// live tells of a source that keeps time by itself and can be held back by nobody;
// a peer's track waits as encoded pictures.
func (s *sessionRun) live() bool {
	url := s.w.start.Source.URL
	if s.peer() {
		return false
	}
	return s.pulled() || isDemo(url) || plan.Kind(url) != plan.File
}

// pulled tells of a source that is asked for over the network, and asked again.
func (s *sessionRun) pulled() bool {
	url := s.w.start.Source.URL
	return isMJPEG(url) || plan.Kind(url) == plan.RTSP
}

// file tells of a source that has an end and can be held back.
func (s *sessionRun) file() bool {
	return !s.peer() && !s.live()
}

func (s *sessionRun) peer() bool { return peerCodec(s.w.start.Source.URL) != "" }

// declaredFPS is the source's own rate, else what the peer said, else a usual one.
func (s *sessionRun) declaredFPS() float64 {
	if p := s.fps.Load(); p != nil {
		return *p
	}
	if s.ask.DeclaredFPS > 0 {
		return s.ask.DeclaredFPS
	}
	return 30
}

// command carries out what only a session knows; false: it is no such command.
func (s *sessionRun) command(msg link.Message) bool {
	switch v := msg.Value.(type) {
	case link.Select:
		s.choose(v)
		return true
	case link.Credit:
		s.credit.raise(v.Through)
		return true
	case link.AccessUnit:
		if s.inbox != nil {
			s.inbox.put(v)
			return true
		}
	case nil:
		if msg.Kind == link.KindEnd && s.inbox != nil {
			s.inbox.end()
			return true
		}
	}
	return false
}
