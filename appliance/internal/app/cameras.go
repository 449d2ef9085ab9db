package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/camera"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/health"
	"github.com/watchpost/watchpost/appliance/internal/live"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/plan"
)

// bridge joins a camera and its stream, which know nothing of each other: units
// go up, demand comes down.
type bridge struct {
	id        string
	camera    *camera.Camera
	stream    *live.Stream
	made      bool   // the box makes its pictures: a scene, a pattern
	published bool   // they are published
	stopLoop  func() // takes its control loop out of the stall meter

	visit *visit // of a camera that only a publisher has made; nil: it is configured
}

// Publish implements camera.Output.
func (b *bridge) Publish(u link.AccessUnit) {
	b.stream.Publish(live.Unit{
		Codec: live.Codec(u.Codec), Keyframe: u.Keyframe, Slate: u.Slate, Own: u.Own,
		PTS: u.PTS, Captured: u.Captured, Data: u.Data,
	})
}

// Want implements live.Producer.
func (b *bridge) Want(h264, vp8 bool) { b.camera.Want(h264, vp8) }

// RequestKeyframe implements live.Producer.
func (b *bridge) RequestKeyframe(c live.Codec) { b.camera.RequestKeyframe(link.Codec(c)) }

// cameras are the box's cameras as the API sees them: those of the configuration, and
// those that somebody publishes.
type cameras struct {
	make func(config.Camera) (*bridge, error)
	most int          // cameras at a time that only a publisher has made
	come chan *bridge // those that begin to be published, for run to run them
	over chan struct{}

	mu       sync.Mutex
	list     []*bridge // replaced, never modified
	watchers map[int]func(api.Event)
	next     int
}

// newCameras makes the configured cameras; they do nothing before run.
func (p Program) newCameras(cfg *config.Config, spawner *worker.Spawner, server *live.Server, meter *health.Meter, have *hardware, queues *queue.Registry) (*cameras, error) {
	cs := &cameras{watchers: make(map[int]func(api.Event)), most: cfg.WebRTC.MaxPublishers, come: make(chan *bridge), over: make(chan struct{})}
	cs.make = func(c config.Camera) (*bridge, error) {
		kind := config.KindOf(c.Source)
		loop := meter.Loop("camera " + c.ID)
		b := &bridge{id: c.ID, made: kind == config.KindDemo || kind == config.KindPattern, published: kind == config.KindWHIP, stopLoop: loop.Stop}
		cam, err := camera.New(camera.Deps{
			Spawn: p.spawn(cfg, c, spawner, have), Output: b, Log: p.Log, Loop: loop, Queues: queues,
		}, camera.Config{
			ID: c.ID, Name: c.Title(), Start: startOf(c), StallAfter: c.StallAfter, Redact: plan.Redact, Published: b.published,
		})
		if err != nil {
			loop.Stop()
			return nil, fmt.Errorf("camera %s: %w", c.ID, err)
		}
		b.camera = cam
		b.stream = server.Stream(c.ID, b)
		return b, nil
	}
	for _, c := range cfg.Cameras {
		b, err := cs.make(c)
		if err != nil {
			return nil, err
		}
		cs.list = append(cs.list, b)
	}
	return cs, nil
}

// spawn starts a camera's worker with what is known at that moment of models
// and of the hardware.
func (p Program) spawn(cfg *config.Config, c config.Camera, spawner *worker.Spawner, have *hardware) camera.Spawn {
	var (
		mu   sync.Mutex // live workers of a camera start one at a time, but on goroutines of their own
		said string
	)
	return func(ctx context.Context, start link.Start, handle func(link.Message), redact func(string) string) (camera.Process, error) {
		if start.Mode == "live" {
			mu.Lock()
			start.Model = p.modelFor(cfg, c, &said)
			mu.Unlock()
			r := have.report.Load()
			start.Decoders, start.RefusedElements = r.Decoders(), r.Refused()
		}
		w, err := spawner.Start(ctx, start, handle, redact)
		if err != nil {
			return nil, err // not a nil *Worker in a Process
		}
		return w, nil
	}
}

// startOf is what a camera's workers are told that does not change.
func startOf(c config.Camera) link.Start {
	s := link.Start{
		Name: c.Title(),
		Source: link.Source{
			URL: c.Source, Transport: c.Transport, Loop: config.KindOf(c.Source) == config.KindFile,
			Width: c.Capture.Width, Height: c.Capture.Height, FPS: c.Capture.FPS,
		},
		Threshold: c.Threshold, Classes: c.Classes, Gate: c.MotionGate, MaxFPS: c.MaxFPS,
		Picture: link.Picture{MaxHeight: c.Picture.MaxHeight, Bitrate: int(c.Picture.Bitrate), KeyframeInterval: c.Picture.KeyframeInterval, Boxes: c.Boxes},
	}
	return s
}

