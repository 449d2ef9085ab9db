package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/movie"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
)

// recorder makes a file's annotated video. Every picture waits for its own frame's
// analysis, however long that takes. Each segment has an encoder of its own, made as
// the first was, so that what it puts out depends on its pictures alone; a picture of
// another size is scaled to that of the first.
type recorder struct {
	queue   *queue
	artist  *draw.Artist
	profile link.Picture
	threads int
	ledger  *ledger
	spent   *meanTime
	// started is told of the encoder's element, segment of each segment that is on
	// disk: the state of the analysis at its end, recording included.
	started func(element string)
	segment func(results.Checkpoint) error

	path    string
	made    results.Recording // how; Encoder is empty before the first picture
	movie   *movie.Writer     // nil before the first picture
	encoder *engine.Encoder   // of this segment; nil between two

	sent, late uint64 // pictures that are in the video, and that an encoder left out

	// inside are the pictures that the encoder has, oldest first: if it gives up, the
	// next one gets them.
	inside []*engine.Frame
	gone   []string // elements that gave up

	mu    sync.Mutex
	units []engine.Unit // out of the encoder, not in the video yet
}

// reopen goes on with a recording where a checkpoint had it.
func (r *recorder) reopen(c *results.Checkpoint) error {
	if c.Recording == nil {
		return nil
	}
	var m movie.Mark
	if err := json.Unmarshal(c.Recording.Mark, &m); err != nil {
		return anew(fmt.Sprintf("the recording's mark is damaged: %v", err))
	}
	w, err := movie.Reopen(r.path, m)
	if err != nil {
		return anew(err.Error())
	}
	r.movie, r.made = w, *c.Recording
	r.sent, r.late = c.Ledger.PicturesSent, c.Ledger.PicturesLate
	return nil
}

// came wants every picture.
func (r *recorder) came(*engine.Frame) bool { return true }

// run ends when the queue is closed, with all that came in it in the video, or when
// ctx is done, or with the first picture that cannot be written: a recording with a
// hole is none.
func (r *recorder) run(ctx context.Context) (err error) {
	defer func() {
		err = errors.Join(err, r.stop())
		r.letGo()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case j, ok := <-r.queue.jobs:
			if !ok {
				return faultOfRecording(r.endSegment())
			}
			if err := r.record(ctx, j); err != nil {
				return faultOfRecording(err)
			}
		}
	}
}

// faultOfRecording is an error as the control process is told of it.
func faultOfRecording(err error) error {
	var again anew
	if err == nil || errors.As(err, &again) {
		return err
	}
	err = results.Explain(err)
	return link.Fault{Kind: link.FaultOutput, Message: oneLine(fmt.Sprintf("write %s: %v", results.AnnotatedName, err))}
}

// record draws, encodes and writes one picture.
func (r *recorder) record(ctx context.Context, j *job) error {
	select {
	case <-j.analysed:
	case <-ctx.Done():
	}
	if !j.isAnalysed() || !j.tracked {
		j.frame.Release() // the end came before its analysis
		return nil
	}
	f, err := overlaid(r.artist, j, j.tracks)
	if err != nil {
		return err
	}
	if err := r.encode(f, j.fps); err != nil {
		return err
	}
	if !j.ends {
		return nil
	}
	if err := r.endSegment(); err != nil {
		return err
	}
	if j.state == nil {
		return nil
	}
	return r.commit(*j.state)
}

// commit brings the video to disk and hands on the state that includes it.
func (r *recorder) commit(c results.Checkpoint) error {
	rec, err := r.mark()
	if err != nil {
		return err
	}
	c.Recording = rec
	c.Ledger.PicturesSent, c.Ledger.PicturesLate = r.sent, r.late
	return r.segment(c)
}

// mark brings the video to disk and says how far it is; nil: there is none yet.
func (r *recorder) mark() (*results.Recording, error) {
	if r.movie == nil {
		return nil, nil
	}
	m, err := r.movie.Commit()
	if err != nil {
		return nil, err
	}
	rec := r.made
	if rec.Mark, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("mark the recording: %w", err)
	}
	return &rec, nil
}

// finish writes the whole video with its index in front.
func (r *recorder) finish(ctx context.Context, to string) error {
	if r.movie == nil {
		return movie.ErrEmpty
	}
	return r.movie.Finish(ctx, to)
}

func (r *recorder) close() {
	if r.movie != nil {
		r.movie.Close() // what counts was committed
	}
}
