package outbound

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

const (
	// historySize is how many packets can be sent again: 1.2 MB, a second at 10 Mbit/s.
	// A power of two, so that sequence numbers wrap where the ring does.
	historySize = 1024
	// resendRate and resendBurst bound the packets a second that a peer can have
	// sent again.
	resendRate  = 400
	resendBurst = 400
)

// history keeps the packets that were sent last. The payloads are the pictures' own.
type history struct {
	mu   sync.Mutex
	ring [historySize]past
}

type past struct {
	seq     uint16
	marker  bool
	stamp   uint32
	payload []byte // nil: nothing
}

func (h *history) put(seq uint16, stamp uint32, marker bool, payload []byte) {
	h.mu.Lock()
	h.ring[seq%historySize] = past{seq: seq, marker: marker, stamp: stamp, payload: payload}
	h.mu.Unlock()
}

func (h *history) drop(seq uint16) {
	h.mu.Lock()
	h.ring[seq%historySize] = past{}
	h.mu.Unlock()
}

func (h *history) find(seq uint16) (past, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.ring[seq%historySize]
	return p, p.payload != nil && p.seq == seq
}

// resend answers a NACK with the packets as they were: SRTP makes the same bytes of
// them again. A packet that is gone can be made up for by a keyframe only, for which the
// peer will ask.
func (t *Track) resend(nack *rtcp.TransportLayerNack, budget *packet.Bucket) {
	t.mu.Lock()
	w, h := t.writer, t.header()
	t.mu.Unlock()
	if w == nil {
		return
	}
	now := time.Now()
	for i := range nack.Nacks {
		nack.Nacks[i].Range(func(seq uint16) bool {
			p, ok := t.history.find(seq)
			if !ok || !budget.Take(now) {
				t.stats.missed.Add(1)
				return true
			}
			h.SequenceNumber, h.Timestamp, h.Marker = seq, p.stamp, p.marker
			if n, err := w.WriteRTP(&h, p.payload); err != nil || n == 0 {
				t.stats.missed.Add(1)
				return true
			}
			t.stats.answered.Add(1)
			return true
		})
	}
}
