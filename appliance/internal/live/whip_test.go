package live

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// sinks is an Open that remembers what it gave.
type sinks struct {
	mu    sync.Mutex
	open  int
	ended int
	units []Unit
	last  func() // asks the last publisher for a keyframe
	err   error
}

func (s *sinks) take(_ string, refresh func()) (Sink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.open++
	s.last = refresh
	return (*oneSink)(s), nil
}

func (s *sinks) counts() (open, ended, units int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.ended, len(s.units)
}

type oneSink sinks

func (s *oneSink) Give(u Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units = append(s.units, u)
}

func (s *oneSink) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
}

// publisherOf makes a publisher's connection and its offer.
func publisherOf(t *testing.T) (*webrtc.PeerConnection, *webrtc.TrackLocalStaticSample, string) {
	t.Helper()
	s := webrtc.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return pc, track, offerOf(t, pc, true)
}

// TestPublisher: what is published reaches the sink, the sink's wish for a keyframe the
// publisher, and every sink that was opened is ended, however its publisher goes.
func TestPublisher(t *testing.T) {
	all := &sinks{}
	server, _, web := testServer(t, nil)
	server.deps.Open = all.take
	pc, track, offer := publisherOf(t)
	res, answer := request(t, "POST", web.URL+"/api/v1/whip/phone", typeSDP, offer, nil)
	if res.StatusCode != http.StatusCreated || res.Header.Get("ETag") == "" || res.Header.Get("Accept-Patch") != typeFragment {
		t.Fatalf("%s %v: %s", res.Status, res.Header, answer)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	plis := make(chan struct{}, 100)
	go func() {
		sender := pc.GetSenders()[0]
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if strings.HasSuffix(fmt.Sprintf("%T", p), "PictureLossIndication") {
					plis <- struct{}{}
				}
			}
		}
	}()
	frame := append([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 1, 0, 1, 0}, make([]byte, 3000)...)
	eventually(t, "units at the sink", 20*time.Second, func() bool {
		_ = track.WriteSample(media.Sample{Data: frame, Duration: time.Second / 30})
		_, _, n := all.counts()
		return n > 5
	})
	all.mu.Lock()
	if u := all.units[0]; u.Codec != VP8 || !u.Keyframe || len(u.Data) != len(frame) || u.PTS != 0 || u.Captured == 0 {
		t.Errorf("the first unit: %+v", u)
	}
	refresh := all.last
	all.mu.Unlock()
	refresh()
	select {
	case <-plis:
	case <-time.After(20 * time.Second):
		t.Error("the wish for a keyframe did not reach the publisher")
	}
	if res, _ := request(t, "POST", web.URL+"/api/v1/whip/phone", typeSDP, offer, nil); res.StatusCode != http.StatusConflict || res.Header.Get("Retry-After") == "" {
		t.Errorf("a second publisher: %s", res.Status)
	}
	// It hangs up: the connection's end ends the sink.
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the sink", 20*time.Second, func() bool { open, ended, _ := all.counts(); return open == 1 && ended == 1 })
	if res, _ := request(t, "DELETE", web.URL+res.Header.Get("Location"), "", "", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE of one that left: %s", res.Status)
	}
}

// TestPublishersRace: many want the same name; one at a time has it, and none is left.
func TestPublishersRace(t *testing.T) {
	all := &sinks{}
	server, _, web := testServer(t, nil)
	server.deps.Open = all.take
	_, _, offer := publisherOf(t)
	var asking sync.WaitGroup
	for range 12 {
		asking.Go(func() {
			res, body := request(t, "POST", web.URL+"/api/v1/whip/phone", typeSDP, offer, nil)
			if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusConflict {
				t.Errorf("%s %s", res.Status, body)
			}
		})
	}
	asking.Wait()
	server.mu.Lock()
	n := len(server.publishers)
	server.mu.Unlock()
	if n != 1 {
		t.Errorf("%d publishers of one name", n)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if open, ended, _ := all.counts(); open != ended || open == 0 {
		t.Errorf("%d sinks were opened, %d ended", open, ended)
	}
}

// TestPublisherRefused: why nothing is taken is said in the status, too.
func TestPublisherRefused(t *testing.T) {
	all := &sinks{}
	server, _, web := testServer(t, nil)
	server.deps.Open = all.take
	_, _, offer := publisherOf(t)
	for err, status := range map[error]int{
		ErrTaken: 409, ErrManyPublishers: 503, ErrName: 400, ErrClosed: 503,
	} {
		all.err = fmt.Errorf("%w: because", err)
		res, body := request(t, "POST", web.URL+"/api/v1/whip/phone", typeSDP, offer, nil)
		if res.StatusCode != status {
			t.Errorf("%v: %s, want %d", err, res.Status, status)
		}
		problemOf(t, res, body)
	}
	all.err = nil
	many := strings.Repeat("a=ssrc:1 cname:x\r\na=extmap:99999 "+"http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n", 200)
	if res, body := request(t, "POST", web.URL+"/api/v1/whip/phone", typeSDP, offer+many, nil); res.StatusCode != http.StatusCreated {
		t.Errorf("many streams in one offer: %s %s", res.Status, body)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(server.publishers) != 1 {
		t.Errorf("%d publishers", len(server.publishers))
	}
}
