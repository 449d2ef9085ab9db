package live

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/queue"
)

const (
	// late is how old a frame may be when its first packet goes out. A viewer
	// that is further behind skips.
	late = 1500 * time.Millisecond
	// paceBurst is how many packets a viewer is sent at once, and paceRate how
	// many a second beyond that (58 Mbit/s). A keyframe, or the part of a
	// second that a new viewer starts with, is more than receive buffers of
	// 64 KiB and an access point's queue take; spread over some milliseconds
	// it arrives whole. paceStep is how many are sent together when paced.
	paceBurst = 40
	paceRate  = 6000
	paceStep  = 12
	// reportInterval between RTCP sender reports of a viewer. Receivers need
	// them for the wall clock only: there is no audio to be in step with.
	reportInterval = 5 * time.Second
	// patience is for how long a viewer that skips waits for the encoder's
	// own next keyframe before one is asked for on its behalf.
	patience = 4 * time.Second
	// spans is how many skips back a retransmission can be found.
	spans = 8
)

// span is a run of consecutive packets that a viewer was sent.
type span struct {
	from, to uint64 // packet indices of the rendition, to excluded
	replay
}

// viewer is one peer's place in a rendition, and the peer's video track.
// Bind and Unbind are called by pion.
type viewer struct {
	rendition *rendition
	streamID  string

	// Set by Bind, before the viewer is attached.
	writer webrtc.TrackLocalWriter
	ssrc   uint32
	report func(rtcp.Packet) error

	live atomic.Bool // connected: packets may be sent
	gone atomic.Bool // closed: no more of it
	// lost: the viewer's decoder has lost the picture, and no keyframe can be asked for.
	lost     atomic.Bool
	boxes    atomic.Pointer[webrtc.DataChannel] // nil: it opened none
	boxMeter atomic.Pointer[queue.Meter]        // of what waits in it
	// retransmit is the budget of the retransmission of packets; used by the
	// goroutine that reads RTCP only.
	retransmit packet.Bucket
	nackHeader rtp.Header

	mu      sync.Mutex
	header  rtp.Header
	started bool   // it was sent something
	waiting bool   // for a keyframe
	next    uint64 // number of the frame to send next
	at      int    // packets of it that are sent
	seq     uint16 // sequence number of the next packet
	sent    [spans]span
	since   time.Time // waiting since
	stamp   uint32    // of the frame sent last
	behind  time.Time // it is sent old frames since then; zero: it is not
	rewound time.Time // when it was last sent a group again

	tokens  float64 // packets that may be sent now
	tokenAt time.Time

	packets, octets uint32
	nextReport      time.Time
}

func newViewer(r *rendition, streamID string) *viewer {
	// RFC 3550 section 5.1: sequence numbers start at random. The upper bit
	// is left 0 so that the first packets, if lost, cannot be misjudged as
	// before a wrap (RFC 3711 section 3.3.1).
	v := &viewer{
		rendition: r, streamID: streamID, waiting: true, retransmit: packet.Bucket{Rate: retransmitRate, Burst: retransmitBurst},
		seq: uint16(randomID()[0])<<7 | 1,
	}
	v.header = rtp.Header{Version: 2}
	v.nackHeader = rtp.Header{Version: 2}
	return v
}

// Bind implements webrtc.TrackLocal.
func (v *viewer) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	mime := mimeType(v.rendition.codec)
	for _, p := range c.CodecParameters() {
		if p.MimeType == mime {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.writer, v.ssrc = c.WriteStream(), uint32(c.SSRC())
			v.header.SSRC, v.header.PayloadType = v.ssrc, uint8(p.PayloadType)
			v.nackHeader.SSRC, v.nackHeader.PayloadType = v.ssrc, uint8(p.PayloadType)
			return p, nil
		}
	}
	return webrtc.RTPCodecParameters{}, fmt.Errorf("bind track: %s was not negotiated", mime)
}

// Unbind implements webrtc.TrackLocal.
func (v *viewer) Unbind(webrtc.TrackLocalContext) error {
	v.gone.Store(true)
	return nil
}

// ID, RID, StreamID and Kind implement webrtc.TrackLocal.
func (v *viewer) ID() string                { return "video" }
func (v *viewer) RID() string               { return "" }
func (v *viewer) StreamID() string          { return v.streamID }
func (v *viewer) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeVideo }

// outcome is what a turn of a viewer came to.
type outcome struct {
	again   time.Duration // after which there is more to send; 0: there is not
	keyless bool          // it needs a keyframe that has to be asked for
	frames  int           // completed
}

// allowance is how many packets may go out now.
func (v *viewer) allowance(now time.Time) int {
	v.tokens = min(paceBurst, v.tokens+now.Sub(v.tokenAt).Seconds()*paceRate)
	v.tokenAt = now
	return int(v.tokens)
}

