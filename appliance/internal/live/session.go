package live

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

// gatherTime bounds the wait for our candidates. They are the addresses of the
// shared ports, which are known at once; no STUN server is asked.
const gatherTime = 200 * time.Millisecond

// session is a WHEP session: one viewer's peer connection.
type session struct {
	id     string
	stream *Stream
	viewer *viewer
	pc     *webrtc.PeerConnection
	log    *slog.Logger

	ended   sync.Once
	setup   *time.Timer
	reading sync.WaitGroup // the RTCP goroutine

	mu         sync.Mutex // serializes the HTTP requests
	offer      *offer
	remote     iceParameters
	generation int
	etag       string
	trickled   int // candidates taken since the last restart
}

// randomID is 128 bits that cannot be guessed: a session's URL is the
// permission to end it.
func randomID() [16]byte {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return b
}

func hexID() string {
	b := randomID()
	return hex.EncodeToString(b[:])
}

// newSession answers an offer. The session is not yet known to the server or
// the stream.
func newSession(s *Server, st *Stream, o *offer) (ses *session, answer string, err error) {
	pc, err := s.peers.Peer(peer.Options{
		Codecs: []peer.Codec{o.peerCodec()},
		Tune:   func(e *webrtc.SettingEngine) { e.SetSCTPMaxReceiveBufferSize(channelMemory) },
	})
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pc.Close())
		}
	}()
	id := hexID()
	ses = &session{id: id, stream: st, pc: pc, offer: o, remote: o.ice, generation: 1, etag: quotedTag(),
		viewer: newViewer(st.rendition(o.codec), st.id), log: st.log.With("viewer", id[:8])}
	if o.data >= 0 {
		ses.takeChannels()
	}
	ses.viewer.report = func(p rtcp.Packet) error { return pc.WriteRTCP([]rtcp.Packet{p}) }
	transceiver, err := pc.AddTransceiverFromTrack(ses.viewer,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, "", fmt.Errorf("add track: %w", err)
	}
	local, err := ses.negotiate()
	if err != nil {
		return nil, "", err
	}
	if answer, err = o.complete(local); err != nil {
		return nil, "", err
	}
	ses.trickle(o.ice.candidates)
	ses.reading.Go(func() {
		ses.viewer.listen(transceiver.Sender(), s.peers.Burst, func() { st.askKeyframe(o.codec) })
	})
	return ses, answer, nil
}

// negotiate gives the remote side of the current generation to the connection
// and returns the local description with all our candidates.
func (ses *session) negotiate() (string, error) {
	err := ses.pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeOffer, SDP: ses.offer.compose(ses.remote, ses.generation)})
	if err != nil {
		return "", fmt.Errorf("take offer: %w", err)
	}
	answer, err := ses.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(ses.pc)
	if err = ses.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("take own answer: %w", err)
	}
	select {
	case <-gathered:
	case <-time.After(gatherTime):
	}
	return ses.pc.LocalDescription().SDP, nil
}

// trickle adds the viewer's candidates. Those that we cannot use (names, other
// transports) are left out silently, as the draft wants it.
func (ses *session) trickle(candidates []string) {
	mid := ses.offer.sections[ses.offer.video].mid
	for _, c := range candidates {
		if ses.trickled == maxCandidates {
			return
		}
		ses.trickled++
		if err := ses.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c, SDPMid: &mid}); err != nil {
			ses.log.Debug("candidate left out", "error", err)
		}
	}
}

// restart begins a new ICE session with the viewer's new credentials. Media and
// DTLS go on. It returns our side as an SDP fragment.
func (ses *session) restart(p iceParameters) (string, error) {
	ses.remote, ses.trickled = p, 0
	ses.generation++
	local, err := ses.negotiate()
	if err != nil {
		return "", err
	}
	ses.trickle(p.candidates)
	ice, mid, err := localICE(local)
	if err != nil {
		return "", err
	}
	ses.etag = quotedTag()
	return formatFragment(ice, mid), nil
}

// quotedTag is a new strong entity tag (RFC 9110 section 8.8.3).
func quotedTag() string { return `"` + hexID()[:16] + `"` }

// close frees what the session holds and waits for its goroutine.
func (ses *session) close() {
	if ses.setup != nil {
		ses.setup.Stop()
	}
	if err := ses.pc.Close(); err != nil {
		ses.log.Debug("close connection", "error", err)
	}
	ses.reading.Wait()
	ses.dropChannels()
}
