package boxtest

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	pionmedia "github.com/pion/webrtc/v4/pkg/media"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// published is a WHIP client of pion's own parts: its packetizer, its sender reports,
// its answers to NACKs. It plays a clip in a loop and makes a keyframe of every round's first
// picture.
type published struct {
	t        *testing.T
	pc       *webrtc.PeerConnection
	socket   net.PacketConn
	location string
	etag     string

	cancel  context.CancelFunc
	playing sync.WaitGroup
}

// vp8Clip is the clip in VP8.
func vp8Clip(t *testing.T, w, h int) (units [][]byte) {
	t.Helper()
	gstreamer(t)
	enc, err := engine.NewEncoder(plan.Encode{Codec: "vp8", Width: w, Height: h, FPSNum: clipFPS, FPSDen: 1, GOP: clipFPS, Live: true},
		func(u engine.Unit) { units = append(units, u.Data) })
	if err != nil {
		t.Fatal(err)
	}
	for n := range clipFrames {
		f, err := engine.NewFrame(plan.I420, w, h)
		if err != nil {
			t.Fatal(err)
		}
		paint(f, n)
		f.PTS = time.Duration(n) * time.Second / clipFPS
		if err := enc.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return units
}

// offer makes a publisher's connection and its offer.
func (p *published) offer(mime string) (track *webrtc.TrackLocalStaticSample, sdp string) {
	p.t.Helper()
	var err error
	if p.socket, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
		p.t.Fatal(err)
	}
	s := webrtc.SettingEngine{}
	s.SetICEUDPMux(webrtc.NewICEUDPMux(nil, p.socket))
	s.SetIncludeLoopbackCandidate(true)
	if p.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{}); err != nil {
		p.t.Fatal(err)
	}
	if track, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000}, "video", "camera"); err != nil {
		p.t.Fatal(err)
	}
	if _, err = p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		p.t.Fatal(err)
	}
	d, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return track, p.pc.LocalDescription().SDP
}

