package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/movie"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// fileRun is one attempt at a file: the road, and the keeping of its results.
//
// At the end of each segment the state of the analysis is taken by the analysis
// itself and travels with the frame: to the recorder, which adds how far the video
// is, and to the keeper, which writes the checkpoint. No stage waits for another.
type fileRun struct {
	w        *worker
	an       *analysis
	folder   *results.Folder
	recorder *recorder // nil: no video
	began    time.Time

	work    results.Work
	source  results.SourceID
	form    string // of the stream, the last that was told
	decoder string // of the first frame

	tally       link.Ledger // as of the last frame that the analysis had
	checkpoints chan results.Checkpoint

	failing sync.Mutex
	failure error
	cancel  context.CancelCauseFunc // of the road, once it runs
}

// fail ends the road with its first error.
func (f *fileRun) fail(err error) {
	f.failing.Lock()
	defer f.failing.Unlock()
	if f.failure == nil {
		f.failure = err
	}
	if f.cancel != nil {
		f.cancel(err)
	}
}

// run plays the file and makes its results whole. The folder's log is open still
// when it fails.
func (f *fileRun) run(ctx context.Context) error {
	w := f.w
	if from := f.folder.From; from != nil {
		if from.Summary != nil {
			return f.finishAgain(ctx)
		}
		if err := f.resume(from); err != nil {
			return err
		}
	}
	r, err := f.parts()
	if f.recorder != nil {
		defer f.recorder.close()
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.road = r
	w.mu.Unlock()
	hash := f.hash(ctx)
	defer hash.stop()

	err = f.play(ctx, r)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var again anew
	switch {
	case errors.As(err, &again):
		return again
	case r.entered < r.replay:
		return anew(fmt.Sprintf("the file gave %d frames before, and now %d", r.replay, r.entered))
	}
	if err := w.verdict(err); err != nil {
		return err
	}
	source, err := hash.wait(ctx)
	if err != nil {
		return err
	}
	return f.finish(ctx, source)
}

// resume puts everything but the motion analyser, which the frames will teach again,
// into the state of a checkpoint.
func (f *fileRun) resume(from *results.Checkpoint) error {
	if err := f.an.tracker.Restore(from.Tracker); err != nil {
		return anew(err.Error())
	}
	f.an.failed = from.Failed
	f.tally = from.Ledger
	f.w.ledger.restore(from.Ledger)
	f.w.log.Info("the analysis goes on", "frame", from.Frame, "results", from.Log.Seq)
	return nil
}

// play runs the road, with a keeper of checkpoints beside it, and a feed if the
// file is still to arrive.
func (f *fileRun) play(ctx context.Context, r *road) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.failing.Lock()
	f.cancel = cancel
	failed := f.failure
	f.failing.Unlock()
	if failed != nil {
		return failed // the log, before the road began
	}
	var feeding sync.WaitGroup
	pouring, stopPouring := context.WithCancel(ctx)
	if f.w.start.Feed != nil {
		fd, poured, err := f.w.feed.pipe(pouring, plan.FilePath(r.source.URL))
		if err != nil {
			stopPouring()
			return link.Fault{Kind: link.FaultNotFound, Message: oneLine(err.Error())}
		}
		r.source.FD = fd
		feeding.Go(func() {
			if err := <-poured; err != nil {
				f.fail(link.Fault{Kind: link.FaultDamaged, Message: oneLine(err.Error())})
			}
		})
	}
	var keeping sync.WaitGroup
	keeping.Go(func() {
		for c := range f.checkpoints {
			if err := f.folder.Save(c); err != nil {
				f.fail(link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())})
			}
		}
	})
	err := r.run(ctx)
	stopPouring()
	feeding.Wait()
	close(f.checkpoints)
	keeping.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// info takes note of the stream. Before the first frame of an analysis that begins
// there is a checkpoint, so that lines of the log always have one to go with.
func (f *fileRun) info(i engine.Info) error {
	first := f.form == ""
	f.sizes(i)
	f.w.playing(i)
	if !first {
		return nil
	}
	f.decoder = i.Decoder
	if from := f.folder.From; from != nil {
		if from.Decoder != i.Decoder {
			return anew(fmt.Sprintf("%s decoded it before, and now %s does", from.Decoder, i.Decoder))
		}
		return nil
	}
	if err := f.folder.Save(f.state(0, 0)); err != nil {
		return link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())}
	}
	return nil
}

// end takes the state of the analysis behind a frame that ends a segment.
func (f *fileRun) end(j *job, how fate) {
	f.tally.Decoded++
	count(&f.tally, how)
	if !j.ends {
		return
	}
	c := f.state(j.number, j.pts)
	if f.recorder != nil {
		j.state = &c
		return
	}
	f.checkpoints <- c
}

// state is a checkpoint behind frame, without the recording.
func (f *fileRun) state(frame uint64, pts time.Duration) results.Checkpoint {
	c := results.Checkpoint{
		Work: f.work, Source: f.w.sourceID(), Decoder: f.decoder, Frame: frame, PTS: pts,
		Log: f.folder.Log.At(), Ledger: f.tally, Failed: f.an.failed, Tracker: f.an.tracker.Snapshot(),
		Spent: time.Since(f.began), Runs: 1,
	}
	if from := f.folder.From; from != nil {
		c.Spent += from.Spent
		c.Runs += from.Runs
	}
	return c
}

