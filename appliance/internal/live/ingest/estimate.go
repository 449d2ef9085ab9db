package ingest

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	// A peer that knows REMB alone (aiortc) is told a bitrate every second: at first
	// startRate, more while nothing is lost, less when more than a tenth is.
	startRate    = 2e6
	minRate      = 3e5
	maxRate      = 8e6
	rateInterval = time.Second
)

// estimates makes an interceptor that sends REMB (draft-alvestrand-rmcat-remb) about
// streams without transport-wide feedback. It has no goroutine: reports go out as
// packets come in.
type estimates struct{}

// NewInterceptor implements interceptor.Factory.
func (estimates) NewInterceptor(string) (interceptor.Interceptor, error) { return &estimator{}, nil }

type estimator struct {
	interceptor.NoOp
	mu     sync.Mutex
	writer interceptor.RTCPWriter
}

// BindRTCPWriter implements interceptor.Interceptor.
func (e *estimator) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writer = w
	return w
}

// BindRemoteStream implements interceptor.Interceptor.
func (e *estimator) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	has := func(kind string) bool {
		return slices.ContainsFunc(info.RTCPFeedback, func(f interceptor.RTCPFeedback) bool { return f.Type == kind })
	}
	if !has("goog-remb") || has("transport-cc") {
		return reader
	}
	r := rate{bits: startRate}
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(b, a)
		if err != nil {
			return n, a, err
		}
		if a == nil {
			a = make(interceptor.Attributes)
		}
		if h, err := a.GetRTPHeader(b[:n]); err == nil && r.packet(h, time.Now()) {
			e.report(info.SSRC, r.bits)
		}
		return n, a, err
	})
}

func (e *estimator) report(ssrc uint32, bits float64) {
	e.mu.Lock()
	w := e.writer
	e.mu.Unlock()
	if w != nil { // lost like any packet: the next comes
		_, _ = w.Write([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: float32(bits), SSRCs: []uint32{ssrc}}}, nil)
	}
}

// rate is what one stream's sender is told.
type rate struct {
	bits  float64
	at    time.Time
	first uint16 // sequence number at the last report
	last  uint16 // highest since
	count int
}

// packet notes a packet, and tells whether to report.
func (r *rate) packet(h *rtp.Header, now time.Time) bool {
	if r.at.IsZero() {
		r.at, r.first, r.last = now, h.SequenceNumber-1, h.SequenceNumber
		r.count = 1
		return true
	}
	r.count++
	if ahead := h.SequenceNumber - r.last; ahead < 1<<15 {
		r.last = h.SequenceNumber
	}
	if now.Sub(r.at) < rateInterval {
		return false
	}
	if want := int(r.last - r.first); want > 0 {
		switch lost := float64(want-r.count) / float64(want); {
		case lost > 0.1:
			r.bits = max(minRate, r.bits*(1-lost/2))
		case lost < 0.02:
			r.bits = min(maxRate, r.bits*1.1)
		}
	}
	r.at, r.first, r.count = now, r.last, 0
	return true
}
