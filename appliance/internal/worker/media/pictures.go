package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// renditions are the encodings of the annotated picture. One goroutine, the
// picture stage, makes, feeds and closes the encoders; want and refresh may be
// called from any.
type renditions struct {
	profile link.Picture
	threads int
	send    func(link.AccessUnit) error
	log     *slog.Logger

	wanted  [maxCodec + 1]atomic.Bool
	refresh [maxCodec + 1]atomic.Bool
	open    [maxCodec + 1]*rendition
	down    [maxCodec + 1]failure
	started func(element string) // the H.264 encoder's element is known
	spent   meanTime

	// own: the source's own H.264 goes out, and only slates are encoded as such.
	// interrupted: one went out, since the passage looked.
	own, interrupted atomic.Bool
}

const maxCodec = link.VP8

// encoder is what a rendition is made by. Push takes over the frame.
type encoder interface {
	Push(*engine.Frame) error
	Keyframe()
	Name() string
	Close() error
}

type rendition struct {
	encoder encoder
	shape   shape
}

// failure is why there is no encoder, until it is tried again.
type failure struct {
	err   error // nil: the encoder was replaced since
	until time.Time
	// element is the encoder that failed: its successor is another one, where
	// there is another. openh264enc gives up on black and white noise.
	element string
}

// encoderPause is the least time between two attempts at a live encoder that
// fails again and again: one that does at every frame would take the processor
// from the analysis. One that failed for the first time in encoderSound is
// replaced at once, and viewers miss a frame.
const (
	encoderPause = time.Second
	encoderSound = 10 * time.Second
)

// shape is all that an encoder cannot change while it runs.
type shape struct {
	width, height int
	fps           float64
	slate         bool
}

func (r *renditions) want(w link.Want) {
	r.wanted[link.H264].Store(w.H264)
	r.wanted[link.VP8].Store(w.VP8)
}

func (r *renditions) any() bool {
	return r.wanted[link.H264].Load() || r.wanted[link.VP8].Load()
}

// drawn tells whether pictures of the source have to be drawn on and encoded.
func (r *renditions) drawn() bool {
	return r.wanted[link.VP8].Load() || r.wanted[link.H264].Load() && !r.own.Load()
}

func (r *renditions) keyframe(c link.Codec) {
	if c == link.H264 || c == link.VP8 {
		r.refresh[c].Store(true)
	}
}

// push hands a drawn frame to every wanted rendition. It takes over f. A live
// encoder that fails is closed and, after a pause, replaced by a new one; until
// then the error is that of the failure.
func (r *renditions) push(f *engine.Frame, s shape) error {
	defer f.Release()
	var errs []error
	for c := link.H264; c <= maxCodec; c++ {
		wanted := r.wanted[c].Load()
		if c == link.H264 && r.own.Load() {
			wanted = wanted && s.slate
		}
		if old := r.open[c]; old != nil && (!wanted || old.shape != s) {
			r.shut(c)
		}
		if wanted {
			errs = append(errs, r.encode(c, f, s))
		}
	}
	return errors.Join(errs...)
}

// encode hands a frame, which stays the caller's, to one rendition.
func (r *renditions) encode(c link.Codec, f *engine.Frame, s shape) error {
	if r.open[c] == nil {
		if d := r.down[c]; d.err != nil && time.Now().Before(d.until) {
			return d.err
		}
		if err := r.start(c, s); err != nil {
			return r.broke(c, err)
		}
	}
	if r.refresh[c].Swap(false) {
		r.open[c].encoder.Keyframe()
	}
	f.Retain()
	if err := r.open[c].encoder.Push(f); err != nil {
		r.down[c].element = r.open[c].encoder.Name()
		r.shut(c)
		return r.broke(c, fmt.Errorf("encode %s: %w", codecName(c), err))
	}
	r.down[c].err = nil
	return nil
}

func (r *renditions) broke(c link.Codec, err error) error {
	now, pause := time.Now(), encoderPause
	if now.Sub(r.down[c].until) > encoderSound {
		pause = 0
	}
	r.down[c].err, r.down[c].until = err, now.Add(pause)
	return err
}

// shut closes one rendition's encoder.
func (r *renditions) shut(c link.Codec) {
	if err := r.open[c].encoder.Close(); err != nil {
		r.log.Warn("encoder did not close cleanly", "codec", codecName(c), "error", err)
	}
	r.open[c] = nil
}

func (r *renditions) start(c link.Codec, s shape) error {
	w, h := fit(s.width, s.height, r.profile.MaxHeight)
	num, den := frameRate(s.fps)
	gop := int(r.profile.KeyframeInterval.Seconds()*s.fps + 0.5) // 0: the encoder's choice
	e, err := engine.NewEncoder(plan.Encode{
		Elements: encoders(codecName(c), r.down[c].element), Codec: codecName(c), Width: w, Height: h, FPSNum: num, FPSDen: den,
		Bitrate: r.profile.Bitrate, GOP: gop, Threads: r.threads, Live: true,
	}, func(u engine.Unit) {
		r.spent.add(u.Encode)
		if c == link.H264 && r.own.Load() {
			r.interrupted.Store(true)
		}
		// A failed send means that the control process is gone; the link's
		// reader sees the same and ends the worker.
		_ = r.send(link.AccessUnit{
			Codec: c, Keyframe: u.Keyframe, Slate: s.slate, PTS: u.PTS,
			Captured: u.Captured, Encode: u.Encode, Data: u.Data,
		})
	})
	if err != nil {
		return fmt.Errorf("start the %s encoder at %dx%d: %w", codecName(c), w, h, err)
	}
	r.refresh[c].Store(false)
	r.open[c] = &rendition{encoder: e, shape: s}
	if c == link.H264 {
		r.started(e.Name())
	}
	return nil
}

