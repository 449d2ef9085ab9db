package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Config says where connections arrive. Addresses are "host:port"; an empty host
// means all addresses, IPv4 and IPv6, port 0 a free port.
type Config struct {
	// UDP is required; an empty TCP means no ICE-TCP.
	UDP, TCP string
	// PublicAddresses are IP addresses under which a router forwards both
	// ports to this box (one-to-one NAT). They are offered beside its own.
	PublicAddresses []string
	// IncludeLoopback offers loopback addresses too. They always are when the
	// UDP address is a loopback one.
	IncludeLoopback bool
	// Timeout is how long a peer may be silent before its connection fails;
	// 0: 10 s. It counts as disconnected after half of that.
	Timeout time.Duration
	// Queues of the box; nil: the ports' are not metered.
	Queues *queue.Registry
	// Loop is the meter of the loop that hands what arrives at the UDP port to the
	// peers; nil: not metered.
	Loop Loop
}

// Loop is a loop as the stall meter sees it: Begin and End are called around what is
// done with each datagram. Neither allocates.
type Loop interface {
	Begin() (mark int64)
	End(mark int64)
}

// Factory makes peer connections. Its methods may be called from any goroutine.
type Factory struct {
	settings webrtc.SettingEngine
	config   webrtc.Configuration
	udp      *burstConn
	udpMux   *ice.UDPMuxDefault
	tcp      net.Listener
	tcpMux   *ice.TCPMuxDefault
	log      *slog.Logger

	watches watches
	stop    chan struct{} // closed by Close
	ended   sync.Once
	work    sync.WaitGroup // of what looks after the peers' addresses
}

// DefaultTimeout is Config.Timeout's default.
const DefaultTimeout = 10 * time.Second

// keepAlive is how often each peer is asked for a sign of life. A packet that is sent is
// needed to learn that it cannot be delivered, too: see Watch.
const keepAlive = time.Second

// certificateLife covers the uptime of a box; the peers check the fingerprint
// in the SDP, not the dates, but some refuse an expired one.
const certificateLife = 20 * 365 * 24 * time.Hour

// New opens the two ports. Close frees them.
func New(log *slog.Logger, c Config) (*Factory, error) {
	f := &Factory{log: log, stop: make(chan struct{})}
	if err := f.listen(loggers{log}, c); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		var cert *webrtc.Certificate
		cert, err = certificate(key)
		if err == nil {
			f.config.Certificates = []webrtc.Certificate{*cert}
		}
	}
	if err == nil {
		err = f.configure(loggers{log}, c)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Factory) listen(log loggers, c Config) (err error) {
	if f.udp, err = listenUDP(c.UDP); err != nil {
		return err
	}
	f.udp.meter = c.Queues.Register("udp burst bytes", queue.DropNewest, arenaSize, f.udp.waiting)
	f.udp.loop = c.Loop
	f.listenErrors()
	f.udpMux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: f.udp, Logger: log.NewLogger("udp")})
	if c.TCP == "" {
		return nil
	}
	l, err := listenTCP(c.TCP)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	f.tcp = l
	f.tcpMux = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: l, Logger: log.NewLogger("tcp"),
		ReadBufferSize: tcpReadQueue, WriteBufferSize: tcpQueue,
		FirstStunBindTimeout: firstSTUN, AliveDurationForConnFromStun: firstSTUN,
	})
	return nil
}