// finish makes the results complete.
func (f *fileRun) finish(ctx context.Context, source fileHash) error {
	w := f.w
	l := w.ledger.snapshot()
	if !l.Balanced() || l.Pending != 0 {
		return fmt.Errorf("the frame ledger does not balance: %+v", l)
	}
	if n := f.folder.Log.Differs(); n > 0 {
		w.warnings.add(fmt.Sprintf("after a restart %d frames were analysed otherwise than before: what was told of them first stands", n))
	}
	w.mu.Lock()
	status := w.status
	w.mu.Unlock()
	c := f.state(l.Decoded, time.Duration(w.road.position.Load()))
	c.Ledger = l
	c.Source = results.SourceID{Bytes: source.bytes, SHA256: source.sum}
	s := &results.Summary{
		Format: results.Format,
		Source: results.Source{
			Name: w.start.Title, Bytes: source.bytes, SHA256: source.sum,
			Codec: status.Stream.Codec, Width: status.Stream.Width, Height: status.Stream.Height,
			FPS: status.Stream.FPS, Rotation: status.Stream.Rotation, Decoder: status.Stream.Decoder,
			Seconds: time.Duration(w.road.position.Load()).Seconds(),
		},
		Analyser: f.work.Analyser, Runtime: f.work.Runtime, Settings: f.work.Settings,
		Ledger:   results.Ledger{Ledger: l, Balanced: true},
		Timing:   results.Timing{Seconds: c.Spent.Seconds(), FPS: float64(l.Decoded) / c.Spent.Seconds(), Runs: c.Runs},
		Warnings: w.warnings.list(),
	}
	if s.Source.Name == "" {
		s.Source.Name = filepath.Base(plan.FilePath(w.start.Source.URL))
	}
	if f.work.Model != "" {
		s.Model = &results.Model{Name: f.work.Analyser, SHA256: f.work.Model}
	}
	if f.recorder != nil {
		rec, err := f.recorder.mark()
		if err != nil {
			return faultOfRecording(err)
		}
		if c.Recording = rec; rec != nil {
			s.Encoder = rec.Encoder
		}
	}
	c.Summary = s
	return f.complete(ctx, c)
}

// complete makes the files of a complete analysis, and gives them their names.
func (f *fileRun) complete(ctx context.Context, c results.Checkpoint) error {
	var video func(context.Context, string) error
	if f.recorder != nil && c.Recording != nil {
		video = f.recorder.finish
	}
	if _, err := f.folder.Finish(ctx, c, video); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return link.Fault{Kind: link.FaultOutput, Message: oneLine(err.Error())}
	}
	return nil
}

// finishAgain makes the results whole of an analysis that was complete when it was
// cut.
func (f *fileRun) finishAgain(ctx context.Context) error {
	c := *f.folder.From
	f.w.log.Info("the analysis is complete; its files are made", "results", c.Log.Seq)
	f.w.ledger.restore(c.Summary.Ledger.Ledger)
	for _, text := range c.Summary.Warnings {
		f.w.warnings.add(text)
	}
	if c.Recording != nil {
		var m movie.Mark
		err := json.Unmarshal(c.Recording.Mark, &m)
		if err == nil {
			f.recorder = &recorder{}
			f.recorder.movie, err = movie.Reopen(f.folder.RecordingPath(), m)
		}
		if err != nil {
			return anew(err.Error())
		}
		defer f.recorder.close()
	}
	return f.complete(ctx, c)
}

// sourceHash is the source's hash in the making.
type sourceHash struct {
	f    *fileRun
	end  context.CancelFunc
	done chan struct{} // closed when got is there
	got  fileHash
}

// hash begins to find out what the source is known by, beside the analysis. Where
// that was told, it costs nothing; a file that is arriving is hashed when it is
// whole, if nobody tells its hash.
func (f *fileRun) hash(ctx context.Context) *sourceHash {
	ctx, end := context.WithCancel(ctx)
	h := &sourceHash{f: f, end: end, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		if f.w.start.Feed != nil {
			if _, err := f.w.feed.whole(ctx); err != nil {
				h.got.err = err
				return
			}
		}
		if id := f.w.sourceID(); id.SHA256 != "" {
			h.got = fileHash{sum: id.SHA256, bytes: id.Bytes}
			return
		}
		h.got = hashFile(ctx, plan.FilePath(f.w.start.Source.URL))
	}()
	return h
}

func (h *sourceHash) stop() {
	h.end()
	<-h.done
}

func (h *sourceHash) wait(ctx context.Context) (fileHash, error) {
	<-h.done
	if cause := context.Cause(ctx); cause != nil {
		return h.got, cause
	}
	if h.got.err != nil {
		return h.got, link.Fault{Kind: link.FaultDamaged, Message: oneLine(fmt.Sprintf("the source could not be read again to be hashed: %v", h.got.err))}
	}
	return h.got, nil
}
