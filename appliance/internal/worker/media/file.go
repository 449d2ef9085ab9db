package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// fileDepth bounds the frames between two stages of a file's road: enough to
// keep each stage busy while another has a slow frame.
const fileDepth = 4

// anew is why an analysis that was to go on cannot: it has to begin again.
type anew string

func (a anew) Error() string { return string(a) }

// fileRoad analyses every frame of a file and fills the results folder. What it
// committed stays there, whatever becomes of it.
func (w *worker) fileRoad(ctx context.Context) error {
	began := time.Now()
	if w.start.Feed != nil {
		w.feed.grow(*w.start.Feed)
	}
	if err := os.MkdirAll(w.start.OutDir, 0o755); err != nil {
		return link.Fault{Kind: link.FaultOutput, Message: oneLine(fmt.Sprintf("make the results folder: %v", err))}
	}
	err := w.fileWork(ctx, w.start.Resume, began)
	var again anew
	if errors.As(err, &again) {
		w.log.Warn("the analysis begins anew, for it cannot go on", "reason", again)
		w.ledger.restore(link.Ledger{})
		w.limiter.next = 0
		w.warnings.clear()
		err = w.fileWork(ctx, false, began)
	}
	return err
}

// fileWork is one attempt at a file. An error that is anew asks for another, without
// resume.
func (w *worker) fileWork(ctx context.Context, resume bool, began time.Time) error {
	an, err := w.newAnalysis()
	if err != nil {
		return err
	}
	defer an.close()
	w.analysis.Store(an)
	f := &fileRun{w: w, an: an, began: began, checkpoints: make(chan results.Checkpoint, 1)}
	if err := f.identify(ctx); err != nil {
		return err
	}
	folder, err := results.Open(w.start.OutDir, results.Plan{
		Resume: resume, Work: f.work, Source: f.source,
		Committed: func(p results.Position) {
			// A failed send means a closed link; the link's reader ends the worker.
			_ = w.conn.Send(link.KindCommitted, link.Committed{Seq: p.Seq, Bytes: p.Bytes})
		},
		Failed: func(err error) { f.fail(link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())}) },
	})
	if errors.Is(err, results.ErrComplete) {
		return w.complete()
	}
	if err != nil {
		return link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())}
	}
	f.folder = folder
	if folder.Anew != "" {
		w.log.Warn("the analysis begins anew, for it cannot go on", "reason", folder.Anew)
	}
	if err := f.run(ctx); err != nil {
		_ = folder.Close() // what failed first counts
		return err
	}
	return nil
}

// complete reports results that are there already.
func (w *worker) complete() error {
	s, err := results.ReadSummary(w.start.OutDir)
	if err != nil {
		return link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())}
	}
	w.ledger.restore(s.Ledger.Ledger)
	for _, text := range s.Warnings {
		w.warnings.add(text)
	}
	size := int64(0)
	if info, err := os.Stat(filepath.Join(w.start.OutDir, results.DetectionsName)); err == nil {
		size = info.Size()
	}
	return w.conn.Send(link.KindCommitted, link.Committed{Seq: s.Results, Bytes: size})
}

// identify finds out what work this is, and on what.
func (f *fileRun) identify(ctx context.Context) error {
	w, an, p := f.w, f.an, f.w.start.Picture
	w.mu.Lock()
	status := w.status
	w.mu.Unlock()
	f.work = results.Work{Format: results.Format, Analyser: status.Analyser, Runtime: status.Runtime, Settings: results.Settings{
		Threshold: an.threshold, Classes: w.start.Classes, Gate: an.gate, MaxFPS: w.start.MaxFPS,
		Track: w.start.Source.Track, Streamed: w.start.Feed != nil, Video: !w.start.NoVideo, Threads: w.start.Threads,
	}}
	s := &f.work.Settings
	if s.Video {
		s.Bitrate, s.MaxHeight, s.KeyframeInterval = p.Bitrate, p.MaxHeight, p.KeyframeInterval.Seconds()
	}
	if an.modelFile != "" {
		s.ModelThreads = modelThreads(w.start.Threads)
		hash := hashFile(ctx, an.modelFile)
		if hash.err != nil {
			return link.Fault{Kind: link.FaultModel, Message: oneLine(fmt.Sprintf("the model could not be read to be hashed: %v", hash.err))}
		}
		f.work.Model = hash.sum
	}
	f.source = w.sourceID()
	return nil
}

