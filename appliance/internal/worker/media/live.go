package media

import (
	"context"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// Depths of the live queues. Two frames ride out a hiccup of the scheduler; a
// deeper queue would only make the boxes of a slow model older.
const (
	liveAnalysisDepth = 2
	livePictureDepth  = 3
)

// slateRoad shows the slate until it is told to stop.
func (w *worker) slateRoad(ctx context.Context) error {
	artist, err := draw.New()
	if err != nil {
		return err
	}
	stage := w.pictureStage(artist, newQueue(1, true), func(time.Duration) []vision.Track { return nil })
	if err := stage.run(ctx); err != nil {
		w.log.Warn("an encoder did not end well", "error", err)
	}
	return context.Cause(ctx)
}

// liveRoad plays a live source until it fails or is stopped. Meanwhile viewers
// see the slate whenever there is no picture.
func (w *worker) liveRoad(ctx context.Context) error {
	artist, err := draw.New()
	if err != nil {
		return err
	}
	an, err := w.newAnalysis()
	if err != nil {
		return err
	}
	defer an.close()
	w.analysis.Store(an)

	pictures := newQueue(livePictureDepth, true)
	stage := w.pictureStage(artist, pictures, an.tracker.At)
	line := timeline{begun: w.begun, live: true}
	r := &road{
		live:     true,
		source:   w.planSource(),
		read:     w.play,
		ledger:   &w.ledger,
		limiter:  &w.limiter,
		analysis: an,
		analyse:  newQueue(liveAnalysisDepth, true),
		picture:  pictures,
		stage:    stage,
		rate:     &w.rate,
		line:     line,
		own:      w.newPassage(line),
		log:      w.log,
		onInfo:   func(i engine.Info) error { w.playing(i); return nil },
		onAnalysed: func(j *job, width, height int, tracks []vision.Track) error {
			// A lost report means a closed link; the link's reader ends the worker.
			_ = w.conn.Send(link.KindDetections, detections(j, width, height, tracks))
			return nil
		},
		onWarning: w.decodeWarning,
	}
	return r.run(ctx)
}

func (w *worker) pictureStage(artist *draw.Artist, q *queue, tracks func(time.Duration) []vision.Track) *pictureStage {
	var reports repeats
	p := &pictureStage{
		queue: q, out: w.out, artist: artist, tracks: tracks, ledger: &w.ledger, log: w.log,
		slate: newSlate(w.title(), w.start.Slate, w.start.Since, artist),
		rate:  &w.rate,
		begun: w.begun,
		onError: func(err error) {
			if n, ok := reports.due(time.Now()); ok {
				w.log.Warn("a picture was not shown", "error", err, "times", n)
			}
		},
	}
	w.stage.Store(p)
	return p
}

// reader is what plays the worker's source.
func (w *worker) reader() read {
	switch url := w.start.Source.URL; {
	case isDemo(url):
		return readDemo
	case isMJPEG(url):
		return readMJPEG
	case w.published != nil:
		return w.published.read
	case w.session != nil && w.session.inbox != nil:
		return w.session.inbox.read
	}
	return engine.Read
}

func isDemo(url string) bool { return strings.HasPrefix(url, "demo:") }

func (w *worker) planSource() plan.Source {
	s := w.start.Source
	return plan.Source{
		URL: s.URL, Title: w.start.Title, Track: s.Track, Transport: s.Transport, Loop: s.Loop, Live: w.start.Mode == "live" || w.session != nil && w.session.ask.Realtime,
		Width: s.Width, Height: s.Height, FPS: s.FPS,
		Decoders: w.start.Decoders, Refused: w.start.RefusedElements, Threads: w.start.Threads,
	}
}

// waits tells of work that takes its time and leaves nothing out.
func (w *worker) waits() bool {
	return w.start.Mode == "file" || w.session != nil && w.session.holds()
}

// playing reports the stream once it is known, and whenever it changes.
func (w *worker) playing(i engine.Info) {
	w.setStatus(func(s *link.Status) {
		s.State, s.Reason = link.Playing, ""
		s.Stream = link.Stream{
			Codec: i.Codec, Width: i.Width, Height: i.Height, FPS: i.FPS,
			Rotation: i.Rotation, Decoder: i.Decoder,
		}
	})
}

func (w *worker) decodeWarning(text string) {
	w.log.Debug("decoder", "warning", text)
}

// detections is the report of one frame.
func detections(j *job, width, height int, tracks []vision.Track) link.Detections {
	d := link.Detections{Frame: j.number, PTS: j.pts, Width: width, Height: height, Objects: make([]link.Object, len(tracks))}
	for i, t := range tracks {
		d.Objects[i] = link.Object{
			ID: t.ID, Class: t.Class, Label: t.Label, Score: t.Score,
			X0: t.X0, Y0: t.Y0, X1: t.X1, Y1: t.Y1,
		}
	}
	return d
}

// repeats lets one report a second through and counts the rest.
type repeats struct {
	last  time.Time
	count int
}

func (r *repeats) due(now time.Time) (count int, ok bool) {
	r.count++
	if now.Sub(r.last) < time.Second {
		return 0, false
	}
	count, r.count, r.last = r.count, 0, now
	return count, true
}

func (w *worker) title() string {
	if w.start.Name != "" {
		return w.start.Name
	}
	return w.start.Camera
}
