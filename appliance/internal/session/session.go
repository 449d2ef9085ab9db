package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Bounds of one session.
const (
	// maxChannels that a peer may have open at once.
	maxChannels = 16
	// receiveBuffer is SCTP's window, bytes: what a peer may have on its way while
	// its channel waits for the disk. One association has one for all its channels.
	receiveBuffer = 2 << 20
	// setupTime is what a peer has from the answer to its first channel.
	setupTime = 20 * time.Second
	// idleTime is what it has to its next one when it has closed all.
	idleTime = time.Minute
	// gatherTime bounds the wait for our candidates, which are the shared ports'.
	gatherTime = 2 * time.Second
	// refusedEvery bounds how often it is logged that channels were refused.
	refusedEvery = time.Second
)

// session is one peer.
type session struct {
	id     string
	pc     *webrtc.PeerConnection
	log    *slog.Logger
	ctx    context.Context // ends with the session
	cancel context.CancelCauseFunc
	ended  func(reason string)
	queues *queue.Registry
	work   sync.WaitGroup // the channels' goroutines

	mu       sync.Mutex
	closing  bool
	channels int
	refused  int         // channels, since it was logged last,
	told     time.Time   // which was then
	unused   *time.Timer // ends it if it has no channel then
}

var errTooManyChannels = errors.New("too many channels")

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return hex.EncodeToString(b[:])
}

// open makes the connection and answers the offer. ended is called once or more
// often when the session is over.
func (s *Server) open(offer string, ended func(*session, string)) (_ *session, answer string, err error) {
	pc, err := s.d.Peers.Peer(peer.Options{Tune: func(e *webrtc.SettingEngine) {
		e.DetachDataChannels()
		e.SetSCTPMaxReceiveBufferSize(receiveBuffer)
	}})
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ses := &session{id: newID(), pc: pc, ctx: ctx, cancel: cancel, queues: s.d.Queues}
	ses.log = s.d.Log.With("session", ses.id[:8])
	ses.ended = func(reason string) { ended(ses, reason) }
	defer func() {
		if err != nil {
			cancel(err)
			err = errors.Join(err, pc.Close())
		}
	}()
	pc.OnDataChannel(func(dc *webrtc.DataChannel) { ses.accept(dc, s.d.Services) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateFailed:
			ses.ended("connection lost")
		case webrtc.PeerConnectionStateClosed:
			ses.ended("peer left")
		}
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return nil, "", fmt.Errorf("take the offer: %w", err)
	}
	local, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, "", fmt.Errorf("create the answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err = pc.SetLocalDescription(local); err != nil {
		return nil, "", fmt.Errorf("take our own answer: %w", err)
	}
	select {
	case <-gathered:
	case <-time.After(gatherTime):
	}
	ses.expect(setupTime)
	return ses, pc.LocalDescription().SDP, nil
}

// accept has a channel served as soon as it is open. It runs on pion's goroutine.
func (ses *session) accept(dc *webrtc.DataChannel, services map[string]Service) {
	dc.OnOpen(func() {
		raw, err := dc.Detach()
		if err != nil {
			ses.log.Warn("a channel could not be opened", "label", printable(dc.Label()), "err", err)
			return
		}
		serve, known := services[dc.Label()]
		ses.mu.Lock()
		refused := ses.closing || ses.channels >= maxChannels
		times := 0 // refused, to be logged now: a peer can bring about as many as it likes
		if refused {
			times = ses.countRefused(time.Now())
		} else {
			ses.channels++
			ses.work.Add(1)
		}
		ses.mu.Unlock()
		if refused {
			if times > 0 {
				ses.log.Warn("channels were refused", "label", printable(dc.Label()), "times", times, "err", errTooManyChannels)
			}
			_ = raw.Close() // it is refused either way
			return
		}
		ch := NewChannel(ses.ctx, dc, raw, ses.queues)
		go func() {
			defer ses.work.Done()
			defer ses.release()
			defer ch.Close()
			if !known {
				_ = ch.WriteText(problem("There is no service called " + printable(dc.Label()) + " on this box."))
				return
			}
			if err := serve(ses.ctx, ch); err != nil && ses.ctx.Err() == nil {
				ses.log.Info("channel ended", "label", dc.Label(), "err", err)
			}
		}()
	})
}

// countRefused counts a channel that is refused, and returns how many are to be logged; mu is held.
func (ses *session) countRefused(now time.Time) (times int) {
	ses.refused++
	if now.Sub(ses.told) < refusedEvery {
		return 0
	}
	times = ses.refused
	ses.refused, ses.told = 0, now
	return times
}

func (ses *session) release() {
	ses.mu.Lock()
	ses.channels--
	idle := ses.channels == 0 && !ses.closing
	ses.mu.Unlock()
	if idle {
		ses.expect(idleTime)
	}
}

// expect ends the session if it has no channel when the time is over.
func (ses *session) expect(within time.Duration) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.closing {
		return
	}
	if ses.unused != nil {
		ses.unused.Stop()
	}
	ses.unused = time.AfterFunc(within, func() {
		ses.mu.Lock()
		idle := ses.channels == 0
		ses.mu.Unlock()
		if idle {
			ses.ended("no channel was open for " + within.String())
		}
	})
}

// close ends everything of the session and waits for it.
func (ses *session) close(reason string) {
	ses.mu.Lock()
	ses.closing = true
	if ses.unused != nil {
		ses.unused.Stop()
	}
	ses.mu.Unlock()
	ses.cancel(errors.New(reason))
	if err := ses.pc.Close(); err != nil {
		ses.log.Debug("close connection", "err", err)
	}
	ses.work.Wait()
}
