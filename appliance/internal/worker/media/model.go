package media

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/appliance/internal/vision/motion"
	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/hw/accel"
)

// motionName is the analyser that needs no model.
const motionName = "motion"

// newAnalysis makes the analyser that Start asks for and reports which it is.
func (w *worker) newAnalysis() (*analysis, error) {
	if w.start.Model == "" {
		tracker, err := track.New(track.Config{High: 0.1, Low: 0.05})
		if err != nil {
			return nil, err
		}
		still, err := motion.New(motion.Config{})
		if err != nil {
			return nil, err
		}
		w.setStatus(func(s *link.Status) { s.Analyser = motionName })
		return &analysis{motion: still, tracker: tracker}, nil
	}
	a, err := w.newModelAnalysis()
	if err != nil {
		return nil, link.Fault{Kind: link.FaultModel, Message: oneLine(fmt.Sprintf("model %s: %v", w.start.Model, err))}
	}
	return a, nil
}

func (w *worker) newModelAnalysis() (a *analysis, err error) {
	m, err := model.Read(w.start.Model)
	if err != nil {
		return nil, err
	}
	rt, err := accel.Open(accel.Find(w.cfg.DataDir))
	if err != nil {
		return nil, err
	}
	a = &analysis{runtime: rt, scaler: engine.NewScaler(), gate: w.start.Gate, modelFile: m.Path}
	defer func() {
		if err != nil {
			a, err = nil, errors.Join(err, a.close())
		}
	}()
	// The tracker needs the weak detections too: they continue tracks that
	// nothing better continues (ByteTrack's second stage), but start none.
	high := w.start.Threshold
	if high == 0 {
		high = m.Card.Threshold
	}
	a.threshold = high
	low := weakest(high)
	d, err := model.NewDetector(rt, m, model.Options{Threads: modelThreads(w.start.Threads), Threshold: low, Classes: w.start.Classes})
	if err != nil {
		return a, err
	}
	a.detector = d
	if a.tracker, err = track.New(track.Config{High: high, Low: low}); err != nil {
		return a, err
	}
	if a.gate {
		if a.motion, err = motion.New(motion.Config{}); err != nil {
			return a, err
		}
	}
	w.setStatus(func(s *link.Status) { s.Analyser, s.Runtime = m.Name, d.Provider() })
	return a, nil
}

// weakest is the score from which a detection may continue a track. Half of
// what is needed to start one: lower scores carry tracks on that a user, who set
// the threshold, takes for mistakes.
func weakest(threshold float32) float32 {
	return min(max(threshold/2, 0.05), threshold)
}

// modelThreads is how many threads the model gets where nobody says: half of
// the processors, for decoding and encoding want theirs. A small detector gains
// little from a second one (YOLOX-nano on two cores: 5 %) and costs a third
// more processor time with it.
func modelThreads(asked int) int {
	if asked > 0 {
		return asked
	}
	return max(1, runtime.NumCPU()/2)
}
