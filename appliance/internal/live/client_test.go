package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

// fakeEncoder stands for a worker: it records what it is asked for and, while
// wanted, publishes pictures that a decoder of our own can check.
type fakeEncoder struct {
	stream *Stream
	gop    int
	size   int

	mu       sync.Mutex
	wants    [][2]bool
	want     [2]bool
	force    [2]bool
	requests []time.Time
	count    uint32
}

func (e *fakeEncoder) Want(h264, vp8 bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.want = [2]bool{h264, vp8}
	e.wants = append(e.wants, e.want)
}

func (e *fakeEncoder) RequestKeyframe(c Codec) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.force[c-1] = true
	e.requests = append(e.requests, time.Now())
}

// next makes the unit that is due, for each rendition wanted.
func (e *fakeEncoder) next(pts time.Duration) {
	e.mu.Lock()
	e.count++
	n := e.count
	var units []Unit
	for i, c := range codecs {
		if !e.want[i] {
			continue
		}
		key := e.force[i] || e.gop > 0 && int(n)%e.gop == 1
		e.force[i] = false
		size := e.size
		if key {
			size *= 5
		}
		units = append(units, Unit{Codec: c, Keyframe: key, PTS: pts, Captured: monotonic(), Data: testUnit(c, key, n, size)})
	}
	e.mu.Unlock()
	for _, u := range units {
		e.stream.Publish(u)
	}
}

// run publishes at a rate until ctx ends.
func (e *fakeEncoder) run(ctx context.Context, fps int) {
	t := time.NewTicker(time.Second / time.Duration(fps))
	defer t.Stop()
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			e.next(time.Since(start))
		}
	}
}

// testUnit is a picture with a number in it and valid framing; size in bytes.
func testUnit(c Codec, key bool, n uint32, size int) []byte {
	body := make([]byte, max(8, size))
	r := rand.New(rand.NewPCG(uint64(n), 0))
	for i := range body {
		body[i] = byte(1 + r.IntN(255)) // no zeros: no start codes inside
	}
	binary.BigEndian.PutUint32(body[1:], n|0x01010101)
	if c == VP8 {
		body[0] = 1
		if key {
			body[0] = 0
		}
		return body
	}
	if !key {
		body[0] = 0x41
		return append([]byte{0, 0, 0, 1}, body...)
	}
	body[0] = 0x65
	unit := []byte{0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 1}
	return append(unit, body...)
}

// testServer is a server on loopback with one camera "front".
func testServer(t *testing.T, tune func(*Config)) (*Server, *fakeEncoder, *httptest.Server) {
	t.Helper()
	c := Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}
	if tune != nil {
		tune(&c)
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("WATCHPOST_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := New(Deps{Log: log}, c)
	if err != nil {
		t.Fatal(err)
	}
	e := &fakeEncoder{gop: 60, size: 6000}
	e.stream = s.Stream("front", e)
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, e, web
}

// client is a player.
type client struct {
	t       *testing.T
	pc      *webrtc.PeerConnection
	web     string
	session string
	etag    string
	answer  string

	mu      sync.Mutex
	packets []*rtp.Packet
	codec   string
	states  chan webrtc.PeerConnectionState
}

type clientOptions struct {
	tcp    bool
	vp8    bool // no H.264
	audio  bool
	hide   bool                    // offers no candidates: the server cannot reach it but by its answer
	drop   func(seq uint16) bool   // loses a packet on its way, before NACKs are made
	answer func(sdp string) string // changes the answer
	// channels are the labels of data channels to open, and message gets what comes.
	channels []string
	message  func(label, text string)
}

func h264Codec(pt webrtc.PayloadType, fmtp string) webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: fmtp,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}}}
}

