package live

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

const (
	// retransmitRate and retransmitBurst bound the packets a second that a
	// viewer can have sent again: a third of a 4 Mbit/s stream.
	retransmitRate  = 150
	retransmitBurst = 300
	// rtcpSize is enough for any compound RTCP packet over an Ethernet.
	rtcpSize = 1500
)

// listen handles the viewer's RTCP until its connection is closed. ask is
// called when it wants a keyframe.
func (v *viewer) listen(sender *webrtc.RTPSender, burst func(func()), ask func()) {
	buf := make([]byte, rtcpSize)
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue // authenticated, yet not RTCP: nothing we could answer
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.TransportLayerNack:
				burst(func() { v.resend(p) })
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				v.rendition.counters.pictureLosses.Add(1)
				// A viewer that skips gets the next keyframe anyway.
				if !v.skipping() {
					v.lost.Store(v.rendition.own.Load())
					ask()
				}
			}
		}
	}
}

// resend answers a NACK with the packets as they were: SRTP makes the same
// bytes of them again.
func (v *viewer) resend(nack *rtcp.TransportLayerNack) {
	c := &v.rendition.counters
	now := time.Now()
	for i := range nack.Nacks {
		nack.Nacks[i].Range(func(seq uint16) bool {
			index, replay, ok := v.find(seq)
			var f *frame
			var at int
			if ok {
				f, at = v.rendition.payload(index)
			}
			if f == nil || v.gone.Load() || !v.retransmit.Take(now) {
				c.nacksMissed.Add(1)
				return true
			}
			h := &v.nackHeader
			h.SequenceNumber, h.Timestamp, h.Marker = seq, replay.stampOf(f), at == len(f.payloads)-1
			if n, err := v.writer.WriteRTP(h, f.payloads[at]); err != nil || n == 0 {
				c.nacksMissed.Add(1)
				return true
			}
			c.nacksAnswered.Add(1)
			return true
		})
	}
}

// reportAt sends a sender report when one is due. The caller holds mu.
func (v *viewer) reportAt(now time.Time, f *frame) {
	if now.Before(v.nextReport) || v.report == nil {
		return
	}
	v.nextReport = now.Add(reportInterval)
	_ = v.report(&rtcp.SenderReport{ // lost like any packet: the next comes
		SSRC:        v.ssrc,
		NTPTime:     ntp(now),
		RTPTime:     f.stamp + ticks(now.Sub(f.arrived)),
		PacketCount: v.packets,
		OctetCount:  v.octets,
	})
}

// ntp is a time as 32.32 fixed point seconds since 1900 (RFC 3550 section 4).
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	s := uint64(t.Unix() + since1900)
	return s<<32 | uint64(t.Nanosecond())<<32/1e9
}