// run runs every camera until ctx ends, and tells the watchers what happens.
func (cs *cameras) run(ctx context.Context, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(cs.over) // nobody waits to be run any more
	for _, b := range cs.all() {
		wg.Go(func() { cs.live(ctx, b, log) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-cs.come:
			wg.Go(func() { cs.stay(ctx, b, log) })
		}
	}
}

// live is a camera's life.
func (cs *cameras) live(ctx context.Context, b *bridge, log *slog.Logger) {
	var following sync.WaitGroup
	following.Go(func() { cs.follow(ctx, b) })
	if err := b.camera.Run(ctx); err != nil && ctx.Err() == nil {
		log.Error("camera ended", "camera", b.id, "error", err)
	}
	following.Wait()
}

// all are the cameras of this moment; the list is nobody's to change.
func (cs *cameras) all() []*bridge {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.list
}

// follow hands a camera's changes and detections to the watchers.
func (cs *cameras) follow(ctx context.Context, b *bridge) {
	changes, found := b.camera.Subscribe(), b.camera.Detections()
	defer changes.Close()
	defer found.Close()
	id := b.id
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-changes.C:
			if !ok {
				return
			}
			v := cameraView(s, b.stream.Viewers())
			cs.tell(api.Event{Camera: &v})
		case d, ok := <-found.C:
			if !ok {
				return
			}
			v := api.Detections{Camera: id, Frame: d.Frame, PTS: int64(d.PTS), Width: d.Width, Height: d.Height, Objects: objects(d.Objects)}
			cs.tell(api.Event{Detections: &v})
			b.stream.PublishBoxes(boxes(d))
		}
	}
}

func (cs *cameras) tell(e api.Event) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, deliver := range cs.watchers {
		deliver(e)
	}
}

// Watch implements api.Cameras.
func (cs *cameras) Watch(deliver func(api.Event)) (stop func()) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	n := cs.next
	cs.next++
	cs.watchers[n] = deliver
	return func() {
		cs.mu.Lock()
		delete(cs.watchers, n)
		cs.mu.Unlock()
	}
}

// List implements api.Cameras.
func (cs *cameras) List() []api.Camera {
	all := cs.all()
	list := make([]api.Camera, len(all))
	for i, b := range all {
		list[i] = cameraView(b.camera.Snapshot(), b.stream.Viewers())
	}
	return list
}

// Restart implements api.Cameras.
func (cs *cameras) Restart(_ context.Context, id string) error {
	for _, b := range cs.all() {
		if b.id == id {
			b.camera.Restart()
			return nil
		}
	}
	return api.ErrNotFound
}

// cameraView is a snapshot in the API's words.
func cameraView(s camera.Snapshot, viewers int) api.Camera {
	v := api.Camera{
		ID: s.ID, Name: s.Name, State: stateName(s), Reason: s.Reason, Since: s.Since,
		Analyser: s.Analyser, Runtime: s.Runtime, Encoder: s.Encoder,
		Boxes: s.Boxes, BoxesReason: s.BoxesReason,
		Ledger: ledgerView(s.Ledger), Viewers: viewers,
		Restarts: api.Restarts{Count: int(s.Restarts)},
	}
	if !s.OfflineSince.IsZero() {
		v.Since = s.OfflineSince
	}
	if s.Stream.Width > 0 {
		v.Stream = &api.Stream{
			Codec: s.Stream.Codec, Width: s.Stream.Width, Height: s.Stream.Height,
			FPS: s.Stream.FPS, Rotation: s.Stream.Rotation, Decoder: s.Stream.Decoder,
		}
	}
	if e := s.LastExit; e != nil {
		at := e.At
		v.Restarts.Last, v.Restarts.Exit, v.Restarts.Stderr = &at, e.Reason, e.Stderr
	}
	if w := s.Worker; w != nil {
		v.Worker = &api.Worker{PID: w.PID, RSS: w.RSS, CPUSeconds: w.CPU.Seconds(), Started: w.Since}
		v.Rates = api.Rates{
			SourceFPS: w.SourceFPS, AnalysedFPS: w.AnalysedFPS,
			AnalyseMS: float64(w.Analyse.Microseconds()) / 1000, EncodeMS: float64(w.Encode.Microseconds()) / 1000,
		}
	}
	if s.Detections != nil {
		v.Objects = objects(s.Detections.Objects)
	} else {
		v.Objects = []api.Object{}
	}
	return v
}

// stateName maps a camera's states to those that the API documents.
func stateName(s camera.Snapshot) string {
	switch s.State {
	case camera.Starting:
		if s.Worker != nil {
			return "connecting"
		}
		return "starting"
	case camera.Stalled:
		return "offline"
	case camera.Crashing:
		return "failing"
	}
	return string(s.State)
}

func ledgerView(l link.Ledger) api.Ledger {
	return api.Ledger{
		Decoded: l.Decoded, Inferred: l.Inferred,
		SkippedMotion: l.SkippedMotion, SkippedRate: l.SkippedRate, SkippedHeat: l.SkippedHeat,
		Dropped: l.Dropped, Failed: l.Failed, Pending: l.Pending,
		PicturesSent: l.PicturesSent, PicturesDropped: l.PicturesLate, DecoderErrors: l.DecoderErrors,
	}.Settle()
}

func objects(in []link.Object) []api.Object {
	out := make([]api.Object, len(in))
	for i, o := range in {
		out[i] = api.Object{ID: o.ID, Label: o.Label, Score: o.Score, X0: o.X0, Y0: o.Y0, X1: o.X1, Y1: o.Y1}
	}
	return out
}

// boxes are a frame's objects in the live server's words.
func boxes(d link.Detections) live.Boxes {
	b := live.Boxes{PTS: d.PTS, Width: d.Width, Height: d.Height, Objects: make([]live.Box, len(d.Objects))}
	for i, o := range d.Objects {
		b.Objects[i] = live.Box(o)
	}
	return b
}
