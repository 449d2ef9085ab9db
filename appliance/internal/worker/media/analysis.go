package media

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/motion"
	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/gst/engine"
)

// detector is a model that looks at scaled pictures.
type detector interface {
	// InputSize is the size of the picture that Detect wants of such a frame.
	InputSize(frameW, frameH int) (w, h int)
	// Detect returns what is in the picture, in pixels of the frame.
	Detect(img vision.RGB, frameW, frameH int) ([]vision.Detection, error)
	Close() error
}

// analysis is the model's side of the road: gate, scale, detect, track. One
// goroutine calls frame; the meters may be read from any.
type analysis struct {
	detector detector // nil: the motion analyser alone
	gate     bool
	motion   *motion.Model
	scaler   *engine.Scaler
	tracker  *track.Tracker

	runtime   io.Closer // of the detector, closed after it; may be nil
	modelFile string    // of the detector
	threshold float32   // least score of its detections

	spent  meanTime // time in frame, for the frames that were inferred
	busy   stint
	failed int // failures in a row
}

// frame analyses one frame and updates the tracker.
func (a *analysis) frame(f *engine.Frame, pts time.Duration) (fate, error) {
	a.busy.begin()
	defer a.busy.end()
	began := time.Now()
	var moved motion.Result
	if a.motion != nil {
		moved = a.motion.Update(f.Planes[0], f.Stride[0], f.Width, f.Height, pts)
	}
	if a.detector == nil {
		a.tracker.SetFrame(f.Width, f.Height)
		a.tracker.Update(pts, motion.Detections(moved))
		a.spent.add(time.Since(began))
		return inferred, nil
	}
	if a.gate && !moved.Moving {
		a.tracker.Keep(pts)
		return skippedMotion, nil
	}
	found, err := a.detect(f)
	if err != nil {
		a.failed++
		return failed, err
	}
	a.failed = 0
	a.tracker.SetFrame(f.Width, f.Height)
	a.tracker.Update(pts, found)
	a.spent.add(time.Since(began))
	return inferred, nil
}

// replay looks at a frame that frame analysed in an earlier run: what it was found
// to hold is known, but the background of motion has to be learnt again.
func (a *analysis) replay(f *engine.Frame, pts time.Duration) {
	if a.motion != nil {
		a.motion.Update(f.Planes[0], f.Stride[0], f.Width, f.Height, pts)
	}
}

func (a *analysis) detect(f *engine.Frame) ([]vision.Detection, error) {
	w, h := a.detector.InputSize(f.Width, f.Height)
	small, err := a.scaler.Scale(f, w, h)
	if err != nil {
		return nil, fmt.Errorf("scale a %dx%d frame to %dx%d: %w", f.Width, f.Height, w, h, err)
	}
	defer small.Release()
	img := vision.RGB{Width: small.Width, Height: small.Height, Stride: small.Stride[0], Pix: small.Planes[0]}
	return a.detector.Detect(img, f.Width, f.Height)
}

func (a *analysis) close() error {
	if a.scaler != nil {
		a.scaler.Close()
	}
	var errs []error
	if a.detector != nil {
		errs = append(errs, a.detector.Close())
	}
	if a.runtime != nil {
		errs = append(errs, a.runtime.Close())
	}
	return errors.Join(errs...)
}

// limiter thins the frames that are analysed to a rate, in the source's own
// time, so that a burst does not count as a wait.
type limiter struct {
	configured float64
	throttle   atomic.Pointer[throttle]
	next       time.Duration
}

type throttle struct {
	fps float64
}

// admit says whether the frame at pts is to be analysed, and if not, why.
func (l *limiter) admit(pts time.Duration) (ok bool, why fate) {
	fps, why := l.configured, skippedRate
	if t := l.throttle.Load(); t != nil && t.fps > 0 && (fps == 0 || t.fps < fps) {
		fps, why = t.fps, skippedHeat
	}
	if fps <= 0 {
		return true, inferred
	}
	interval := time.Duration(float64(time.Second) / fps)
	// Slack, so that 10 fps of a 30 fps source are every third frame in spite of
	// jitter.
	if l.next-pts > interval {
		l.next = pts // the limit was changed
	}
	if pts+interval/8 < l.next {
		return false, why
	}
	l.next = max(l.next+interval, pts+interval/2)
	return true, inferred
}

// meanTime is the mean of the durations since it was last read.
type meanTime struct{ sum, count atomic.Int64 }

func (m *meanTime) add(d time.Duration) { m.sum.Add(int64(d)); m.count.Add(1) }

func (m *meanTime) take() (mean time.Duration, count int64) {
	s, c := m.sum.Swap(0), m.count.Swap(0)
	if c == 0 {
		return 0, 0
	}
	return time.Duration(s / c), c
}