// sourceID is what is known of the source before it is read.
func (w *worker) sourceID() results.SourceID {
	id := results.SourceID{SHA256: w.start.SHA256}
	if w.start.Feed != nil {
		if have, _ := w.feed.state(); have.Complete {
			id.Bytes = have.Bytes
			if have.SHA256 != "" {
				id.SHA256 = have.SHA256
			}
		}
	} else if info, err := os.Stat(plan.FilePath(w.start.Source.URL)); err == nil {
		id.Bytes = info.Size()
	}
	return id
}

// parts puts the road of a file together.
func (f *fileRun) parts() (*road, error) {
	w := f.w
	r := &road{
		source: w.planSource(), read: w.play, ledger: &w.ledger, limiter: &w.limiter,
		analysis: f.an, analyse: newQueue(fileDepth, false), rate: &w.rate, log: w.log,
		rest: &w.rest, segments: newSegments(w.cfg.SegmentFrames),
		onInfo: f.info,
		onAnalysed: func(j *job, width, height int, tracks []vision.Track) error {
			d := detections(j, width, height, tracks)
			_, err := f.folder.Log.Add(results.Line{
				Frame: d.Frame, Seconds: d.PTS.Seconds(), Width: d.Width, Height: d.Height, Objects: d.Objects,
			})
			return err
		},
		onEnd: f.end,
		onWarning: func(text string) {
			w.decodeWarning(text)
			w.warnings.add(text)
		},
	}
	if from := f.folder.From; from != nil {
		r.replay, r.replayPTS = from.Frame, from.PTS
		r.position.Store(int64(from.PTS))
	}
	if w.start.NoVideo {
		return r, nil
	}
	r.picture = newQueue(fileDepth, false)
	if err := f.record(r.picture); err != nil {
		return nil, err
	}
	r.stage = f.recorder
	return r, nil
}

// record makes the recorder of the annotated video, which takes pictures from q.
func (f *fileRun) record(q *queue) error {
	artist, err := draw.New()
	if err != nil {
		return err
	}
	w := f.w
	f.recorder = &recorder{
		queue: q, artist: artist, profile: w.start.Picture, threads: w.start.Threads, ledger: &w.ledger, spent: &w.out.spent,
		path: f.folder.RecordingPath(), started: w.out.started,
		segment: func(c results.Checkpoint) error { f.checkpoints <- c; return nil },
	}
	if f.folder.From != nil {
		return f.recorder.reopen(f.folder.From)
	}
	return nil
}

// verdict tells whether what the road left is a result, and if not, why. err is
// the road's.
func (w *worker) verdict(err error) error {
	l := w.ledger.snapshot()
	if err != nil {
		fault := faultOf(err)
		if l.Decoded == 0 || fault.Kind == link.FaultOutput || fault.Kind == link.FaultModel {
			return fault
		}
		// What could be decoded stands; the summary says what was wrong.
		w.warnings.add("the file could not be read to its end: " + fault.Message)
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

// pause has a file's analysis rest, or go on.
func (w *worker) pause(p link.Pause) {
	w.rest.pause(p.On)
	w.setStatus(func(s *link.Status) {
		s.Reason = ""
		if p.On {
			s.Reason = "paused"
			if p.Reason != "" {
				s.Reason = "paused: " + oneLine(p.Reason)
			}
		}
	})
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

// sizes notes a stream that changes on the way.
func (f *fileRun) sizes(i engine.Info) {
	form := fmt.Sprintf("%s %dx%d", i.Codec, i.Width, i.Height)
	if f.form != "" && f.form != form {
		f.w.warnings.add("the stream changed to " + form)
	}
	f.form = form
}
