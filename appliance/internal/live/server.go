package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Server serves streams to viewers, and takes what is published. New opens its ports;
// Run, or Close, ends it.
type Server struct {
	log     *slog.Logger
	deps    Deps
	config  Config
	peers   *peer.Factory
	metrics *metrics

	work sync.WaitGroup // streams' senders and sessions being closed

	mu       sync.Mutex
	closed   bool
	streams  map[string]*Stream
	sessions map[string]*session
	slots    int // viewers taken in or being taken in
	refused  uint64

	publishers map[string]*publisher // by name
}

// New opens the ports.
func New(d Deps, c Config) (*Server, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxViewers <= 0 {
		c.MaxViewers = defaultMaxViewers
	}
	if c.Linger <= 0 {
		c.Linger = defaultLinger
	}
	if _, err := linkHeaders(c.ICEServers); err != nil {
		return nil, err
	}
	peers, err := peer.New(d.Log, peer.Config{
		UDP: c.UDP, TCP: c.TCP, PublicAddresses: c.PublicAddresses,
		IncludeLoopback: c.IncludeLoopback, Timeout: c.Timeout,
		Queues: d.Queues, Loop: d.port(),
	})
	if err != nil {
		return nil, fmt.Errorf("open the viewers' ports: %w", err)
	}
	s := &Server{
		log: d.Log, deps: d, config: c, peers: peers,
		streams: map[string]*Stream{}, sessions: map[string]*session{}, publishers: map[string]*publisher{},
	}
	for name, policy := range map[string]queue.Policy{framesQueue: queue.DropOldest, boxesName: queue.DropOldest, channelName: queue.DropNewest} {
		d.Queues.Declare(name, policy)
	}
	s.metrics = newMetrics(s)
	if d.Registerer != nil {
		if err := d.Registerer.Register(s.metrics); err != nil {
			return nil, errors.Join(fmt.Errorf("register metrics: %w", err), peers.Close())
		}
	}
	return s, nil
}

// Run serves until ctx ends, then closes everything and returns nil.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return s.Close()
}

// Close ends all streams and sessions, frees the ports and waits for every
// goroutine. Closing again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, st := range s.streams {
		st.stop()
	}
	clear(s.streams)
	sessions := slices.Collect(maps.Values(s.sessions))
	publishers := slices.Collect(maps.Values(s.publishers))
	s.mu.Unlock()
	for _, p := range publishers {
		s.endPublisher(p, "server closed")
	}
	for _, ses := range sessions {
		s.end(ses, "server closed")
	}
	s.work.Wait()
	if s.deps.Registerer != nil {
		s.deps.Registerer.Unregister(s.metrics)
	}
	return s.peers.Close()
}

// Addr returns the addresses of the two ports; tcp is nil without ICE-TCP.
func (s *Server) Addr() (udp, tcp net.Addr) { return s.peers.Addr() }

// Stream starts the stream of a camera. A stream of the same id that is still
// there is closed first. After Close the stream is dead: it takes units, and drops them.
func (s *Server) Stream(id string, p Producer) *Stream {
	s.mu.Lock()
	old := s.streams[id]
	s.mu.Unlock()
	if old != nil {
		old.Close()
	}
	st := newStream(s, id, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(st.done)
		return st
	}
	s.streams[id] = st
	s.work.Go(st.run)
	return st
}

// forget takes a stream that is being closed out, and ends its sessions.
func (s *Server) forget(st *Stream) {
	s.mu.Lock()
	if s.streams[st.id] == st {
		delete(s.streams, st.id)
	}
	var ended []*session
	for _, ses := range s.sessions {
		if ses.stream == st {
			ended = append(ended, ses)
		}
	}
	s.mu.Unlock()
	for _, ses := range ended {
		s.end(ses, "camera removed")
	}
}

// reserve takes a viewer's place; free gives it back.
func (s *Server) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.slots >= s.config.MaxViewers {
		s.refused++
		return false
	}
	s.slots++
	return true
}

func (s *Server) free() {
	s.mu.Lock()
	s.slots--
	s.mu.Unlock()
}

// admit makes an answered session known, and lets its connection's state decide
// on its life. It fails when the stream or the server was closed meanwhile.
func (s *Server) admit(ses *session) bool {
	s.mu.Lock()
	if s.closed || s.streams[ses.stream.id] != ses.stream {
		s.mu.Unlock()
		return false
	}
	ses.setup = time.AfterFunc(setupTime, func() {
		if !ses.viewer.live.Load() {
			s.end(ses, "no connection in time")
		}
	})
	s.sessions[ses.id] = ses
	ses.stream.add(ses.viewer)
	s.mu.Unlock()
	ses.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			if !ses.viewer.live.Swap(true) {
				ses.log.Info("viewer connected", "codec", ses.offer.codec.String())
			}
			ses.stream.signal()
		case webrtc.PeerConnectionStateFailed:
			s.end(ses, "connection lost")
		case webrtc.PeerConnectionStateClosed:
			s.end(ses, "viewer left")
		}
	})
	return true
}

// Peers is the factory of the viewers' connections, for others who share its ports.
// It lives as long as the server.
func (s *Server) Peers() *peer.Factory { return s.peers }

// end closes a session, once, on a goroutine of its own: it is called from the
// connection's callbacks too, which must not close it themselves.
func (s *Server) end(ses *session, reason string) {
	ses.ended.Do(func() {
		s.work.Add(1) // while the session is still in the map: Close waits for it
		s.mu.Lock()
		delete(s.sessions, ses.id)
		s.mu.Unlock()
		ses.stream.remove(ses.viewer)
		go func() {
			defer s.work.Done()
			ses.close()
			s.free()
			ses.log.Info("viewer gone", "reason", reason)
		}()
	})
}

func (s *Server) session(camera, id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[id]; ses != nil && ses.stream.id == camera {
		return ses
	}
	return nil
}

func (s *Server) stream(id string) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}