func newPeer(t *testing.T, o clientOptions) *webrtc.PeerConnection {
	t.Helper()
	m := &webrtc.MediaEngine{}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	if o.audio {
		must(m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}}, webrtc.RTPCodecTypeAudio))
	}
	must(m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}}}, webrtc.RTPCodecTypeVideo))
	if !o.vp8 {
		must(m.RegisterCodec(h264Codec(102, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"), webrtc.RTPCodecTypeVideo))
		must(m.RegisterCodec(h264Codec(125, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"), webrtc.RTPCodecTypeVideo))
	}
	r := &interceptor.Registry{}
	if o.drop != nil {
		must(webrtc.ConfigureNack(m, r))
	}
	s := webrtc.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s.LoggerFactory = quiet
	if o.tcp {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	} else {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	}
	if o.drop != nil {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		must(err)
		_ = conn.SetReadBuffer(4 << 20) // what is lost is to be lost by drop alone
		mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: lossyConn{conn, o.drop}, Logger: quiet.NewLogger("ice")})
		t.Cleanup(func() { _ = mux.Close() })
		s.SetICEUDPMux(mux)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(s)).
		NewPeerConnection(webrtc.Configuration{})
	must(err)
	t.Cleanup(func() { _ = pc.Close() })
	return pc
}

// offerOf makes an offer with all candidates.
func offerOf(t *testing.T, pc *webrtc.PeerConnection, audio bool) string {
	t.Helper()
	recv := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if audio {
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, recv); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recv); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-done
	return pc.LocalDescription().SDP
}

// watch connects a player to the camera.
func watch(t *testing.T, web string, o clientOptions) *client {
	t.Helper()
	c := &client{t: t, pc: newPeer(t, o), web: web, states: make(chan webrtc.PeerConnectionState, 16)}
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { c.states <- s })
	c.pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		c.mu.Lock()
		c.codec = tr.Codec().MimeType
		c.mu.Unlock()
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.packets = append(c.packets, p)
			c.mu.Unlock()
		}
	})
	for _, label := range o.channels {
		ordered, retransmits := false, uint16(0)
		d, err := c.pc.CreateDataChannel(label, &webrtc.DataChannelInit{Ordered: &ordered, MaxRetransmits: &retransmits})
		if err != nil {
			t.Fatal(err)
		}
		d.OnMessage(func(m webrtc.DataChannelMessage) { o.message(label, string(m.Data)) })
	}
	sdp := offerOf(t, c.pc, o.audio)
	if o.hide {
		sdp = without(sdp, "a=candidate")
	}
	res, body := request(t, http.MethodPost, web+"/api/v1/cameras/front/whep", "application/sdp", sdp, nil)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("POST: %s %s", res.Status, body)
	}
	c.session, c.etag, c.answer = res.Header.Get("Location"), res.Header.Get("ETag"), body
	if o.answer != nil {
		body = o.answer(body)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}); err != nil {
		t.Fatalf("answer refused: %v\n%s", err, body)
	}
	return c
}

func request(t *testing.T, method, url, contentType, body string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// received copies the packets so far, as they came.
func (c *client) received() []*rtp.Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.packets)
}

// inOrder copies the packets so far, in order of their sequence numbers and
// without duplicates.
func (c *client) inOrder() []*rtp.Packet {
	p := c.received()
	slices.SortStableFunc(p, func(a, b *rtp.Packet) int { return int(int16(a.SequenceNumber - b.SequenceNumber)) })
	return slices.CompactFunc(p, func(a, b *rtp.Packet) bool { return a.SequenceNumber == b.SequenceNumber })
}

// lossyConn loses RTP packets on their way to a client, before SRTP sees them.
type lossyConn struct {
	*net.UDPConn
	drop func(seq uint16) bool
}

func (c lossyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFrom(b)
		rtcp := n > 1 && b[1] >= 192 && b[1] <= 223
		if err != nil || n < 4 || b[0] < 128 || b[0] > 191 || rtcp || !c.drop(binary.BigEndian.Uint16(b[2:])) {
			return n, from, err
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, within time.Duration, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// units puts complete pictures together again: H.264 as Annex B, VP8 as is. It
// fails the test when a sequence number is missing.
func units(t *testing.T, packets []*rtp.Packet, codec Codec) (out [][]byte, stamps []uint32) {
	t.Helper()
	var cur []byte
	for i, p := range packets {
		if i > 0 && p.SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("sequence number %d after %d", p.SequenceNumber, packets[i-1].SequenceNumber)
		}
		if codec == VP8 {
			cur = append(cur, p.Payload[1:]...)
		} else {
			cur = appendH264(t, cur, p.Payload)
		}
		if p.Marker {
			out, stamps = append(out, cur), append(stamps, p.Timestamp)
			cur = nil
		}
	}
	return out, stamps
}

func appendH264(t *testing.T, unit, p []byte) []byte {
	t.Helper()
	start := []byte{0, 0, 0, 1}
	switch p[0] & 0x1f {
	case 24: // STAP-A
		for rest := p[1:]; len(rest) > 2; {
			n := int(binary.BigEndian.Uint16(rest))
			unit = append(append(unit, start...), rest[2:2+n]...)
			rest = rest[2+n:]
		}
		return unit
	case 28: // FU-A
		if p[1]&0x80 != 0 {
			unit = append(append(unit, start...), p[0]&0xe0|p[1]&0x1f)
		}
		return append(unit, p[2:]...)
	default:
		return append(append(unit, start...), p...)
	}
}

// sameNALs compares Annex B units without regard to the length of start codes.
func sameNALs(a, b []byte) bool {
	var x, y [][]byte
	for n := range packet.NALUnits(a) {
		x = append(x, n)
	}
	for n := range packet.NALUnits(b) {
		y = append(y, n)
	}
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if !bytes.Equal(x[i], y[i]) {
			return false
		}
	}
	return true
}
