package outbound

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

const (
	// QueueFrames and queueBytes bound what waits to be sent: some seconds of video. A
	// source that does not follow a clock is to be paced by Sent.
	QueueFrames = 256
	queueBytes  = 8 << 20
	// keyframeInterval is the least time between two requests for a keyframe.
	keyframeInterval = 500 * time.Millisecond
)

// The reasons why Write leaves a picture out.
var (
	// ErrFull: the peer is not sent to as fast as pictures come. Those up to the next
	// keyframe are left out, and the keyframe was asked for.
	ErrFull = errors.New("too many pictures wait for the peer")
	// ErrSkipped: the picture refers to one that was left out.
	ErrSkipped = errors.New("left out up to the next keyframe")
	// ErrClosed: the connection is closed, or Run has ended.
	ErrClosed = errors.New("the peer's video track is closed")
)

// Track is one peer's video track. Its methods may be called from any goroutine.
type Track struct {
	codec, id string
	keyframe  func()

	wake chan struct{} // capacity 1
	sent atomic.Uint64
	news chan struct{} // capacity 1: sent has grown

	mu      sync.Mutex
	writer  webrtc.TrackLocalWriter // nil before Bind
	ssrc    uint32
	payload uint8
	closed  bool
	queue   []*frame
	bytes   int
	skip    bool // up to the next keyframe
	wanted  bool // a keyframe, since keyframe was last called

	// The sending goroutine's, and history shared with the one that answers NACKs.
	seq     uint16
	history history
	stats   counters
}

// frame is one picture, packetized.
type frame struct {
	stamp    uint32
	keyframe bool
	payloads [][]byte
	bytes    int
}

// New makes a track of codec "h264" (Annex B, parameter sets in front of keyframes) or
// "vp8". id is the track's and the stream's name in the SDP. keyframe is called, from a
// goroutine of the track, when the next picture should be a keyframe: at most twice a
// second; it must not block.
func New(codec string, id string, keyframe func()) (*Track, error) {
	if codec != packet.CodecH264 && codec != packet.CodecVP8 {
		return nil, fmt.Errorf("a track of codec %q: only h264 and vp8 are sent", codec)
	}
	if id == "" || strings.ContainsAny(id, " \r\n") {
		return nil, fmt.Errorf("%q is no name of a track", id)
	}
	var random [2]byte
	_, _ = rand.Read(random[:]) // never fails, says crypto/rand
	return &Track{
		codec: codec, id: id, keyframe: keyframe,
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1),
		// RFC 3550 section 5.1: at random. The upper bit is left 0 so that the
		// first packets, if lost, cannot be misjudged as before a wrap (RFC 3711
		// section 3.3.1).
		seq: binary.BigEndian.Uint16(random[:])>>1 | 1,
	}, nil
}

// Local is the track as a peer connection takes it.
func (t *Track) Local() webrtc.TrackLocal { return local{t} }

// Codec is "h264" or "vp8".
func (t *Track) Codec() string { return t.codec }

// Write queues the picture whose RTP timestamp is pts (90 kHz). It never blocks, does not
// keep data, and fails with ErrFull, ErrSkipped, ErrClosed, or because data is no picture.
func (t *Track) Write(pts uint32, keyframe bool, data []byte) error {
	f, err := t.packetize(data)
	if err != nil {
		return err
	}
	f.stamp, f.keyframe = pts, keyframe
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case t.skip && !keyframe:
		t.stats.skipped.Add(1)
		return ErrSkipped
	case len(t.queue) >= QueueFrames || t.bytes+f.bytes > queueBytes && len(t.queue) > 0:
		t.skip, t.wanted = true, true
		t.stats.skipped.Add(1)
		t.signal()
		return ErrFull
	}
	if keyframe {
		t.skip, t.wanted = false, false
	}
	t.queue = append(t.queue, f)
	t.bytes += f.bytes
	t.signal()
	return nil
}

func (t *Track) packetize(data []byte) (*frame, error) {
	var payloads [][]byte
	var err error
	if t.codec == packet.CodecH264 {
		payloads, err = packet.H264(data)
	} else {
		payloads, err = packet.VP8(data)
	}
	if err != nil {
		return nil, fmt.Errorf("packetize a picture of %d bytes: %w", len(data), err)
	}
	f := &frame{payloads: payloads}
	for _, p := range payloads {
		f.bytes += len(p)
	}
	return f, nil
}

// Sent is how many pictures have left the queue, sent or lost to a transport that did
// not take them; Progress receives when it has grown. Both are for those who pace a
// source by what the peer was sent.
func (t *Track) Sent() uint64 { return t.sent.Load() }

// Progress: see Sent. It has one receiver.
func (t *Track) Progress() <-chan struct{} { return t.news }

// Queued is how many pictures wait to be sent, and their bytes.
func (t *Track) Queued() (pictures, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue), t.bytes
}

// signal wakes the sending goroutine.
func (t *Track) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// local implements webrtc.TrackLocal for a Track, whose own methods are others.
type local struct{ t *Track }

// Bind takes the payload type that fits best of those that the peer offered.
func (l local) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	best, top := webrtc.RTPCodecParameters{}, 0
	for _, p := range c.CodecParameters() {
		codec, rank := packet.Rank(strings.TrimPrefix(p.MimeType, "video/"), p.SDPFmtpLine)
		if codec == l.t.codec && rank > top {
			best, top = p, rank
		}
	}
	if top == 0 {
		return best, fmt.Errorf("bind track: %s was not negotiated", l.t.codec)
	}
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.t.writer, l.t.ssrc, l.t.payload = c.WriteStream(), uint32(c.SSRC()), uint8(best.PayloadType)
	l.t.signal()
	return best, nil
}

// Unbind is called when the connection is closed or the track taken out of it.
func (l local) Unbind(webrtc.TrackLocalContext) error {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.t.writer = nil
	return nil
}

func (l local) ID() string                { return l.t.id }
func (l local) RID() string               { return "" }
func (l local) StreamID() string          { return l.t.id }
func (l local) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeVideo }

// header of a packet of this track; the caller holds mu.
func (t *Track) header() rtp.Header {
	return rtp.Header{Version: 2, SSRC: t.ssrc, PayloadType: t.payload}
}
