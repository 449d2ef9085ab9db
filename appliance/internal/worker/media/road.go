package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// read plays a source until it ends, as engine.Read does.
type read func(ctx context.Context, src plan.Source, h engine.Handlers) error

// road is the way of a frame, put together. It is used once.
type road struct {
	live     bool
	source   plan.Source
	read     read
	ledger   *ledger
	limiter  *limiter
	analysis *analysis
	analyse  *queue
	picture  *queue // nil: no picture is wanted
	stage    stage  // of picture
	rate     *rateMeter
	line     timeline
	own      *passage // nil: boxes are burned in
	log      *slog.Logger

	// Of a file: rest holds frames back; segments says where one ends; frames up to
	// replay were analysed by an earlier run and only bring the state back, and the
	// last of them has to be that of replayPTS.
	rest      *rest
	segments  *segments
	replay    uint64
	replayPTS time.Duration
	entered   uint64 // frames that the source gave

	// onInfo, onAnalysed and onEnd are called in order, from one goroutine each;
	// onEnd (nil: nothing) for every frame once its analysis is over, however that
	// ended, and before the picture stage may have it.
	onInfo     func(engine.Info) error
	onAnalysed func(j *job, w, h int, tracks []vision.Track) error
	onEnd      func(j *job, how fate)
	onWarning  func(string)

	position atomic.Int64 // PTS of the newest decoded frame
	duration atomic.Int64 // of the file; 0: unknown

	failure error // of the last frame that could not be analysed; for after run
}

// stage makes pictures of the frames that come in its queue.
type stage interface {
	// run works until the queue is closed or ctx is done. The error says why there
	// will be no more pictures.
	run(ctx context.Context) error
	// came is told of every frame of the source, and tells whether it is to be
	// drawn and encoded.
	came(f *engine.Frame) (wanted bool)
}

