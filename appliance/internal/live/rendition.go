package live

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/queue"
)

const (
	// ringFrames and ringBytes bound what a rendition keeps: four seconds at 30
	// fps, or 8 Mbit/s for as long. Retransmissions and cursors reach back
	// this far at most; older packets are of no use to a live picture.
	ringFrames = 128
	ringBytes  = 4 << 20
	// Of a camera's own pictures everything from the last keyframe on is kept,
	// within these bounds: about 20 s at 60 fps. A viewer that joins later in a
	// longer group waits for the next one.
	ownFrames = 1200
	ownBytes  = 16 << 20
	ownTime   = 20 * time.Second
	// ownSilence is for how long a camera may have sent nothing for a viewer to
	// begin with what it sent before: older pictures would pass for live ones.
	ownSilence = 3 * time.Second
	// fresh is how old a keyframe may be for a viewer to start from it.
	fresh = keyframeInterval
	// jump is the step in PTS from which it is no longer taken as the time
	// that passed.
	jump = 1500 * time.Millisecond
	// clockRate of the RTP timestamps, Hz.
	clockRate = 90000
)

// frame is one unit, packetized. It is not modified once in the ring.
type frame struct {
	first    uint64 // index of its first packet in the rendition
	stamp    uint32 // RTP timestamp
	number   uint64
	pts      time.Duration
	keyframe bool
	own      bool // the camera's own
	captured int64
	arrived  time.Time
	payloads [][]byte
	bytes    int
}

// rendition is one codec's ring of frames. Frames and packets are numbered from
// 1 and never reused; sequence numbers are made of them, viewer by viewer.
type rendition struct {
	codec Codec
	clock clock

	publishing sync.Mutex // one Publish at a time

	mu     sync.RWMutex
	ring   []*frame // of the numbers tail to head-1
	tail   uint64   // number of the oldest frame kept
	head   uint64   // number of the next frame
	packet uint64   // index of the next packet
	bytes  int
	key    uint64 // number of the newest keyframe, 0: none

	own atomic.Bool // the newest frame is the camera's own

	counters counters
	meter    *queue.Meter // drops are the frames that a viewer skipped
}

// framesQueue is the rings' name among the box's queues.
const framesQueue = "live frames"

// kept is how many frames the ring holds.
func (r *rendition) kept() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.ring)
}

func newRendition(c Codec) *rendition {
	return &rendition{codec: c, tail: 1, head: 1, packet: 1, clock: clock{offset: rand.Uint32()}}
}

// publish packetizes a unit and puts it into the ring. The oldest frames make room.
func (r *rendition) publish(u Unit, now time.Time) error {
	r.publishing.Lock()
	defer r.publishing.Unlock()
	var payloads [][]byte
	var err error
	if r.codec == H264 {
		payloads, err = packet.H264(u.Data)
	} else {
		payloads, err = packet.VP8(u.Data)
	}
	if err != nil {
		r.counters.damaged.Add(1)
		return err
	}
	f := &frame{
		stamp: r.clock.stamp(u.PTS, now), pts: u.PTS, own: u.Own, keyframe: u.Keyframe, captured: u.Captured,
		arrived: now, payloads: payloads,
	}
	for _, p := range payloads {
		f.bytes += len(p)
	}
	r.counters.units.Add(1)
	if u.Keyframe {
		r.counters.keyframes.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.first = r.packet
	f.number = r.head
	for len(r.ring) > 0 && r.evicts(f) {
		r.bytes -= r.ring[0].bytes
		r.ring[0] = nil
		r.ring = r.ring[1:]
		r.tail++
	}
	r.ring = append(r.ring, f)
	r.own.Store(u.Own)
	if u.Keyframe {
		r.key = r.head
	}
	r.head++
	r.packet += uint64(len(payloads))
	r.bytes += f.bytes
	return nil
}

// evicts tells whether the oldest frame has to make room for f.
func (r *rendition) evicts(f *frame) bool {
	n, bytes := len(r.ring), r.bytes+f.bytes
	if n < ringFrames && bytes <= ringBytes {
		return false
	}
	begins := r.tail == r.key && f.own && !f.keyframe // what viewers begin with
	return !begins || n >= ownFrames || bytes > ownBytes || f.arrived.Sub(r.ring[0].arrived) > ownTime
}

// frame returns a frame by its number, or nil when it is not in the ring (gone,
// or not yet published).
func (r *rendition) frame(n uint64) *frame {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n < r.tail || n >= r.head {
		return nil
	}
	return r.ring[n-r.tail]
}

// bounds returns the numbers of the oldest frame and of the next to come.
func (r *rendition) bounds() (tail, head uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.tail, r.head
}

// start returns the number of the newest keyframe if it is fresh, or the
// camera's own, and not before frame n.
func (r *rendition) start(n uint64, now time.Time) (uint64, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.key < r.tail || r.key < n || r.key == 0 {
		return 0, false
	}
	f := r.ring[r.key-r.tail]
	newest := r.ring[len(r.ring)-1]
	return r.key, now.Sub(f.arrived) < fresh || f.own && newest.own && now.Sub(newest.arrived) < ownSilence
}

// payload returns the packet with an index, for a retransmission, and the
// frame it is of.
func (r *rendition) payload(index uint64) (f *frame, i int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	// Packets lost are of the last frames: search from the newest.
	for n := r.head - 1; n >= r.tail; n-- {
		f := r.ring[n-r.tail]
		if index >= f.first {
			if i := index - f.first; i < uint64(len(f.payloads)) {
				return f, int(i)
			}
			return nil, 0
		}
	}
	return nil, 0
}

// clock makes RTP timestamps of presentation times. They go on across runs
// of the producer: where PTS goes back or leaps, the time that passed here
// counts instead.
type clock struct {
	offset  uint32 // random, RFC 3550 section 5.1
	started bool
	pts     time.Duration // of the last unit
	at      time.Time     // when it came
	elapsed time.Duration // media time since the first unit
}

func (c *clock) stamp(pts time.Duration, now time.Time) uint32 {
	if c.started {
		step := pts - c.pts
		if step <= 0 || step > jump {
			step = max(now.Sub(c.at), time.Millisecond)
		}
		c.elapsed += step
	}
	c.started, c.pts, c.at = true, pts, now
	return c.offset + ticks(c.elapsed)
}

// ticks converts a duration to the RTP clock; the result wraps as timestamps do.
func ticks(d time.Duration) uint32 {
	return uint32(d/time.Second*clockRate) + uint32(d%time.Second*clockRate/time.Second)
}
