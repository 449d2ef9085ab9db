package boxtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// Clip is H.264 that is played in a loop: one access unit in Annex B a frame,
// the first one a keyframe with its parameter sets.
type Clip struct {
	FPS   int
	Units [][]byte
}

// RTSPConfig is what a camera does that a test needs.
type RTSPConfig struct {
	// User and Password are asked for if they are not empty, by Digest, or by
	// Basic.
	User, Password string
	Basic          bool
	// UDPOnly refuses interleaved transport, TCPOnly the other.
	UDPOnly, TCPOnly bool
}

// RTSPCamera is an RTSP server on loopback that plays clips, and can be cut,
// mended, silenced and switched to another clip. Its methods may be called from
// any goroutine.
type RTSPCamera struct {
	config  RTSPConfig
	address string // host:port, the same for its whole life

	mu       sync.Mutex
	clip     Clip
	at       int // unit of clip to play next
	silent   bool
	server   *gortsplib.Server
	stream   *gortsplib.ServerStream
	playing  context.CancelFunc
	played   sync.WaitGroup
	plays    int
	refused  int
	protocol gortsplib.Protocol // of the last SETUP
}

// NewRTSPCamera starts a camera on a free port.
func NewRTSPCamera(clip Clip, c RTSPConfig) (*RTSPCamera, error) {
	r := &RTSPCamera{config: c, clip: clip, address: "127.0.0.1:0"}
	return r, r.Mend()
}

// URL of the stream, with the credentials given, if any.
func (r *RTSPCamera) URL(user, password string) string {
	if user != "" {
		return fmt.Sprintf("rtsp://%s:%s@%s/stream", user, password, r.address)
	}
	return fmt.Sprintf("rtsp://%s/stream", r.address)
}

// Plays is how many times somebody began to play, Refused how many requests
// came without the right credentials.
func (r *RTSPCamera) Plays() int   { r.mu.Lock(); defer r.mu.Unlock(); return r.plays }
func (r *RTSPCamera) Refused() int { r.mu.Lock(); defer r.mu.Unlock(); return r.refused }

// OverUDP tells whether the last player chose UDP.
func (r *RTSPCamera) OverUDP() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.protocol == gortsplib.ProtocolUDP
}

// Play changes to another clip with its next unit, without a word to players
// but the parameter sets in front of it.
func (r *RTSPCamera) Play(clip Clip) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clip, r.at = clip, 0
}

// Silence keeps all connections open and sends nothing, or goes on. A camera that
// goes on begins its clip anew.
func (r *RTSPCamera) Silence(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent, r.at = on, 0
}

// Cut closes the port and every connection, as pulling the camera's plug does.
func (r *RTSPCamera) Cut() {
	r.mu.Lock()
	server, stream, stop := r.server, r.stream, r.playing
	r.server, r.stream, r.playing = nil, nil, nil
	r.mu.Unlock()
	if server == nil {
		return
	}
	stop()
	r.played.Wait()
	stream.Close()
	server.Close()
	// Close is asynchronous as far as the port goes; Wait is not.
	_ = server.Wait()
}

// Mend has the camera back on the same port.
func (r *RTSPCamera) Mend() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		return errors.New("the camera is running")
	}
	var err error
	// Another process may be quicker to take the pair of UDP ports: try again.
	for range 20 {
		if err = r.listen(); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("start an RTSP camera: %w", err)
	}
	track := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	track.SPS, track.PPS = parameterSets(r.clip.Units[0])
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{track}}
	stream := &gortsplib.ServerStream{Server: r.server, Desc: &description.Session{Medias: []*description.Media{media}}}
	if err := stream.Initialize(); err != nil {
		r.server.Close()
		r.server = nil
		return fmt.Errorf("start an RTSP camera: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stream, r.playing, r.at = stream, cancel, 0
	r.played.Go(func() { r.play(ctx, stream, media, track) })
	return nil
}

// listen starts the server; r.mu is held.
func (r *RTSPCamera) listen() error {
	s := &gortsplib.Server{
		Handler: handler{r}, AuthMethods: []auth.VerifyMethod{auth.VerifyMethodDigestMD5},
		Listen: func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err == nil {
				r.address = l.Addr().String()
			}
			return l, err
		},
		RTSPAddress: r.address,
	}
	if r.config.Basic {
		s.AuthMethods = []auth.VerifyMethod{auth.VerifyMethodBasic}
	}
	if !r.config.TCPOnly {
		port, err := freePair()
		if err != nil {
			return err
		}
		s.UDPRTPAddress = fmt.Sprintf("127.0.0.1:%d", port)
		s.UDPRTCPAddress = fmt.Sprintf("127.0.0.1:%d", port+1)
	}
	if err := s.Start(); err != nil {
		return err
	}
	r.server = s
	return nil
}

