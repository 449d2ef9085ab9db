package rtcworker

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// relay is a real TURN server; it returns its URL.
func relay(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s, err := turn.NewServer(turn.ServerConfig{
		Realm: "test", LoggerFactory: quiet,
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey(a.Username, "test", "secret"), a.Username == "user"
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return "turn:" + conn.LocalAddr().String() + "?transport=udp"
}

// ear is a server that never answers, and counts what it hears.
func ear(t *testing.T) (address string, heard *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard = &atomic.Int64{}
	go func() {
		buf := make([]byte, 2000)
		for {
			if _, _, err := conn.ReadFrom(buf); err != nil {
				return
			}
			heard.Add(1)
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String(), heard
}

// Documents come over a TURN server that the client names, where there is no other way.
func TestRelay(t *testing.T) {
	b := start(t, setting{})
	ask := asks(plays("frames=20"))
	ask.Config = &client.ICEConfig{Servers: []client.ICEServer{{URLs: relay(t), Username: "user", Credential: "secret"}}}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.GracefulClose() }()
	dc, err := pc.CreateDataChannel("inference", nil)
	if err != nil {
		t.Fatal(err)
	}
	complete := make(chan struct{})
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		if bytes.Contains(m.Data, []byte(`"processing_complete":true`)) {
			close(complete)
		}
	})
	answer := b.negotiate(pc, ask)
	if !strings.Contains(answer, "typ relay") {
		t.Fatalf("no relayed address in\n%s", answer)
	}
	// Every other way is taken out.
	answer = regexp.MustCompile(`(?m)^a=candidate:.* typ (host|srflx).*\r?\n`).ReplaceAllString(answer, "")
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-complete:
	case <-time.After(patience):
		t.Fatal("nothing came over the relay")
	}
	_ = pc.GracefulClose()
	b.empty()
}

// negotiate posts a request with pc's offer and returns the answer.
func (b *box) negotiate(pc *webrtc.PeerConnection, ask client.Request) string {
	b.t.Helper()
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		b.t.Fatal(err)
	}
	<-gathered
	raw, err := json.Marshal(ask)
	if err != nil {
		b.t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		b.t.Fatal(err)
	}
	body["webrtc_offer"] = map[string]string{"type": "offer", "sdp": pc.LocalDescription().SDP}
	if raw, err = json.Marshal(body); err != nil {
		b.t.Fatal(err)
	}
	res, err := http.Post(b.url+Endpoint, "application/json", bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if raw, err = io.ReadAll(res.Body); err != nil {
		b.t.Fatal(err)
	}
	var answer struct{ SDP, Type string }
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Type != "answer" {
		b.t.Fatalf("%s: %s", res.Status, raw)
	}
	return answer.SDP
}

// Servers that never answer cost the answer 2 s at most, and the session's end nothing.
func TestDeafServers(t *testing.T) {
	t.Parallel()
	address, heard := ear(t)
	b := start(t, setting{})
	ask := asks(plays("frames=3"))
	ask.Config = &client.ICEConfig{Servers: []client.ICEServer{
		{URLs: []string{"stun:" + address}}, {URLs: "turn:" + address + "?transport=udp", Username: "u", Credential: "c"},
	}}
	w := b.dial(ask, client.WorkerOptions{})
	if w.Took > 4*time.Second || heard.Load() == 0 {
		t.Errorf("the answer took %v, and the server heard %d packets", w.Took, heard.Load())
	}
	finish(t, w, true)
	_ = w.Close()
	left := time.Now()
	b.empty()
	if took := time.Since(left); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	t.Logf("the answer took %v, the end %v", w.Took, time.Since(left))
}

// An offline box contacts nobody, whatever servers are named, and says so.
func TestOffline(t *testing.T) {
	address, heard := ear(t)
	server := ICEServer{URLs: []string{"stun:" + address}}
	b := start(t, setting{config: Config{Offline: true, ICEServers: []ICEServer{server}}})
	ask := asks(plays("frames=3"))
	ask.Config = &client.ICEConfig{Servers: []client.ICEServer{
		{URLs: "stun:" + address}, {URLs: []string{"turn:" + address}, Username: "u", Credential: "c"},
	}}
	w := b.dial(ask, client.WorkerOptions{})
	if w.Took > time.Second {
		t.Errorf("the answer took %v", w.Took)
	}
	finish(t, w, true)
	if n := heard.Load(); n > 0 {
		t.Errorf("the server heard %d packets", n)
	}
	if !strings.Contains(b.log.String(), "this box is offline") {
		t.Error("the log does not say so")
	}
}

// The older form of naming servers counts too.
func TestTurnConfig(t *testing.T) {
	b := start(t, setting{})
	ask := asks(plays("hang=1"))
	ask.More = map[string]any{"webrtc_turn_config": map[string]any{"urls": relay(t), "username": "user", "credential": "secret"}}
	if w := b.dial(ask, client.WorkerOptions{}); !strings.Contains(w.Answer, "typ relay") {
		t.Errorf("no relayed address in\n%s", w.Answer)
	}
}
