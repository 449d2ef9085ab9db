package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/ingest"
	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

// The reasons why nothing can be published under a name; an Open wraps one of them, in
// words for whoever wants to publish.
var (
	// ErrTaken: the name is another source's, or somebody publishes under it.
	ErrTaken = errors.New("the name is taken")
	// ErrManyPublishers: there are as many as the box takes.
	ErrManyPublishers = errors.New("too many publishers")
	// ErrName: the text is no name of a camera.
	ErrName = errors.New("no name of a camera")
)

// Sink takes what a publisher sends. Give is called by one goroutine at a time and must
// not block; End comes once, after the last Give.
type Sink interface {
	Give(Unit)
	End()
}

// Open makes room for what is published under a name. refresh asks the publisher for a
// keyframe; it may be called at any time, from any goroutine, and does not block.
type Open func(name string, refresh func()) (Sink, error)

// publisher is a WHIP session: one publisher's peer connection.
type publisher struct {
	transport
	name string
	sink Sink

	live    atomic.Bool // connected now
	refresh atomic.Pointer[func() error]
	units   atomic.Uint64
	bytes   atomic.Uint64

	ctx    context.Context // of the reading goroutines
	cancel context.CancelFunc

	starting sync.Mutex
	closed   bool
	started  bool
	reading  sync.WaitGroup
}

// newPublisher answers an offer. The publisher is not yet known to the server.
func newPublisher(s *Server, name string, o *offer) (p *publisher, answer string, err error) {
	pc, err := s.peers.Peer(peer.Options{Codecs: o.peerCodecs(), Intercept: ingest.Intercept})
	if err != nil {
		return nil, "", err
	}
	id := hexID()
	p = &publisher{
		transport: transport{id: id, pc: pc, offer: o, remote: o.ice, generation: 1, etag: quotedTag(), log: s.log.With("publisher", name, "session", id[:8])},
		name:      name,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background()) // its owner is the publisher: close cancels and waits
	made, cancel := p, p.cancel                                // p is nil where this fails
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, pc.Close())
		}
	}()
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) { made.start(s, track, receiver) })
	local, err := p.negotiate()
	if err != nil {
		return nil, "", err
	}
	if answer, err = o.complete(local); err != nil {
		return nil, "", err
	}
	p.sink, err = s.deps.Open(name, p.askKeyframe)
	if err != nil {
		return nil, "", err
	}
	p.trickle(o.ice.candidates)
	return p, answer, nil
}

// askKeyframe asks the publisher for a keyframe, once it sends.
func (p *publisher) askKeyframe() {
	if refresh := p.refresh.Load(); refresh != nil {
		if err := (*refresh)(); err != nil {
			p.log.Debug("ask for a keyframe", "error", err)
		}
	}
}

// start reads the publisher's track; it has one.
func (p *publisher) start(s *Server, track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	p.starting.Lock()
	defer p.starting.Unlock()
	if p.closed || p.started || p.sink == nil {
		return
	}
	p.started = true
	codec := H264
	if ingest.Codec(track) == packet.CodecVP8 {
		codec = VP8
	}
	p.log.Info("publisher sends", "codec", codec.String())
	refresh := ingest.Refresh(p.pc, track)
	p.refresh.Store(&refresh)
	p.reading.Go(func() { ingest.Listen(p.ctx, receiver) })
	p.reading.Go(func() {
		begin, end := s.deps.entered("whip/" + p.name)
		defer end()
		err := ingest.Read(p.ctx, track, refresh, func(u ingest.Unit) {
			defer begin()()
			p.units.Add(1)
			p.bytes.Add(uint64(len(u.Data)))
			p.sink.Give(Unit{Codec: codec, Keyframe: u.Keyframe, PTS: u.PTS, Captured: u.Captured, Data: u.Data})
		})
		if p.ctx.Err() != nil {
			return
		}
		reason := "the publisher's track ended"
		if err != nil {
			reason = fmt.Sprintf("the publisher's track cannot be read: %v", err)
		}
		s.endPublisher(p, reason)
	})
}

// close frees what the publisher holds, and waits for its goroutines.
func (p *publisher) close() {
	if p.setup != nil {
		p.setup.Stop()
	}
	p.starting.Lock()
	p.closed = true
	p.starting.Unlock()
	p.cancel()
	if err := p.pc.Close(); err != nil {
		p.log.Debug("close connection", "error", err)
	}
	p.reading.Wait()
	p.sink.End()
}

// admitPublisher makes an answered publisher known, and lets its connection's state
// decide on its life. It fails when somebody was quicker, or the server was closed.
func (s *Server) admitPublisher(p *publisher) bool {
	s.mu.Lock()
	if s.closed || s.publishers[p.name] != nil {
		s.mu.Unlock()
		return false
	}
	p.setup = time.AfterFunc(setupTime, func() {
		if !p.live.Load() {
			s.endPublisher(p, "no connection in time")
		}
	})
	s.publishers[p.name] = p
	s.mu.Unlock()
	p.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			if !p.live.Swap(true) {
				p.log.Info("publisher connected")
			}
		case webrtc.PeerConnectionStateDisconnected:
			p.live.Store(false)
		case webrtc.PeerConnectionStateFailed:
			s.endPublisher(p, "connection lost")
		case webrtc.PeerConnectionStateClosed:
			s.endPublisher(p, "publisher left")
		}
	})
	return true
}

// displace makes room for a new publisher of a name: one that is not heard of, or that
// never came, is ended. It tells whether the name is free.
func (s *Server) displace(name string) bool {
	s.mu.Lock()
	old := s.publishers[name]
	s.mu.Unlock()
	if old == nil {
		return true
	}
	if old.live.Load() {
		return false
	}
	s.endPublisher(old, "another takes its place")
	return true
}

// endPublisher closes a publisher, once, on a goroutine of its own, as end does.
func (s *Server) endPublisher(p *publisher, reason string) {
	p.ended.Do(func() {
		s.work.Add(1) // while it is still in the map: Close waits for it
		s.mu.Lock()
		if s.publishers[p.name] == p {
			delete(s.publishers, p.name)
		}
		s.mu.Unlock()
		go func() {
			defer s.work.Done()
			p.close()
			p.log.Info("publisher gone", "reason", reason, "pictures", p.units.Load(), "bytes", p.bytes.Load())
		}()
	})
}

func (s *Server) publisher(name, id string) *publisher {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.publishers[name]; p != nil && p.id == id {
		return p
	}
	return nil
}
