package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// RegistryFile is where in the data folder GStreamer keeps what its plugin scan
// found: the scan takes seconds, reading the file milliseconds.
const RegistryFile = "gst-registry.bin"

// Config is what a worker knows besides its Start.
type Config struct {
	// DataDir holds the plugin registry's cache and the model runtime's library.
	DataDir string
	Version string
	// SegmentFrames is how many frames of a file are between two checkpoints at
	// most; 0: 250. Another number gives another video, of the same pictures.
	SegmentFrames int
}

// errStopped ends a road that was told to stop.
var errStopped = errors.New("stopped by the control process")

// errAlone ends a worker whose control process is gone: nobody is left to
// report to, and a worker never outlives its parent.
var errAlone = errors.New("the control process closed the link")

// Run serves one Start on conn and returns when the work is done, was stopped,
// failed (a link.Fault, already reported), or the link closed.
func Run(ctx context.Context, conn *link.Conn, cfg Config, log *slog.Logger) error {
	if err := conn.Send(link.KindHello, link.Hello{Version: cfg.Version, PID: os.Getpid()}); err != nil {
		return fmt.Errorf("greet the control process: %w", err)
	}
	msg, err := conn.Receive()
	if err != nil {
		return fmt.Errorf("wait for the start command: %w", err)
	}
	start, ok := msg.Value.(link.Start)
	if !ok {
		return fmt.Errorf("the first command is %T, not a start", msg.Value)
	}
	w := &worker{
		conn: conn, cfg: cfg, start: start,
		log: log.With("camera", start.Camera), begun: time.Now(),
	}
	return w.run(ctx)
}

// worker is one process's work and its connection to the control process.
type worker struct {
	conn  *link.Conn
	cfg   Config
	start link.Start
	play  read // nil: what the source's address asks for
	// detector that a session looks with; nil: that of its model.
	detector detector
	log      *slog.Logger
	begun    time.Time // zero of this run's time

	ledger   ledger
	limiter  limiter
	rate     rateMeter
	out      *renditions
	analysis atomic.Pointer[analysis]
	stage    atomic.Pointer[pictureStage]

	published *inbox      // mode "live": a publisher's track; else nil
	session   *sessionRun // mode "session"

	// Modes "file" and "session".
	feed     feed
	rest     rest
	warnings warnings

	mu     sync.Mutex
	status link.Status
	road   *road // mode "file", once it runs
}

func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.limiter.configured = w.start.MaxFPS
	w.out = &renditions{
		profile: w.start.Picture, threads: w.start.Threads, send: w.conn.SendUnit, log: w.log,
		started: func(element string) {
			w.setStatus(func(s *link.Status) { s.Encoder = element })
		},
	}
	w.status = link.Status{State: link.Connecting}
	switch {
	case w.start.Mode == "session":
		w.session = newSession(w)
	case w.start.Mode == "live" && peerCodec(w.start.Source.URL) != "":
		w.published = newInbox(w)
	}
	if w.play == nil {
		w.play = w.reader()
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	// The reader has no owner to wait for it: it ends with the link, which
	// ends with the process.
	go w.commands(cancel)
	beats, stopBeats := context.WithCancel(ctx)
	defer stopBeats()
	wg.Go(func() { w.beat(beats, cancel) })

	err := w.work(ctx)
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errAlone):
		return errAlone
	case cause != nil && err != nil && w.start.Mode == "file":
		return cause // stopped half-way: nothing is done that anybody may rely on
	case cause != nil, err == nil: // stopped, by a command or by a signal, or done
		stopBeats()
		wg.Wait()
		w.sendBeat()
		return w.conn.Send(link.KindDone, link.Done{Ledger: w.ledger.snapshot(), Warnings: w.warnings.list()})
	}
	fault := faultOf(err)
	if w.start.Mode != "session" { // in which an offline source is one that is tried again
		w.setStatus(func(s *link.Status) { s.State, s.Reason = link.Offline, fault.Message })
	}
	w.sendBeat()
	return errors.Join(fault, w.conn.Send(link.KindFault, fault))
}

func (w *worker) work(ctx context.Context) error {
	if err := engine.Start(engine.Options{Registry: filepath.Join(w.cfg.DataDir, RegistryFile), Log: w.log}); err != nil {
		return fmt.Errorf("start GStreamer: %w", err)
	}
	if w.start.Confine {
		if err := w.confine(); err != nil {
			return err
		}
	}
	switch w.start.Mode {
	case "live":
		return w.liveRoad(ctx)
	case "slate":
		return w.slateRoad(ctx)
	case "file":
		return w.fileRoad(ctx)
	case "session":
		return w.sessionRoad(ctx)
	default:
		return fmt.Errorf("mode %q is none that this worker knows", w.start.Mode)
	}
}

// commands carries out what the control process asks, until the link closes.
func (w *worker) commands(cancel context.CancelCauseFunc) {
	for {
		msg, err := w.conn.Receive()
		if err != nil {
			cancel(errAlone)
			return
		}
		if msg.Kind == link.KindStop {
			cancel(errStopped)
			continue
		}
		switch v := msg.Value.(type) {
		case link.Want:
			w.out.want(v)
		case link.Keyframe:
			w.out.keyframe(v.Codec)
		case link.Throttle:
			if w.waits() {
				w.rest.limit(v.MaxFPS)
				continue
			}
			w.limiter.throttle.Store(&throttle{fps: v.MaxFPS})
		case link.Grow:
			w.feed.grow(v)
		case link.Pause:
			w.pause(v)
		default:
			if w.session != nil && w.session.command(msg) || w.published != nil && w.published.command(msg) {
				continue
			}
			w.log.Warn("an unexpected command was ignored", "kind", msg.Kind)
		}
	}
}

// setStatus changes the status and reports it if it is another.
func (w *worker) setStatus(change func(*link.Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.status
	change(&w.status)
	if w.status == before {
		return
	}
	// Sent under the lock so that statuses arrive in order. A failed send
	// means that the link is gone, which ends the worker by its reader.
	_ = w.conn.Send(link.KindStatus, w.status)
}
