package livebench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// clientEnv tells the process that it is to be the viewers: "address,number,tcp".
const clientEnv = "WATCHPOST_LIVEBENCH_CLIENT"

// connectTime is how long all viewers together may take to get a keyframe.
const connectTime = 60 * time.Second

// IsClient tells whether this process was started to be the viewers.
func IsClient() bool { return os.Getenv(clientEnv) != "" }

// ClientMain is the main of the viewers' process. It returns the exit code.
func ClientMain() int {
	err := serveViewers(os.Getenv(clientEnv), os.Stdin, os.Stdout)
	if err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(report{Error: err.Error()})
		return 1
	}
	return 0
}

func serveViewers(config string, in io.Reader, out io.Writer) (err error) {
	f := strings.Split(config, ",")
	if len(f) != 3 {
		return fmt.Errorf("%s is %q, want address,number,tcp", clientEnv, config)
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return fmt.Errorf("%s: %w", clientEnv, err)
	}
	g := &group{url: "http://" + f[0] + "/api/v1/cameras/bench/whep", started: make(chan struct{}, n)}
	if g.api, err = newAPI(f[2] == "true"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	for range n {
		if err := g.join(); err != nil {
			return err
		}
	}
	deadline := time.After(connectTime)
	for i := range n {
		select {
		case <-g.started:
		case <-deadline:
			return fmt.Errorf("%d of %d viewers got no picture within %v", n-i, n, connectTime)
		}
	}
	enc := json.NewEncoder(out)
	if err := enc.Encode(g.report()); err != nil {
		return err
	}
	for s := bufio.NewScanner(in); s.Scan(); {
		if err := enc.Encode(g.report()); err != nil {
			return err
		}
	}
	return nil
}

// group is all viewers of the process.
type group struct {
	url     string
	api     *webrtc.API
	peers   []*webrtc.PeerConnection
	started chan struct{}

	bytes, units atomic.Uint64
	lost         atomic.Int64
}

func newAPI(tcp bool) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	}}, webrtc.RTPCodecTypeVideo)
	if err != nil {
		return nil, fmt.Errorf("register codec: %w", err)
	}
	// What a browser does: NACKs and receiver reports.
	r := &interceptor.Registry{}
	if err := errors.Join(webrtc.ConfigureNack(m, r), webrtc.ConfigureRTCPReports(r)); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	s := webrtc.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	if tcp {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	} else {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s.LoggerFactory = quiet
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(s)), nil
}

// join connects one more viewer; its picture comes later.
func (g *group) join() error {
	pc, err := g.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return fmt.Errorf("new peer connection: %w", err)
	}
	g.peers = append(g.peers, pc)
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { g.read(t) })
	if _, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return fmt.Errorf("add transceiver: %w", err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err = pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("take own offer: %w", err)
	}
	<-gathered
	res, err := http.Post(g.url, "application/sdp", strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		return fmt.Errorf("post offer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		return fmt.Errorf("post offer: %s %s %w", res.Status, body, err)
	}
	if err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}); err != nil {
		return fmt.Errorf("take answer: %w", err)
	}
	return nil
}

// read counts what one viewer gets, from its first complete picture on.
func (g *group) read(t *webrtc.TrackRemote) {
	buf := make([]byte, 1500)
	var once sync.Once
	var seen bool
	var last uint16
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return
		}
		if n < 12 {
			continue
		}
		seq := uint16(buf[2])<<8 | uint16(buf[3])
		if d := seq - last; seen && d > 1 && d < 1<<15 {
			g.lost.Add(int64(d - 1))
		} else if seen && d >= 1<<15 {
			g.lost.Add(-1) // one that came late, or again
		}
		if !seen || seq-last < 1<<15 {
			last = seq
		}
		seen = true
		g.bytes.Add(uint64(n))
		if buf[1]&0x80 != 0 {
			g.units.Add(1)
			once.Do(func() { g.started <- struct{}{} })
		}
	}
}

func (g *group) report() report {
	return report{Bytes: g.bytes.Load(), Units: g.units.Load(), Lost: g.lost.Load()}
}

func (g *group) close() error {
	var errs []error
	for _, pc := range g.peers {
		errs = append(errs, pc.Close())
	}
	return errors.Join(errs...)
}