// idle closes what nobody watches, when no frame comes to do so.
func (r *renditions) idle() {
	for c, o := range r.open {
		if o != nil && !r.wanted[c].Load() {
			r.shut(link.Codec(c))
		}
	}
}

// endSlate closes the slate's encoder where the source's own pictures follow it.
func (r *renditions) endSlate() {
	if o := r.open[link.H264]; o != nil && r.own.Load() {
		r.shut(link.H264)
		r.started("")
	}
}

func (r *renditions) close() error {
	var errs []error
	for c, o := range r.open {
		if o != nil {
			errs = append(errs, o.encoder.Close())
			r.open[c] = nil
		}
	}
	return errors.Join(errs...)
}

func codecName(c link.Codec) string {
	if c == link.VP8 {
		return "vp8"
	}
	return "h264"
}

// fit scales a size down to a greatest height.
func fit(w, h, maxHeight int) (int, int) {
	if maxHeight > 0 && h > maxHeight {
		return max(1, (w*maxHeight+h/2)/h), maxHeight
	}
	return w, h
}

// frameRate is fps as a fraction; NTSC's rates keep their 1001.
func frameRate(fps float64) (num, den int) {
	if fps <= 0 || fps > 1000 {
		return 30, 1
	}
	if n := int(fps*1.001 + 0.5); n > 0 {
		if exact := float64(n) * 1000 / 1001; exact-fps < 0.004 && fps-exact < 0.004 {
			return n * 1000, 1001
		}
	}
	return int(fps*1000 + 0.5), 1000
}

// pictureStage draws and encodes; it owns the renditions' encoders.
type pictureStage struct {
	queue   *queue
	out     *renditions
	artist  *draw.Artist
	tracks  func(pts time.Duration) []vision.Track
	ledger  *ledger
	log     *slog.Logger
	slate   *slate
	onError func(error)
	busy    stint
	rate    *rateMeter
	begun   time.Time // zero of this run's time
}

// patience is how long a live picture waits for its own analysis, as a share of
// the frame interval counted from the capture: what is left of the interval
// goes to drawing and sending. A slower model's boxes are moved by the tracker.
const patience = 0.75

// run ends when the queue is closed or ctx is done. Its error is that of an encoder
// which does not close.
func (p *pictureStage) run(ctx context.Context) (err error) {
	defer func() {
		if cerr := p.out.close(); err == nil {
			err = cerr
		}
	}()
	tick := time.NewTicker(slateInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case j, ok := <-p.queue.jobs:
			if !ok {
				return nil
			}
			err := p.attend(func() error { return p.show(ctx, j) })
			if err == nil {
				p.ledger.pictureSent()
				continue
			}
			p.ledger.pictureLate()
			p.onError(err)
		case <-tick.C:
			p.out.idle()
			if !p.slate.due(time.Now()) {
				p.out.endSlate()
			} else if p.out.any() {
				if err := p.attend(p.showSlate); err != nil {
					p.onError(err)
				}
			}
		}
	}
}

// attend does one picture's work within sight of the sign of life.
func (p *pictureStage) attend(work func() error) error {
	p.busy.begin()
	defer p.busy.end()
	return work()
}

// came has the slate put away.
func (p *pictureStage) came(f *engine.Frame) bool {
	p.slate.frameCame(time.Now(), f.Width, f.Height)
	return p.out.drawn()
}

func (p *pictureStage) show(ctx context.Context, j *job) error {
	p.await(ctx, j)
	var tracks []vision.Track
	if j.isAnalysed() && j.tracked {
		tracks = j.tracks
	} else {
		tracks = p.tracks(j.pts)
	}
	f, err := overlaid(p.artist, j, tracks)
	if err != nil {
		return err
	}
	return p.out.push(f, shape{width: f.Width, height: f.Height, fps: j.fps})
}

// overlaid is a job's frame with tracks drawn on it, at the run's time. It takes over
// the picture stage's hold on it.
func overlaid(artist *draw.Artist, j *job, tracks []vision.Track) (*engine.Frame, error) {
	f := j.frame
	// A picture with nothing to draw on it needs no copy, once nobody else reads it.
	if len(tracks) > 0 || !j.isAnalysed() {
		var err error
		if f, err = exclusive(f); err != nil {
			return nil, fmt.Errorf("draw on a frame: %w", err)
		}
		pic := picture(f)
		artist.Tracks(&pic, tracks)
	}
	f.PTS, f.Captured = j.pts, j.captured
	return f, nil
}

// await waits for the analysis of the picture's own frame, within the budget.
func (p *pictureStage) await(ctx context.Context, j *job) {
	if j.isAnalysed() {
		return
	}
	interval := time.Duration(float64(time.Second) / p.rate.nominal())
	// What a decoder holds back to put B-frames in order is the source's delay and
	// not to be saved here: of the time before the road, a quarter interval counts.
	before := min(time.Duration(j.entered-j.captured), interval/4)
	budget := time.Duration(patience*float64(interval)) - before - time.Duration(monotonic()-j.entered)
	if budget <= 0 {
		return
	}
	timer := time.NewTimer(min(budget, interval))
	defer timer.Stop()
	select {
	case <-j.analysed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p *pictureStage) showSlate() error {
	f, err := p.slate.frame()
	if err != nil {
		return err
	}
	f.PTS = time.Since(p.begun)
	return p.out.push(f, shape{width: f.Width, height: f.Height, fps: slateFPS, slate: true})
}