// send writes what the viewer has not had yet, within its allowance. It is
// called by the stream's sending goroutine only.
func (v *viewer) send(now time.Time) (o outcome) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.live.Load() || v.gone.Load() || v.writer == nil {
		return o
	}
	v.rewind(now)
	for budget := v.allowance(now); ; {
		if v.waiting && !v.resume(now) {
			o.keyless = !v.started || (!v.since.IsZero() && now.Sub(v.since) > patience)
			return o
		}
		f := v.rendition.frame(v.next)
		if f == nil {
			if tail, _ := v.rendition.bounds(); v.next < tail {
				v.wait(now)
				continue
			}
			v.behind = time.Time{}
			return o
		}
		if v.at == 0 && now.Sub(f.arrived) > late && (v.behind.IsZero() || now.Sub(v.behind) > replayTime) {
			v.wait(now)
			continue
		}
		if budget <= 0 {
			o.again = paceStep * time.Second / paceRate
			return o
		}
		n, ok := v.write(f, budget)
		budget -= n
		v.tokens -= float64(n)
		if !ok {
			// A peer over TCP that does not read, or one without a path: what
			// is left of the frame is of no use without the part that is lost.
			v.wait(now)
			return o
		}
		if v.at == len(f.payloads) {
			v.next, v.at = v.next+1, 0
			o.frames++
			if f.keyframe {
				v.lost.Store(false)
			}
			v.reportAt(now, f)
		}
	}
}

// write sends packets of a frame. It returns how many, and false when the
// transport did not take one.
func (v *viewer) write(f *frame, budget int) (n int, ok bool) {
	c := &v.rendition.counters
	h := &v.header
	h.Timestamp = v.sent[0].stampOf(f)
	v.stamp = h.Timestamp
	octets := 0
	ok = true
	for n < budget && v.at < len(f.payloads) {
		h.SequenceNumber = v.seq
		h.Marker = v.at == len(f.payloads)-1
		took, err := v.writer.WriteRTP(h, f.payloads[v.at])
		if err != nil || took == 0 {
			ok = false
			break
		}
		octets += len(f.payloads[v.at])
		v.seq++
		v.at++
		n++
	}
	v.sent[0].to = f.first + uint64(v.at)
	v.started = true
	v.packets += uint32(n)
	v.octets += uint32(octets)
	c.packets.Add(uint64(n))
	c.bytes.Add(uint64(octets))
	return n, ok
}

// wait has the viewer wait for the next keyframe.
func (v *viewer) wait(now time.Time) {
	v.waiting, v.since = true, now
	if v.at > 0 { // the rest of this frame is lost to it, count the frame
		v.next, v.at = v.next+1, 0
		v.rendition.counters.skipped.Add(1)
		v.rendition.meter.Dropped(1)
	}
}

// resume lets a waiting viewer go on from a fresh keyframe, if there is one.
func (v *viewer) resume(now time.Time) bool {
	n, ok := v.rendition.start(v.next, now)
	if !ok {
		return false
	}
	skipped := n - v.next
	if !v.begin(n, now) {
		return false
	}
	if v.started {
		v.rendition.counters.skipped.Add(skipped)
		v.rendition.meter.Dropped(int(skipped))
	}
	return true
}

// begin puts the viewer at frame n, a keyframe.
func (v *viewer) begin(n uint64, now time.Time) bool {
	f := v.rendition.frame(n)
	if f == nil {
		return false
	}
	s := span{from: f.first, to: f.first}
	v.behind = time.Time{}
	if f.own {
		var ok bool
		if s.replay, ok = v.rendition.replay(f, v.stamp, v.started); !ok {
			return false
		}
		v.behind = now
	}
	v.waiting, v.since, v.next, v.at = false, time.Time{}, n, 0
	copy(v.sent[1:], v.sent[:])
	v.sent[0] = s
	return true
}

// find returns the packet that was sent with a sequence number. The caller
// does not hold mu.
func (v *viewer) find(seq uint16) (index uint64, r replay, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	back := uint64(v.seq - seq) // how many packets ago; wraps as it should
	if back == 0 || back > 1<<15 {
		return 0, r, false
	}
	for _, s := range v.sent {
		if n := s.to - s.from; back <= n {
			return s.to - back, s.replay, true
		} else {
			back -= n
		}
	}
	return 0, r, false
}

// lag returns how many frames the viewer is behind.
func (v *viewer) lag() uint64 {
	_, head := v.rendition.bounds()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.live.Load() || v.next >= head || !v.started {
		return 0
	}
	return head - v.next
}

// skipping tells whether the viewer, once started, waits for a keyframe because
// it could not take what it was sent.
func (v *viewer) skipping() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.waiting && v.started
}