// run plays the source to its end. It returns the source's error, or that of a
// stage that could not go on, which ends the source.
func (r *road) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { r.analyseAll(ctx, cancel) })
	pictures, stopPictures := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPictures()
	if r.stage != nil {
		wg.Go(func() {
			if err := r.stage.run(pictures); err != nil {
				if r.live {
					r.log.Warn("an encoder did not end well", "error", err)
					return
				}
				cancel(err)
			}
		})
	}
	handlers := engine.Handlers{
		Info:    func(i engine.Info) { r.info(i, cancel) },
		Frame:   func(f *engine.Frame) { r.enter(ctx, f) },
		Warning: r.warning,
	}
	if r.own != nil {
		handlers.Unit, handlers.NoUnits = r.own.unit, r.own.noUnits
	}
	err := r.read(ctx, r.source, handlers)
	// The source is silent from here on: what is queued is worked off (files)
	// or thrown away (live), then the stages end.
	close(r.analyse.jobs)
	if r.picture != nil {
		close(r.picture.jobs)
	}
	if r.live || ctx.Err() != nil {
		stopPictures()
	}
	wg.Wait()
	if r.picture != nil {
		for j := range r.picture.jobs {
			j.frame.Release()
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (r *road) info(i engine.Info, fail func(error)) {
	r.rate.declare(i.FPS)
	r.duration.Store(int64(i.Duration))
	if err := r.onInfo(i); err != nil {
		fail(err)
	}
}

func (r *road) warning(w string) {
	r.ledger.decoderError()
	r.onWarning(w)
}

// enter takes a decoded frame into the road; it runs on the source's thread and
// for live sources never waits.
func (r *road) enter(ctx context.Context, f *engine.Frame) {
	if r.rest != nil {
		r.rest.pass(ctx)
	}
	r.entered++
	j := &job{
		frame: f, number: r.entered, pts: r.at(f.PTS), captured: f.Captured, entered: monotonic(),
		replayed: r.entered <= r.replay, fps: r.rate.nominal(), analysed: make(chan struct{}),
	}
	r.rate.frame()
	if r.segments != nil {
		j.ends = r.segments.ends(j.pts)
	}
	if !j.replayed {
		j.number = r.ledger.decoded()
		r.position.Store(int64(j.pts))
		if r.stage != nil && r.stage.came(f) {
			f.Retain()
			defer r.offer(ctx, j)
		}
	}
	if ok, why := r.limiter.admit(j.pts); !ok {
		if r.live {
			r.settle(j, why)
			return
		}
		// A file's boxes must not depend on who is faster: the frame keeps its
		// place in the order.
		j.pass = why
	}
	if out := r.analyse.put(ctx, j); out != nil {
		r.settle(out, dropped)
	}
}

// offer gives the picture stage a frame, with a hold on it.
func (r *road) offer(ctx context.Context, j *job) {
	if out := r.picture.put(ctx, j); out != nil {
		out.frame.Release()
		r.ledger.pictureLate()
	}
}

// at is a frame's time in this run.
func (r *road) at(pts time.Duration) time.Duration {
	if r.own != nil {
		return r.own.at(pts)
	}
	return r.line.at(pts)
}

// settle ends a frame's analysis, whatever came of it.
func (r *road) settle(j *job, f fate) {
	if !j.replayed {
		r.ledger.settle(f)
	}
	j.frame.Release()
	close(j.analysed)
}

// tooManyFailures in a row end the worker: the model does not work on this
// source, and a supervisor that knows is better than a silent picture.
const tooManyFailures = 30

// analyseAll works until the queue is closed. After a fatal error, or when the
// context is done, it goes on emptying the queue, so that a source that waits
// for room comes to its end.
func (r *road) analyseAll(ctx context.Context, fail func(error)) {
	var told time.Duration // time of the last report
	for j := range r.analyse.jobs {
		if ctx.Err() != nil {
			r.settle(j, dropped)
			continue
		}
		if j.replayed {
			if err := r.again(j); err != nil {
				fail(err)
			}
			continue
		}
		how, err := j.pass, error(nil)
		if how == inferred {
			how, err = r.analysis.frame(j.frame, j.pts)
		}
		j.tracks, j.tracked = r.analysis.tracker.At(j.pts), true
		if how == inferred || how == skippedMotion && r.own != nil && j.pts-told >= remindAfter {
			told = j.pts
			if err := r.onAnalysed(j, j.frame.Width, j.frame.Height, j.tracks); err != nil {
				fail(link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())})
			}
		}
		if r.onEnd != nil {
			r.onEnd(j, how)
		}
		r.settle(j, how)
		if err == nil {
			continue
		}
		r.failure = err
		r.log.Warn("a frame was not analysed", "frame", j.number, "error", err)
		if r.analysis.failed >= tooManyFailures {
			fail(link.Fault{Kind: link.FaultModel, Message: fmt.Sprintf(
				"%d frames in a row could not be analysed, the last because: %v", r.analysis.failed, err)})
		}
	}
}

// again takes a frame that an earlier run analysed: it only brings the state of
// what looks at every frame to where that run had it.
func (r *road) again(j *job) error {
	if j.pass == inferred {
		r.analysis.replay(j.frame, j.pts)
	}
	r.settle(j, j.pass)
	if j.number == r.replay && j.pts != r.replayPTS {
		return anew(fmt.Sprintf("frame %d was shown at %v and now is at %v", j.number, r.replayPTS, j.pts))
	}
	return nil
}

// rateMeter knows the rate that the source declares, and measures the real one.
type rateMeter struct {
	mu       sync.Mutex
	declared float64
	count    int
	since    time.Time
}

func (m *rateMeter) declare(fps float64) {
	m.mu.Lock()
	m.declared = fps
	m.mu.Unlock()
}

func (m *rateMeter) frame() {
	m.mu.Lock()
	m.count++
	m.mu.Unlock()
}

// take returns the frames a second since the last call.
func (m *rateMeter) take(now time.Time) (fps float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := now.Sub(m.since).Seconds(); d > 0 && !m.since.IsZero() {
		fps = float64(m.count) / d
	}
	m.count, m.since = 0, now
	return fps
}

// nominal is the rate to plan with, never zero.
func (m *rateMeter) nominal() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.declared >= 1 && m.declared <= 240 {
		return m.declared
	}
	return 30
}

// faultOf is the typed form of a source's error.
func faultOf(err error) link.Fault {
	var fault link.Fault
	if errors.As(err, &fault) {
		return fault
	}
	var e *engine.Error
	if errors.As(err, &e) {
		return link.Fault{Kind: link.FaultKind(e.Kind), Message: oneLine(e.Message)}
	}
	return link.Fault{Kind: link.FaultInternal, Message: oneLine(err.Error())}
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
