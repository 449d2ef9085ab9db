package media

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// fileDepth bounds the frames between two stages of a file's road: enough to
// keep each stage busy while another has a slow frame.
const fileDepth = 4

// fileRoad analyses every frame of a file and writes the results folder.
func (w *worker) fileRoad(ctx context.Context) error {
	began := time.Now()
	res, err := newResults(w.start.OutDir)
	if err != nil {
		return link.Fault{Kind: link.FaultOutput, Message: err.Error()}
	}
	defer res.abandon()
	w.results.Store(res)
	an, err := w.newAnalysis()
	if err != nil {
		return err
	}
	defer an.close()
	w.analysis.Store(an)

	var hash, modelHash fileHash
	var hashing sync.WaitGroup
	hashing.Go(func() {
		hash = hashFile(ctx, w.start.Source.URL)
		if an.modelFile != "" {
			modelHash = hashFile(ctx, an.modelFile)
		}
	})
	defer hashing.Wait()

	r, err := w.fileParts(an, res)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.road = r
	w.mu.Unlock()

	err = r.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := w.verdict(err, res); err != nil {
		return err
	}
	hashing.Wait()
	if hash.err != nil {
		return link.Fault{Kind: link.FaultDamaged, Message: fmt.Sprintf("the source could not be read again to be hashed: %v", hash.err)}
	}
	if modelHash.err != nil {
		return link.Fault{Kind: link.FaultModel, Message: fmt.Sprintf("the model could not be read again to be hashed: %v", modelHash.err)}
	}
	return w.finish(res, hash, modelHash, time.Since(began))
}

// verdict tells whether what the road left is a result, and if not, why. err is
// the road's.
func (w *worker) verdict(err error, res *results) error {
	l := w.ledger.snapshot()
	if err != nil {
		fault := faultOf(err)
		if l.Decoded == 0 || fault.Kind == link.FaultOutput || fault.Kind == link.FaultModel {
			return fault
		}
		// What could be decoded stands; the summary says what was wrong.
		res.warn("the file could not be read to its end: " + fault.Message)
	}
	switch {
	case l.Decoded == 0:
		return link.Fault{Kind: link.FaultDamaged, Message: "no frame could be decoded: the file is damaged or has no picture in it"}
	case l.Inferred == 0 && l.Failed > 0:
		return link.Fault{Kind: link.FaultModel, Message: oneLine(fmt.Sprintf(
			"no frame could be analysed, the last because: %v", w.road.failure))}
	}
	return nil
}

// fileParts puts the road of a file together.
func (w *worker) fileParts(an *analysis, res *results) (*road, error) {
	r := &road{
		source: w.planSource(), read: w.play, ledger: &w.ledger, limiter: &w.limiter,
		analysis: an, analyse: newQueue(fileDepth, false), rate: &w.rate, log: w.log,
		onInfo: func(i engine.Info) {
			res.info(i)
			w.playing(i)
		},
		onAnalysed: func(j *job, width, height int, tracks []vision.Track) error {
			return res.add(detections(j, width, height, tracks))
		},
		onWarning: func(text string) {
			w.decodeWarning(text)
			res.warn(text)
		},
	}
	if w.start.NoVideo {
		return r, nil
	}
	artist, err := draw.New()
	if err != nil {
		return nil, err
	}
	w.out.path, w.out.send = filepath.Join(w.start.OutDir, annotatedName+partSuffix), nil
	r.picture = newQueue(fileDepth, false)
	r.stage = w.pictureStage(artist, r.picture, an.tracker.At)
	r.stage.patient = true
	r.stage.slate.never()
	return r, nil
}

// finish makes the results complete, in this order: each file synced under its
// name, and the summary, which says that they are complete, last.
func (w *worker) finish(res *results, hash, modelHash fileHash, took time.Duration) error {
	l := w.ledger.snapshot()
	if !l.Balanced() {
		return fmt.Errorf("the frame ledger does not balance: %+v", l)
	}
	w.mu.Lock()
	status := w.status
	w.mu.Unlock()
	s := summary{
		Source: sourceSummary{
			Name: filepath.Base(w.start.Source.URL), Bytes: hash.bytes, SHA256: hash.sum,
			Codec: status.Stream.Codec, Width: status.Stream.Width, Height: status.Stream.Height,
			FPS: status.Stream.FPS, Rotation: status.Stream.Rotation, Decoder: status.Stream.Decoder,
			Seconds: time.Duration(w.road.position.Load()).Seconds(),
		},
		Analyser: status.Analyser, Runtime: status.Runtime, Encoder: status.Encoder,
		Settings: settings{
			Threshold: w.road.analysis.threshold, Classes: w.start.Classes, Gate: w.road.analysis.gate, MaxFPS: w.start.MaxFPS,
		},
		Ledger: ledgerSummary{Ledger: l, Balanced: true},
		Timing: timing{Seconds: took.Seconds(), FPS: float64(l.Decoded) / took.Seconds()},
	}
	if modelHash.sum != "" {
		s.Model = &modelSummary{Name: status.Analyser, SHA256: modelHash.sum}
	}
	if err := res.finish(s, !w.start.NoVideo); err != nil {
		return link.Fault{Kind: link.FaultOutput, Message: err.Error()}
	}
	return nil
}

func (w *worker) filePosition() (at, whole time.Duration) {
	w.mu.Lock()
	r := w.road
	w.mu.Unlock()
	if r == nil {
		return 0, 0
	}
	return time.Duration(r.position.Load()), time.Duration(r.duration.Load())
}

// warnings are what was wrong with a file that could be analysed all the same.
func (w *worker) warnings() []string {
	if res := w.results.Load(); res != nil {
		return res.listWarnings()
	}
	return nil
}
