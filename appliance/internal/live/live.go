package live

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Codec of an encoded rendition. The values are those of the worker link.
type Codec uint8

// The codecs that viewers are served.
const (
	H264 Codec = 1
	VP8  Codec = 2
)

// codecs lists them in the order of preference.
var codecs = [...]Codec{H264, VP8}

func (c Codec) String() string {
	switch c {
	case H264:
		return "h264"
	case VP8:
		return "vp8"
	}
	return "unknown"
}

// Unit is one encoded picture.
type Unit struct {
	Codec    Codec
	Keyframe bool
	// Slate: the picture is a slate, not the camera's.
	Slate bool
	// Own: the camera made the picture itself. Its next keyframe comes when the
	// camera pleases, so everything since the last one is kept for viewers to
	// begin with.
	Own bool
	// PTS is the presentation time in the producer's run; it may start anew
	// with every run.
	PTS time.Duration
	// Captured is CLOCK_MONOTONIC in ns when the frame reached the box; 0: unknown.
	Captured int64
	// Data is an H.264 access unit in Annex B, parameter sets in front of
	// every keyframe, or one VP8 frame. It is not modified after Publish,
	// and not kept by it.
	Data []byte
}

// Producer encodes what a stream's viewers see. Its methods are called from
// one goroutine at a time and must not block.
type Producer interface {
	// Want says which renditions have viewers, when that changes.
	Want(h264, vp8 bool)
	// RequestKeyframe asks for the next picture of a rendition to be one.
	RequestKeyframe(Codec)
}

// Loop is a control loop as the stall meter sees it: Ticked is called for
// every Tick received, and Enter around each round of work.
type Loop interface {
	Tick() <-chan time.Time
	Ticked()
	Enter() func()
}

// Deps are what a Server needs of its surroundings.
type Deps struct {
	Log *slog.Logger
	// Registerer takes the metrics; nil: none are registered.
	Registerer prometheus.Registerer
	// Loops makes the meter of a sending loop; nil: not metered. One with a Stop method
	// is stopped when the loop has ended.
	Loops func(name string) Loop
	// Queues of the box; nil: those of the pictures are not metered.
	Queues *queue.Registry
	// Open takes in what is published; nil: nothing is.
	Open Open
}

// port is the meter of the loop that reads the UDP port; nil: there is none.
func (d Deps) port() peer.Loop {
	if d.Loops == nil {
		return nil
	}
	l, _ := d.Loops("udp port").(peer.Loop)
	return l
}

// entered begins to meter a loop that does not tick: enter goes around what it does with
// each thing that it reads; end, when it is over.
func (d Deps) entered(name string) (enter func() (leave func()), end func()) {
	if d.Loops == nil {
		return func() func() { return func() {} }, func() {}
	}
	l := d.Loops(name)
	end = func() {}
	if s, ok := l.(interface{ Stop() }); ok {
		end = s.Stop
	}
	return l.Enter, end
}

// ICEServer is a STUN or TURN server that viewers are told to use. The box itself
// uses none: viewers reach it at its own or its public addresses.
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// Config of a Server. The zero value of each field but UDP has a default.
type Config struct {
	// UDP and TCP are the addresses, "host:port", of the one port each that
	// all viewers use. An empty TCP means no ICE-TCP.
	UDP, TCP string
	// ICEServers are announced to viewers in Link headers.
	ICEServers []ICEServer
	// PublicAddresses are IP addresses that are forwarded to this box.
	PublicAddresses []string
	// IncludeLoopback offers loopback addresses even when listening on all.
	IncludeLoopback bool
	// MaxViewers at a time, over all streams; 0: 100.
	MaxViewers int
	// Timeout after which a viewer that is not heard of is removed; 0: 10 s.
	Timeout time.Duration
	// Linger is for how long a rendition stays wanted after its last viewer
	// left, so that a reload of the page does not restart the encoder; 0: 5 s.
	Linger time.Duration
	// Origins are the web origins, "https://host:port" or "*", whose pages may
	// view from elsewhere. None: only pages of this server, to which the
	// browser applies no CORS; a camera's picture is nobody else's by default.
	Origins []string
}

const (
	defaultMaxViewers = 100
	defaultLinger     = 5 * time.Second
	// setupTime is how long a viewer may take from the offer to the first packet.
	setupTime = 20 * time.Second
)

// ErrClosed is returned by a Server that was closed.
var ErrClosed = errors.New("live: server closed")
