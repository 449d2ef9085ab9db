package live

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// gatherTime bounds the wait for our candidates. They are the addresses of the
// shared ports, which are known at once; no STUN server is asked.
const gatherTime = 200 * time.Millisecond

// transport is the connection of one peer that came with an offer, and what it may
// change of it while it lasts.
type transport struct {
	id  string
	pc  *webrtc.PeerConnection
	log *slog.Logger

	ended sync.Once
	setup *time.Timer

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

// quotedTag is a new strong entity tag (RFC 9110 section 8.8.3).
func quotedTag() string { return `"` + hexID()[:16] + `"` }

// negotiate gives the remote side of the current generation to the connection
// and returns the local description with all our candidates.
func (t *transport) negotiate() (string, error) {
	err := t.pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeOffer, SDP: t.offer.compose(t.remote, t.generation)})
	if err != nil {
		return "", fmt.Errorf("take offer: %w", err)
	}
	answer, err := t.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(t.pc)
	if err = t.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("take own answer: %w", err)
	}
	select {
	case <-gathered:
	case <-time.After(gatherTime):
	}
	return t.pc.LocalDescription().SDP, nil
}

// trickle adds the viewer's candidates. Those that we cannot use (names, other
// transports) are left out silently, as the draft wants it.
func (t *transport) trickle(candidates []string) {
	mid := t.offer.sections[t.offer.video].mid
	for _, c := range candidates {
		if t.trickled == maxCandidates {
			return
		}
		t.trickled++
		if err := t.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c, SDPMid: &mid}); err != nil {
			t.log.Debug("candidate left out", "error", err)
		}
	}
}

// restart begins a new ICE session with the viewer's new credentials. Media and
// DTLS go on. It returns our side as an SDP fragment.
func (t *transport) restart(p iceParameters) (string, error) {
	t.remote, t.trickled = p, 0
	t.generation++
	local, err := t.negotiate()
	if err != nil {
		return "", err
	}
	t.trickle(p.candidates)
	ice, mid, err := localICE(local)
	if err != nil {
		return "", err
	}
	t.etag = quotedTag()
	return formatFragment(ice, mid), nil
}