// whip asks the box something, and returns its answer.
func whip(t *testing.T, method, url, contentType, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// publish publishes a clip under a name until the test's end; it is answered with a
// status, 201 where it is taken.
func publish(t *testing.T, b *Box, name, mime string, units [][]byte) (p *published, status int) {
	t.Helper()
	p = &published{t: t}
	track, sdp := p.offer(mime)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	t.Cleanup(p.die)
	res, answer := whip(t, "POST", b.URL+"/api/v1/whip/"+name, "application/sdp", sdp)
	if res.StatusCode != http.StatusCreated {
		t.Logf("publish as %s: %s %s", name, res.Status, answer)
		p.die()
		return p, res.StatusCode
	}
	p.location, p.etag = b.URL+res.Header.Get("Location"), res.Header.Get("ETag")
	connected := make(chan struct{})
	var once sync.Once
	p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatalf("%v of\n%s", err, answer)
	}
	select {
	case <-connected:
	case <-time.After(20 * time.Second):
		t.Fatal("the publisher found no way to the box")
	}
	p.playing.Go(func() {
		tick := time.NewTicker(time.Second / clipFPS)
		defer tick.Stop()
		for n := 0; ; n++ {
			if track.WriteSample(pionmedia.Sample{Data: units[n%len(units)], Duration: time.Second / clipFPS}) != nil {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return p, res.StatusCode
}

// die vanishes without a word: the socket is closed before anything else.
func (p *published) die() {
	if p.cancel != nil {
		p.cancel()
	}
	_ = p.socket.Close()
	p.playing.Wait()
	_ = p.pc.Close()
}

// TestPublishedCamera: a camera whose source is whip: shows that it waits, then the
// publisher's picture with boxes, the slate again when the publisher is gone, and the next
// one's picture, all to one viewer.
func TestPublishedCamera(t *testing.T) {
	small := clip(t, 640, 360)
	b := start(t, `
models: {default: motion}
cameras:
  - {id: door, source: "whip:", picture: {keyframe_interval: 1s}}
`)
	c := await(t, b, "door", 20*time.Second, "waits", func(c Camera) bool { return c.State == "offline" })
	if c.Reason != "waiting for a publisher" {
		t.Errorf("the reason is %q", c.Reason)
	}
	rec := &recorder{}
	v := watch(t, b, "door", viewer.Options{OnUnit: rec.take})
	more(t, v, 10, 20*time.Second, "the slate")
	showsSlate(t, decode(t, rec.since(time.Time{})))

	p, status := publish(t, b, "door", webrtc.MimeTypeH264, small.Units)
	if status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	began := time.Now()
	c = await(t, b, "door", 20*time.Second, "plays, and sees the block", func(c Camera) bool { return playing(c) && len(c.Objects) == 1 })
	t.Logf("the block is seen %v after the publisher was connected", time.Since(began).Round(time.Millisecond))
	if c.Stream.Codec != "H.264" || c.Stream.Width != 640 || c.Stream.Height != 360 {
		t.Errorf("it plays as %+v", c.Stream)
	}
	time.Sleep(500 * time.Millisecond)
	from := time.Now()
	more(t, v, clipFrames, 20*time.Second, "a round of the clip")
	showsBlock(t, decode(t, rec.since(from)), 640, 360)
	balanced(t, camera(t, b, "door"))

	// One publisher for each name, and none for other cameras' names.
	if _, status := publish(t, b, "door", webrtc.MimeTypeVP8, nil); status != http.StatusConflict {
		t.Errorf("a second publisher: %d, want 409", status)
	}

	// It vanishes: the slate, and it may come back as soon as it is not heard of.
	p.die()
	died := time.Now()
	c = await(t, b, "door", 20*time.Second, "is offline", func(c Camera) bool { return c.State == "offline" })
	t.Logf("%v after the publisher died: %s", time.Since(died).Round(time.Millisecond), c.Reason)
	more(t, v, 10, 20*time.Second, "the slate again")
	var again *published
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if again, status = publish(t, b, "door", webrtc.MimeTypeVP8, vp8Clip(t, 320, 240)); status == http.StatusCreated {
			break
		}
		if time.Now().After(end) || status != http.StatusConflict {
			t.Fatalf("it may not come back: %d", status)
		}
	}
	t.Logf("it could come back %v after it died", time.Since(died).Round(time.Millisecond))
	await(t, b, "door", 20*time.Second, "plays VP8", func(c Camera) bool { return playing(c) && c.Stream.Codec == "VP8" && c.Stream.Width == 320 })
	seen(t, v, 20*time.Second, "the new size", func(s viewer.Stats) bool { return s.Width == 320 })

	// It takes leave.
	if res, text := whip(t, "DELETE", again.location, "", ""); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s %s", res.Status, text)
	}
	await(t, b, "door", 20*time.Second, "waits again", func(c Camera) bool {
		return c.State == "offline" && c.Reason == "waiting for a publisher" && c.Worker.PID == 0
	})
	if c := camera(t, b, "door"); c.Restarts.Count != 0 {
		t.Errorf("%d restarts", c.Restarts.Count)
	}
	if res, _ := whip(t, "DELETE", again.location, "", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("a second DELETE: %s", res.Status)
	}
	if s := v.Stats(); s.Damaged > 0 || s.Lost > 0 {
		t.Errorf("the viewer: %+v", s)
	}
}

// TestVisitors: a name that no camera has is a camera while it is published, within
// bounds.
func TestVisitors(t *testing.T) {
	b := startIn(t, Config{Dir: t.TempDir(), YAML: "  max_publishers: 1\nmodels: {default: motion}\ncameras:\n  - {id: yard, source: \"demo:\"}\n"})
	units := vp8Clip(t, 320, 240)
	p, status := publish(t, b, "phone", webrtc.MimeTypeVP8, units)
	if status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	await(t, b, "phone", 30*time.Second, "plays, and sees the block", func(c Camera) bool { return playing(c) && len(c.Objects) == 1 })
	var all struct{ Cameras []Camera }
	if err := b.Get(t.Context(), "/api/v1/cameras", &all); err != nil || len(all.Cameras) != 2 {
		t.Errorf("%d cameras, %v", len(all.Cameras), err)
	}
	if _, text := fetch(t, b.URL+"/metrics"); !strings.Contains(text, `watchpost_camera_playing{camera="phone"} 1`) {
		t.Error("the metrics do not know the camera")
	}
	v := watch(t, b, "phone", viewer.Options{Codec: viewer.VP8})
	more(t, v, 30, 20*time.Second, "pictures of the visitor")

	if _, status := publish(t, b, "tablet", webrtc.MimeTypeVP8, units); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d, want 503", status)
	}
	if _, status := publish(t, b, "yard", webrtc.MimeTypeVP8, units); status != http.StatusConflict {
		t.Errorf("the name of another camera: %d, want 409", status)
	}
	if _, status := publish(t, b, "Front%20Door", webrtc.MimeTypeVP8, units); status != http.StatusBadRequest {
		t.Errorf("a name that is none: %d, want 400", status)
	}

	if res, _ := whip(t, "DELETE", p.location, "", ""); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s", res.Status)
	}
	// Who comes back at once finds the same camera; its viewers stay.
	again, status := publish(t, b, "phone", webrtc.MimeTypeVP8, units)
	if status != http.StatusCreated {
		t.Fatalf("it cannot come back: %d", status)
	}
	more(t, v, 60, 20*time.Second, "pictures after it came back")
	if res, _ := whip(t, "DELETE", again.location, "", ""); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s", res.Status)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, _ := fetch(t, b.URL+"/api/v1/cameras/phone"); status == http.StatusNotFound {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the camera stays though nobody publishes")
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, text := fetch(t, b.URL+"/metrics")
		if !strings.Contains(text, `camera="phone"`) && !strings.Contains(text, `camera phone"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("something of the camera is left in the metrics")
		}
	}
	if strings.Contains(b.Log(), "level=ERROR") {
		t.Error("the log has errors")
	}
}

// TestPublishedUntouched: with boxes: client a publisher's H.264 reaches viewers as it came.
func TestPublishedUntouched(t *testing.T) {
	small := clip(t, 640, 360)
	b := start(t, "models: {default: motion}\ncameras:\n  - {id: door, source: \"whip:\", boxes: client}\n")
	if _, status := publish(t, b, "door", webrtc.MimeTypeH264, small.Units); status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	await(t, b, "door", 30*time.Second, "plays, boxes for the page to draw", func(c Camera) bool { return playing(c) && c.Boxes == "client" })
	rec := &recorder{}
	v := watch(t, b, "door", viewer.Options{OnUnit: rec.take})
	seen(t, v, 20*time.Second, "the publisher's size", func(s viewer.Stats) bool { return s.Width == 640 })
	from := time.Now()
	more(t, v, clipFrames, 30*time.Second, "a round of the clip")
	for i, l := range decode(t, rec.since(from)) {
		if l.coloured > 0 || l.width != 640 || l.corrupt {
			t.Fatalf("picture %d: %+v", i, l)
		}
	}
	if c := camera(t, b, "door"); c.Encoder != "" || c.BoxesReason != "" {
		t.Errorf("encoder %q, boxes %q because %q", c.Encoder, c.Boxes, c.BoxesReason)
	}
}

// TestWHIPErrors: what a publisher does wrong is said, and harms nothing.
func TestWHIPErrors(t *testing.T) {
	b := start(t, "models: {default: motion}\ncameras:\n  - {id: door, source: \"whip:\"}\n")
	p := &published{t: t}
	_, good := p.offer(webrtc.MimeTypeVP8)
	defer p.die()
	url := b.URL + "/api/v1/whip/door"
	for _, tc := range []struct {
		name, method, url, contentType, body string
		status                               int
		says                                 string
	}{
		{"content type", "POST", url, "text/plain", good, 415, "application/sdp"},
		{"nothing", "POST", url, "application/sdp", "", 400, "SDP"},
		{"not SDP", "POST", url, "application/sdp", strings.Repeat("m=video\r\n", 100), 400, "SDP"},
		{"too large", "POST", url, "application/sdp", good + strings.Repeat("a=x\r\n", 20000), 413, ""},
		{"other codecs", "POST", url, "application/sdp", strings.NewReplacer("H264/90000", "H265/90000", "VP8/90000", "AV1/90000").Replace(good), 406, "VP8"},
		{"a viewer", "POST", url, "application/sdp", strings.ReplaceAll(good, "a=sendonly", "a=recvonly"), 400, "sendonly"},
		{"no fingerprint", "POST", url, "application/sdp", strings.ReplaceAll(good, "a=fingerprint", "a=finger"), 400, "fingerprint"},
		{"GET", "GET", url, "", "", 405, "POST"},
		{"no session", "PATCH", url + "/none", "application/trickle-ice-sdpfrag", "", 404, ""},
	} {
		res, text := whip(t, tc.method, tc.url, tc.contentType, tc.body)
		if res.StatusCode != tc.status || !strings.Contains(text, tc.says) {
			t.Errorf("%s: %s %s, want %d with %q", tc.name, res.Status, text, tc.status, tc.says)
		}
	}
	res, _ := whip(t, "OPTIONS", url, "", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Accept-Post") != "application/sdp" {
		t.Errorf("OPTIONS: %s, Accept-Post %q", res.Status, res.Header.Get("Accept-Post"))
	}

	pub, status := publish(t, b, "door", webrtc.MimeTypeVP8, vp8Clip(t, 320, 240))
	if status != http.StatusCreated || pub.etag == "" {
		t.Fatalf("status %d, ETag %q", status, pub.etag)
	}
	const fragment = "application/trickle-ice-sdpfrag"
	for _, tc := range []struct {
		name, contentType, body string
		header                  []string
		status                  int
	}{
		{"without If-Match", fragment, "a=end-of-candidates\r\n", nil, 428},
		{"of another generation", fragment, "a=end-of-candidates\r\n", []string{"If-Match", `"x"`}, 412},
		{"of another type", "application/sdp", "", []string{"If-Match", pub.etag}, 415},
		{"a candidate", fragment, "a=mid:0\r\na=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host\r\n", []string{"If-Match", pub.etag}, 204},
		{"half of a restart", fragment, "a=ice-ufrag:abcd\r\n", []string{"If-Match", "*"}, 400},
	} {
		if res, text := whip(t, "PATCH", pub.location, tc.contentType, tc.body, tc.header...); res.StatusCode != tc.status {
			t.Errorf("PATCH %s: %s %s, want %d", tc.name, res.Status, text, tc.status)
		}
	}
	await(t, b, "door", 30*time.Second, "plays after all that", playing)
	if strings.Contains(b.Log(), "level=ERROR") {
		t.Error("the log has errors")
	}
}
