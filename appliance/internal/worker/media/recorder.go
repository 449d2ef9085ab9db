package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/movie"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
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
	defer func() { err = errors.Join(err, r.stop()) }()
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
	if r.encoder == nil {
		if err := r.beginSegment(f, j.fps); err != nil {
			f.Release()
			return err
		}
	}
	if err := r.encoder.Push(f); err != nil {
		return fmt.Errorf("encode h264: %w", err)
	}
	if err := r.write(); err != nil {
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

// beginSegment starts an encoder; the first decides how all are made.
func (r *recorder) beginSegment(f *engine.Frame, fps float64) error {
	m, first := r.made, r.made.Encoder == ""
	elements := []string{m.Encoder}
	if first {
		m.Width, m.Height = fit(f.Width, f.Height, r.profile.MaxHeight)
		m.FPS, elements = fps, nil
	}
	num, den := frameRate(m.FPS)
	e, err := engine.NewEncoder(plan.Encode{
		Elements: elements, Codec: "h264", Width: m.Width, Height: m.Height, FPSNum: num, FPSDen: den,
		Bitrate: r.profile.Bitrate, GOP: int(r.profile.KeyframeInterval.Seconds()*m.FPS + 0.5), Threads: r.threads,
	}, r.out)
	if err != nil {
		err = fmt.Errorf("start the h264 encoder at %dx%d: %w", m.Width, m.Height, err)
		if !first && r.movie != nil {
			return anew(err.Error())
		}
		return err
	}
	r.encoder = e
	r.started(e.Name())
	m.Encoder = e.Name()
	m.Width, m.Height = e.Size()
	r.made = m
	if r.movie == nil {
		if r.movie, err = movie.Create(r.path, movie.Video{Width: m.Width, Height: m.Height}); err != nil {
			return err
		}
	}
	return nil
}

// endSegment takes what is still in the encoder, and closes it.
func (r *recorder) endSegment() error {
	if r.encoder == nil {
		return nil
	}
	e := r.encoder
	r.encoder = nil
	if err := e.Close(); err != nil {
		return fmt.Errorf("encode h264: %w", err)
	}
	for range e.Skipped() {
		r.late++
		r.ledger.pictureLate()
	}
	return r.write()
}

// out takes a unit from the encoder's goroutine. What it keeps is bounded by what
// is in the encoder: write follows every picture that goes in.
func (r *recorder) out(u engine.Unit) {
	r.spent.add(u.Encode)
	r.mu.Lock()
	r.units = append(r.units, u)
	r.mu.Unlock()
}

// write moves finished units into the video.
func (r *recorder) write() error {
	r.mu.Lock()
	units := r.units
	r.units = nil
	r.mu.Unlock()
	for _, u := range units {
		err := r.movie.Write(movie.Unit{Data: u.Data, PTS: u.PTS, Keyframe: u.Keyframe})
		switch {
		case err == nil:
			r.sent++
			r.ledger.pictureSent()
		case errors.Is(err, movie.ErrUnit):
			r.late++
			r.ledger.pictureLate()
		default:
			return err
		}
	}
	return nil
}

// stop lets go of an encoder that is not needed any more.
func (r *recorder) stop() error {
	if r.encoder == nil {
		return nil
	}
	e := r.encoder
	r.encoder = nil
	if err := e.Close(); err != nil {
		return fmt.Errorf("close the encoder: %w", err)
	}
	return nil
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

// encoders lists what to try for a codec, best first, without one that failed; nil:
// the engine's own order.
func encoders(codec, without string) []string {
	order := slices.DeleteFunc(plan.EncoderOrder(codec), func(e string) bool { return e == without })
	if slices.ContainsFunc(order, engine.HasElement) {
		return order
	}
	return nil
}
