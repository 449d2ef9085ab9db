package media

import (
	"errors"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// job is one decoded frame on its way through the road. The analysis and the
// picture stage each hold a reference on the frame.
type job struct {
	frame    *engine.Frame
	number   uint64        // counts decoded frames from 1
	pts      time.Duration // in this run's time
	captured int64         // CLOCK_MONOTONIC, ns
	entered  int64         // when it came from the decoder, on the same clock
	fps      float64       // what the source declared by then, or a usual rate
	replayed bool          // an earlier run had it: it only brings the state back (files)
	ends     bool          // it is the last of its segment (files)
	pass     fate          // not inferred: the analysis only passes the frame on (files)
	analysed chan struct{} // closed once the analysis is through with the frame
	// tracks are those at this frame, if tracked: if it went through the analysis.
	// Both are set before analysed is closed.
	tracks  []vision.Track
	tracked bool
	// state is that of the analysis after this frame, if it ends a segment and the
	// analysis had it. Set before analysed is closed.
	state *results.Checkpoint
}

func (j *job) isAnalysed() bool {
	select {
	case <-j.analysed:
		return true
	default:
		return false
	}
}

// picture is the frame as vision sees it; valid while the frame is held.
func picture(f *engine.Frame) vision.Picture {
	p := vision.Picture{Width: f.Width, Height: f.Height, Planes: f.Planes, Stride: f.Stride}
	if f.Format == plan.NV12 {
		p.Format = vision.NV12
	}
	return p
}

// exclusive makes a frame that may be drawn on out of one that may be shared: the
// same one where it can be, a copy where the analysis still reads it. It takes
// over f.
func exclusive(f *engine.Frame) (*engine.Frame, error) {
	err := f.Writable()
	if err == nil {
		return f, nil
	}
	defer f.Release()
	if !errors.Is(err, engine.ErrRetained) {
		return nil, err
	}
	return f.Copy()
}
