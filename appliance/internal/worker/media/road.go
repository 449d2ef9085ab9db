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
	stage    *pictureStage
	rate     *rateMeter
	line     timeline
	own      *passage // nil: boxes are burned in
	log      *slog.Logger

	// onInfo and onAnalysed are called in order, from one goroutine each.
	onInfo     func(engine.Info)
	onAnalysed func(j *job, w, h int, tracks []vision.Track) error
	onWarning  func(string)

	position atomic.Int64 // PTS of the newest decoded frame
	duration atomic.Int64 // of the file; 0: unknown

	failure error // of the last frame that could not be analysed; for after run
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
					r.stage.onError(err)
					return
				}
				cancel(link.Fault{Kind: link.FaultOutput, Message: oneLine(fmt.Sprintf("write %s: %v", annotatedName, err))})
			}
		})
	}
	handlers := engine.Handlers{
		Info:    r.info,
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

func (r *road) info(i engine.Info) {
	r.rate.declare(i.FPS)
	r.duration.Store(int64(i.Duration))
	r.onInfo(i)
}

func (r *road) warning(w string) {
	r.ledger.decoderError()
	r.onWarning(w)
}

// enter takes a decoded frame into the road; it runs on the source's thread and
// for live sources never waits.
func (r *road) enter(ctx context.Context, f *engine.Frame) {
	number := r.ledger.decoded()
	r.rate.frame()
	j := &job{frame: f, number: number, pts: r.at(f.PTS), captured: f.Captured, entered: monotonic(), analysed: make(chan struct{})}
	r.position.Store(int64(j.pts))
	if r.stage != nil {
		r.stage.slate.frameCame(time.Now(), f.Width, f.Height)
	}
	if r.picture != nil && r.stage.out.drawn() {
		f.Retain()
		defer func() {
			if out := r.picture.put(ctx, j); out != nil {
				out.frame.Release()
				r.ledger.pictureLate()
			}
		}()
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

// at is a frame's time in this run.
func (r *road) at(pts time.Duration) time.Duration {
	if r.own != nil {
		return r.own.at(pts)
	}
	return r.line.at(pts)
}

// settle ends a frame's analysis, whatever came of it.
func (r *road) settle(j *job, f fate) {
	r.ledger.settle(f)
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
