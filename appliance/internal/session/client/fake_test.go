package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// far is the other side of a session: a real pion peer without any of the box's
// logic, so that a fault of the client's is not met by the same fault of the box's.
type far struct {
	t   *testing.T
	url string

	// Set before a client comes.
	refuse  func(w http.ResponseWriter) bool
	serve   func(label string, ch datachannel.ReadWriteCloser)
	packet  func(p *rtp.Packet, back *webrtc.TrackLocalStaticRTP)
	request map[string]json.RawMessage // the last one
	states  chan webrtc.PeerConnectionState
}

func newFar(t *testing.T) *far {
	f := &far{t: t, states: make(chan webrtc.PeerConnectionState, 64)}
	web := httptest.NewServer(http.HandlerFunc(f.answer))
	f.url = web.URL
	t.Cleanup(func() {
		web.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return f
}

func (f *far) answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/initialise_webrtc_worker" {
		f.t.Errorf("%s %s", r.Method, r.URL.Path)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.request = nil
	if err := json.Unmarshal(body, &f.request); err != nil {
		f.t.Errorf("%s: %v", body, err)
	}
	if f.refuse != nil && f.refuse(w) {
		return
	}
	var offer webrtc.SessionDescription
	if err := json.Unmarshal(f.request["webrtc_offer"], &offer); err != nil {
		f.t.Error(err)
	}
	answer, err := f.connect(offer)
	if err != nil {
		f.t.Error(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": "success", "context": map[string]any{"session": nil}, "type": "answer", "sdp": answer,
	})
}

func (f *far) connect(offer webrtc.SessionDescription) (string, error) {
	var settings webrtc.SettingEngine
	settings.DetachDataChannels()
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICETimeouts(500*time.Millisecond, time.Second, 100*time.Millisecond)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	f.t.Cleanup(func() { _ = pc.GracefulClose() })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { f.states <- s })
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnOpen(func() {
			raw, err := dc.Detach()
			if err != nil {
				f.t.Error(err)
				return
			}
			go f.serve(dc.Label(), raw)
		})
	})
	if err := pc.SetRemoteDescription(offer); err != nil {
		return "", err
	}
	if f.packet != nil {
		back, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "far")
		if err != nil {
			return "", err
		}
		if _, err := pc.AddTrack(back); err != nil {
			return "", err
		}
		pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for {
				p, _, err := t.ReadRTP()
				if err != nil {
					return
				}
				f.packet(p, back)
			}
		})
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

// until waits for a state of the far connection.
func (f *far) until(within time.Duration, want ...webrtc.PeerConnectionState) webrtc.PeerConnectionState {
	f.t.Helper()
	end := time.After(within)
	for {
		select {
		case s := <-f.states:
			for _, w := range want {
				if s == w {
					return s
				}
			}
		case <-end:
			f.t.Fatalf("the far side was not %v within %v", want, within)
			return 0
		}
	}
}
