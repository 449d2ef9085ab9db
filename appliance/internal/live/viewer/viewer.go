package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// Codec is what a Viewer offers to decode.
type Codec string

// The codecs that the box serves. The zero value offers both, H.264 first.
const (
	H264 Codec = "h264"
	VP8  Codec = "vp8"
)

// Options of a Viewer.
type Options struct {
	// Codec is the only one offered; empty: both.
	Codec Codec
	// TCP connects over ICE-TCP alone.
	TCP bool
	// OnUnit gets every complete picture, from one goroutine; Data is its own.
	// Blocking it delays the pictures after, until the kernel drops packets.
	OnUnit func(Unit)
	// Client makes the HTTP requests; nil: http.DefaultClient.
	Client *http.Client
	// Header is sent with each of them (a sign-in).
	Header http.Header
}

// Unit is one complete picture as it came.
type Unit struct {
	Codec    Codec
	Keyframe bool
	// Width and Height of a keyframe's picture; 0 for others.
	Width, Height int
	// Timestamp is RTP's, 90 kHz.
	Timestamp uint32
	// At is when its last packet came.
	At time.Time
	// Data is H.264 in Annex B or one VP8 frame.
	Data []byte
}

// Stats is what a Viewer has got so far.
type Stats struct {
	State   webrtc.PeerConnectionState
	Codec   Codec // negotiated; empty before the first packet
	Packets uint64
	Bytes   uint64 // RTP packets with their headers
	// Lost packets never came; Late ones came out of order and were used.
	Lost, Late uint64
	// Units are complete pictures; Damaged ones lacked a packet.
	Units, Damaged, Keyframes uint64
	// Sizes counts changes of the picture's size, its first one included.
	Sizes         int
	Width, Height int
	// Asked is when the offer went out. The others are zero before they happened.
	Asked, Connected, FirstPacket, FirstUnit, LastUnit time.Time
}

// Viewer is one player's session. Its methods may be called from any goroutine.
type Viewer struct {
	options Options
	pc      *webrtc.PeerConnection
	session string
	reading sync.WaitGroup

	mu     sync.Mutex
	stats  Stats
	change chan struct{} // closed and replaced whenever stats change
	closed bool
}

// Connect offers itself at a WHEP address and returns once the answer is taken;
// the connection and the pictures come later (Wait). Close ends it. ctx is for
// the negotiation alone.
func Connect(ctx context.Context, endpoint string, o Options) (*Viewer, error) {
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	pc, err := newPeer(o)
	if err != nil {
		return nil, err
	}
	v := &Viewer{options: o, pc: pc, change: make(chan struct{})}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		v.update(func(st *Stats) {
			st.State = s
			if s == webrtc.PeerConnectionStateConnected && st.Connected.IsZero() {
				st.Connected = time.Now()
			}
		})
	})
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if v.begin() {
			defer v.reading.Done()
			v.read(t)
		}
	})
	if err := v.negotiate(ctx, endpoint); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	return v, nil
}

// newPeer makes a connection that does what browsers do: NACKs, receiver
// reports, and loopback addresses besides.
func newPeer(o Options) (*webrtc.PeerConnection, error) {
	m := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	offered := map[Codec]webrtc.RTPCodecParameters{
		H264: {PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: clockRate, RTCPFeedback: feedback,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		}},
		VP8: {PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: clockRate, RTCPFeedback: feedback,
		}},
	}
	for _, c := range []Codec{H264, VP8} {
		if o.Codec != "" && o.Codec != c {
			continue
		}
		if err := m.RegisterCodec(offered[c], webrtc.RTPCodecTypeVideo); err != nil {
			return nil, fmt.Errorf("register %s: %w", c, err)
		}
	}
	r := &interceptor.Registry{}
	if err := errors.Join(webrtc.ConfigureNack(m, r), webrtc.ConfigureRTCPReports(r)); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	s := webrtc.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if o.TCP {
		networks = []webrtc.NetworkType{webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6}
	}
	s.SetNetworkTypes(networks)
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s.LoggerFactory = quiet
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(s))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("new peer connection: %w", err)
	}
	recv := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recv); err != nil {
		return nil, errors.Join(fmt.Errorf("add transceiver: %w", err), pc.Close())
	}
	return pc, nil
}

func (v *Viewer) negotiate(ctx context.Context, endpoint string) error {
	offer, err := v.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("take own offer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	v.update(func(s *Stats) { s.Asked = time.Now() })
	res, body, err := v.request(ctx, http.MethodPost, endpoint, v.pc.LocalDescription().SDP)
	if err != nil {
		return fmt.Errorf("offer to watch: %w", err)
	}
	if res.StatusCode != http.StatusCreated {
		return &StatusError{Code: res.StatusCode, Body: body}
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("offer to watch: %w", err)
	}
	session, err := base.Parse(res.Header.Get("Location"))
	if err != nil {
		return fmt.Errorf("the answer's Location: %w", err)
	}
	v.session = session.String()
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}
	if err := v.pc.SetRemoteDescription(answer); err != nil {
		return fmt.Errorf("take the answer: %w", err)
	}
	return nil
}

// StatusError is an offer that was refused.
type StatusError struct {
	Code int
	Body string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the offer was refused: %d %s: %s", e.Code, http.StatusText(e.Code), strings.TrimSpace(e.Body))
}

func (v *Viewer) request(ctx context.Context, method, address, body string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	for k, values := range v.options.Header {
		req.Header[k] = values
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/sdp")
	}
	res, err := v.options.Client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res, string(b), err
}

// Stats returns what came so far.
func (v *Viewer) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stats
}

// Wait returns when done says so of the counts, which it is asked whenever they
// change, or ctx's error with what is there by then.
func (v *Viewer) Wait(ctx context.Context, done func(Stats) bool) (Stats, error) {
	for {
		v.mu.Lock()
		s, change := v.stats, v.change
		v.mu.Unlock()
		if done(s) {
			return s, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// begin enters a reader, unless the viewer is closed.
func (v *Viewer) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.reading.Add(1)
	}
	return !v.closed
}

func (v *Viewer) update(f func(*Stats)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.stats)
	close(v.change)
	v.change = make(chan struct{})
}

// leaveTimeout is how long Close waits for the box to hear of it.
const leaveTimeout = 2 * time.Second

// Close leaves: the box is told, the connection ends, OnUnit is not called any
// more. A box that is gone is no error.
func (v *Viewer) Close() error {
	if v.session != "" {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		_, _, _ = v.request(ctx, http.MethodDelete, v.session, "")
		cancel()
	}
	return v.Drop()
}

// Drop ends the connection without a word, as a player that crashes does.
func (v *Viewer) Drop() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	err := v.pc.Close()
	v.reading.Wait()
	return err
}