// freePair finds an even UDP port that is free with the one after it (RFC 3550,
// section 11).
func freePair() (int, error) {
	for range 100 {
		a, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		_ = a.Close()
		if port%2 != 0 {
			continue
		}
		b, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err == nil {
			_ = b.Close()
			return port, nil
		}
	}
	return 0, errors.New("no pair of free UDP ports")
}

// play sends units at their rate until ctx ends.
func (r *RTSPCamera) play(ctx context.Context, stream *gortsplib.ServerStream, media *description.Media, track *format.H264) {
	packer, err := track.CreateEncoder()
	if err != nil {
		return
	}
	begun := time.Now()
	for due := begun; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		unit, fps := r.next()
		due = due.Add(time.Second / time.Duration(fps))
		var nals h264.AnnexB
		if unit == nil || nals.Unmarshal(unit) != nil {
			continue
		}
		packets, err := packer.Encode(nals)
		if err != nil {
			continue
		}
		stamp := uint32(due.Sub(begun) * 90000 / time.Second)
		for _, p := range packets {
			p.Timestamp = stamp
			// A player that does not keep up is the server's to drop.
			_ = stream.WritePacketRTP(media, p)
		}
	}
}

// next is the unit that is due, nil while silent.
func (r *RTSPCamera) next() (unit []byte, fps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent {
		return nil, r.clip.FPS
	}
	unit = r.clip.Units[r.at]
	r.at = (r.at + 1) % len(r.clip.Units)
	return unit, r.clip.FPS
}

func parameterSets(unit []byte) (sps, pps []byte) {
	var nals h264.AnnexB
	if nals.Unmarshal(unit) != nil {
		return nil, nil
	}
	for _, n := range nals {
		switch h264.NALUType(n[0] & 0x1f) {
		case h264.NALUTypeSPS:
			sps = n
		case h264.NALUTypePPS:
			pps = n
		}
	}
	return sps, pps
}

// handler is the camera as gortsplib calls it.
type handler struct{ r *RTSPCamera }

var (
	_ gortsplib.ServerHandlerOnDescribe = handler{}
	_ gortsplib.ServerHandlerOnSetup    = handler{}
	_ gortsplib.ServerHandlerOnPlay     = handler{}
)

func (h handler) OnDescribe(c *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := h.admit(c.Conn, c.Request); err != nil {
		return res, nil, err
	}
	return h.found()
}

func (h handler) OnSetup(c *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := h.admit(c.Conn, c.Request); err != nil {
		return res, nil, err
	}
	udp := c.Transport.Protocol == gortsplib.ProtocolUDP
	if udp && h.r.config.TCPOnly || !udp && h.r.config.UDPOnly {
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	h.r.mu.Lock()
	h.r.protocol = c.Transport.Protocol
	h.r.mu.Unlock()
	return h.found()
}

func (h handler) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	h.r.plays++
	h.r.at = 0 // a keyframe at once
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (h handler) found() (*base.Response, *gortsplib.ServerStream, error) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	if h.r.stream == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, h.r.stream, nil
}

func (h handler) admit(c *gortsplib.ServerConn, req *base.Request) (*base.Response, error) {
	if h.r.config.User == "" || c.VerifyCredentials(req, h.r.config.User, h.r.config.Password) {
		return nil, nil
	}
	h.r.mu.Lock()
	h.r.refused++
	h.r.mu.Unlock()
	return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
}
