package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/camera"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/live"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// linger is for how long a camera that only a publisher has made stays when the
// publisher has left: one that lost its connection finds its viewers again.
const linger = 5 * time.Second

// startWait is how long a publisher waits for the box to have started its cameras.
const startWait = 10 * time.Second

// visit is the stay of such a camera. All but gone are the cameras' mu's.
type visit struct {
	publishers int
	leaving    *time.Timer   // since the last of them has left
	gone       chan struct{} // closed: the camera is to end
}

// publish takes in what somebody publishes (live.Open).
func (b *box) publish(name string, refresh func()) (live.Sink, error) {
	to, err := b.cameras.open(name)
	if err != nil {
		return nil, err
	}
	return &sink{cameras: b.cameras, to: to, publication: to.camera.Publish(refresh)}, nil
}

// sink hands a publisher's pictures to a camera.
type sink struct {
	cameras     *cameras
	to          *bridge
	publication *camera.Publication
}

// Give implements live.Sink.
func (s *sink) Give(u live.Unit) {
	s.publication.Give(link.AccessUnit{
		Codec: link.Codec(u.Codec), Keyframe: u.Keyframe, PTS: u.PTS, Captured: u.Captured, Data: u.Data,
	})
}

// End implements live.Sink.
func (s *sink) End() {
	s.publication.End()
	s.cameras.leave(s.to)
}

// open finds the camera of a name, or makes one.
func (cs *cameras) open(name string) (*bridge, error) {
	cs.mu.Lock()
	b, err := cs.find(name)
	made := err == nil && b == nil
	if made {
		b, err = cs.visitor(name)
	}
	if err == nil && b.visit != nil {
		b.visit.publishers++
		if t := b.visit.leaving; t != nil {
			t.Stop()
			b.visit.leaving = nil
		}
	}
	cs.mu.Unlock()
	if err != nil || !made {
		return b, err
	}
	select {
	case cs.come <- b:
		return b, nil
	case <-cs.over:
	case <-time.After(startWait):
	}
	cs.mu.Lock()
	cs.dismiss(b)
	cs.mu.Unlock()
	b.end()
	return nil, live.ErrClosed
}

// find needs mu. It returns nil where a camera may be made.
func (cs *cameras) find(name string) (*bridge, error) {
	for _, b := range cs.list {
		if b.id != name {
			continue
		}
		if !b.published {
			return nil, fmt.Errorf("%w: the camera %q has a source of its own; publish under another name, or set its source to \"whip:\" in the configuration", live.ErrTaken, name)
		}
		return b, nil
	}
	if !config.ValidID(name) {
		return nil, fmt.Errorf("%w: %.80q; use 1 to 64 of a-z, 0-9, - and _, the first a letter or a digit", live.ErrName, name)
	}
	return nil, nil
}

// visitor needs mu. It makes a camera for as long as it is published. One that waits
// for its publisher to come back makes room.
func (cs *cameras) visitor(name string) (*bridge, error) {
	var here int
	var idle *bridge
	for _, b := range cs.list {
		if b.visit != nil {
			here++
			if b.visit.publishers == 0 {
				idle = b
			}
		}
	}
	if here >= cs.most && idle == nil {
		return nil, fmt.Errorf("%w: the box takes %d under names that no camera has (webrtc.max_publishers); publish to a camera whose source is \"whip:\", or try again when another has left", live.ErrManyPublishers, cs.most)
	}
	if here >= cs.most {
		cs.dismiss(idle)
	}
	c := config.DefaultCamera()
	c.ID, c.Source = name, "whip:"
	b, err := cs.make(c)
	if err != nil {
		return nil, err
	}
	b.visit = &visit{gone: make(chan struct{})}
	cs.list = append(slices.Clone(cs.list), b)
	return b, nil
}

// leave notes that a publisher is gone.
func (cs *cameras) leave(b *bridge) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	v := b.visit
	if v == nil {
		return
	}
	if v.publishers--; v.publishers > 0 {
		return
	}
	v.leaving = time.AfterFunc(linger, func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if v.publishers == 0 {
			cs.dismiss(b)
		}
	})
}

// dismiss needs mu. It takes a visitor out of the list, and ends it, once.
func (cs *cameras) dismiss(b *bridge) {
	i := slices.Index(cs.list, b)
	if i < 0 {
		return
	}
	cs.list = slices.Delete(slices.Clone(cs.list), i, i+1)
	if b.visit.leaving != nil {
		b.visit.leaving.Stop()
	}
	close(b.visit.gone)
}

// stay is the life of a camera that somebody publishes.
func (cs *cameras) stay(ctx context.Context, b *bridge, log *slog.Logger) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-b.visit.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	log.Info("camera begins, as long as it is published", "camera", b.id)
	cs.live(ctx, b, log)
	cancel()
	<-ended
	b.end()
	log.Info("camera of a publisher is over", "camera", b.id)
}

// end closes what a camera holds, after its life.
func (b *bridge) end() {
	b.stream.Close()
	b.stopLoop()
}