func (f *Factory) configure(log loggers, c Config) error {
	s := &f.settings
	s.LoggerFactory = log
	s.SetICEUDPMux(f.udpMux)
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if f.tcpMux != nil {
		s.SetICETCPMux(f.tcpMux)
		networks = append(networks, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	s.SetNetworkTypes(networks)
	s.DisableActiveTCP(true) // browsers have no listening TCP candidates
	// A browser's .local candidates need not be resolved: its checks reach
	// us and make peer-reflexive candidates.
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	local, _ := f.udp.LocalAddr().(*net.UDPAddr)
	s.SetIncludeLoopbackCandidate(c.IncludeLoopback || (local != nil && local.IP.IsLoopback()))
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	s.SetICETimeouts(timeout/2, timeout-timeout/2, keepAlive)
	// The offerer starts DTLS as soon as its check succeeds: one round trip
	// less than if we did (RFC 9725 section 4.2 says the same of WHIP). The
	// cookie exchange guards against spoofed addresses, which ICE did already.
	if err := s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return fmt.Errorf("set DTLS role: %w", err)
	}
	s.SetDTLSInsecureSkipHelloVerify(true)
	// AES-GCM with a 128-bit key costs the least CPU where AES is in hardware,
	// and is never worse than AES-CM with HMAC-SHA1, which all peers have.
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	s.DisableMediaEngineCopy(true) // each connection has its own
	return f.publish(c.PublicAddresses)
}

// publish offers the public addresses beside the box's own.
func (f *Factory) publish(addresses []string) error {
	if len(addresses) == 0 {
		return nil
	}
	for _, a := range addresses {
		if _, err := netip.ParseAddr(a); err != nil {
			return fmt.Errorf("public address %q is not an IP address", a)
		}
	}
	err := f.settings.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
		External: addresses, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteAppend,
	})
	if err != nil {
		return fmt.Errorf("offer public addresses %v: %w", addresses, err)
	}
	return nil
}

// Codec is one that a connection may negotiate.
type Codec struct {
	Kind webrtc.RTPCodecType
	webrtc.RTPCodecParameters
}

// Options are what one connection is for.
type Options struct {
	// Codecs it may negotiate, for tracks in either direction; none: no media.
	Codecs []Codec
	// Intercept adds interceptors (reports, NACK generation) and what they
	// need in the media engine. nil: none, packets go straight to SRTP.
	Intercept func(*webrtc.MediaEngine, *interceptor.Registry) error
	// Tune changes a copy of the settings, as for detached data channels.
	Tune func(*webrtc.SettingEngine)
	// ICEServers are STUN and TURN servers that this connection asks for candidates, over
	// sockets of its own, beside the shared ports; none: nobody outside is asked.
	ICEServers []webrtc.ICEServer
}

// Peer makes a connection. The caller closes it.
func (f *Factory) Peer(o Options) (*webrtc.PeerConnection, error) {
	media := &webrtc.MediaEngine{}
	for _, c := range o.Codecs {
		if err := media.RegisterCodec(c.RTPCodecParameters, c.Kind); err != nil {
			return nil, fmt.Errorf("register codec %s: %w", c.MimeType, err)
		}
	}
	registry := &interceptor.Registry{}
	if o.Intercept != nil {
		if err := o.Intercept(media, registry); err != nil {
			return nil, fmt.Errorf("register interceptors: %w", err)
		}
	}
	settings := f.settings
	if o.Tune != nil {
		o.Tune(&settings)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	config := f.config
	config.ICEServers = o.ICEServers
	pc, err := api.NewPeerConnection(config)
	if err != nil {
		return nil, fmt.Errorf("new peer connection: %w", err)
	}
	return pc, nil
}

// Burst runs send, and hands the media packets that are written to UDP peers
// meanwhile to the kernel together when it returns, or earlier when they are many.
func (f *Factory) Burst(send func()) {
	f.udp.begin()
	defer f.udp.end()
	send()
}

// Addr returns the addresses listened on; tcp is nil without ICE-TCP.
func (f *Factory) Addr() (udp, tcp net.Addr) {
	udp = f.udp.LocalAddr()
	if f.tcp != nil {
		tcp = f.tcp.Addr()
	}
	return udp, tcp
}

// Counters are totals since the start.
type Counters struct {
	// Datagrams sent, the system calls that took, and the datagrams that the
	// socket did not take in time.
	Datagrams, Calls, Dropped uint64
}

// Counters returns the UDP socket's totals.
func (f *Factory) Counters() Counters {
	return Counters{Datagrams: f.udp.sent.Load(), Calls: f.udp.calls.Load(), Dropped: f.udp.dropped.Load()}
}

// Close frees both ports. The connections are to be closed before.
func (f *Factory) Close() error {
	var errs []error
	f.ended.Do(func() { close(f.stop) })
	if f.tcpMux != nil {
		errs = append(errs, f.tcpMux.Close())
	}
	if f.udp != nil {
		f.udp.meter.Close()
	}
	if f.udpMux != nil {
		errs = append(errs, f.udpMux.Close())
	}
	f.work.Wait()
	return errors.Join(errs...)
}
