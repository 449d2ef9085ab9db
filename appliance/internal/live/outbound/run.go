package outbound

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

const (
	// paceBurst is how many packets go out at once, and paceRate how many a second
	// beyond that (38 Mbit/s): what a receiver's buffer of 64 KiB and a client written in
	// Python take. paceStep are sent together when paced.
	paceBurst = 32
	paceRate  = 4000
	paceStep  = 12
	// reportInterval between RTCP sender reports.
	reportInterval = time.Second
	// retry is when a transport that took nothing yet is tried again.
	retry = 20 * time.Millisecond
)

// Counters of a track, since its start.
type Counters struct {
	Pictures, Packets, Bytes uint64
	// Skipped pictures were left out by Write, Lost ones not taken by the transport.
	Skipped, Lost uint64
	// NACKs answered and not, in packets; keyframes that the peer asked for.
	Answered, Missed, Refreshes uint64
}

type counters struct {
	pictures, packets, bytes, skipped, lost, answered, missed, refreshes atomic.Uint64
}

// Counters returns the present ones.
func (t *Track) Counters() Counters {
	c := &t.stats
	return Counters{
		Pictures: c.pictures.Load(), Packets: c.packets.Load(), Bytes: c.bytes.Load(), Skipped: c.skipped.Load(), Lost: c.lost.Load(),
		Answered: c.answered.Load(), Missed: c.missed.Load(), Refreshes: c.refreshes.Load(),
	}
}

// Run sends what is written, and answers what the peer says, until ctx ends or the
// connection is closed; then it returns nil, with all its goroutines ended. sender is what
// the connection made of Local. burst gathers the packets written during its call into
// few system calls (peer.Factory.Burst); nil: each goes out by itself.
func (t *Track) Run(ctx context.Context, sender *webrtc.RTPSender, burst func(func())) error {
	if burst == nil {
		burst = func(send func()) { send() }
	}
	ctx, stop := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		defer stop() // the connection is closed
		t.listen(sender, burst)
	})
	s := &sending{Track: t, report: sender.Transport().WriteRTCP}
	s.run(ctx, burst)
	stop()
	t.mu.Lock()
	t.closed, t.queue, t.bytes = true, nil, 0
	t.mu.Unlock()
	// A read that waits for RTCP ends at a deadline that has passed.
	_ = sender.SetReadDeadline(time.Unix(1, 0))
	listening.Wait()
	return nil
}

// sending is what the sending goroutine alone knows.
type sending struct {
	*Track
	report func([]rtcp.Packet) (int, error)

	header  rtp.Header
	current *frame
	at      int // packets of it that are sent
	started bool
	tokens  float64
	tokenAt time.Time

	lastKey    time.Time // keyframe was called
	nextReport time.Time
	octets     uint32
	packets    uint32
}

func (s *sending) run(ctx context.Context, burst func(func())) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		var again time.Duration
		burst(func() { again = s.round(time.Now()) })
		if wait := s.refresh(time.Now()); wait > 0 && (again == 0 || wait < again) {
			again = wait
		}
		if again == 0 {
			again = time.Hour
		}
		timer.Reset(again)
	}
}

// refresh asks for a keyframe if one is wanted and it is time; else it returns after how
// long to come again; 0: nothing is wanted.
func (s *sending) refresh(now time.Time) (again time.Duration) {
	s.mu.Lock()
	wanted := s.wanted
	wait := s.lastKey.Add(keyframeInterval).Sub(now)
	if wanted && wait <= 0 {
		// While pictures are left out for want of one, it is asked for again.
		s.wanted, s.lastKey = s.skip, now
	}
	again = time.Duration(0)
	if s.wanted {
		again = keyframeInterval
	}
	s.mu.Unlock()
	switch {
	case !wanted:
		return 0
	case wait > 0:
		return wait
	}
	if s.keyframe != nil {
		s.keyframe()
	}
	return again
}

// take gets the next picture; false: there is none, or no way for it yet.
func (s *sending) take() (w webrtc.TrackLocalWriter, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w = s.writer; w == nil {
		return nil, false
	}
	s.header = s.Track.header()
	if s.current != nil {
		return w, true
	}
	if len(s.queue) == 0 {
		return nil, false
	}
	s.current, s.at = s.queue[0], 0
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.bytes -= s.current.bytes
	return w, true
}

// round sends what may go out now, and returns after how long there is more.
func (s *sending) round(now time.Time) (again time.Duration) {
	s.tokens = min(paceBurst, s.tokens+now.Sub(s.tokenAt).Seconds()*paceRate)
	s.tokenAt = now
	for {
		w, ok := s.take()
		if !ok {
			return 0
		}
		if s.tokens < 1 {
			return paceStep * time.Second / paceRate
		}
		if s.write(w); s.at == len(s.current.payloads) {
			s.stats.pictures.Add(1)
			s.reportAt(now, s.current.stamp)
			s.done()
			continue
		}
		if s.tokens < 1 {
			continue
		}
		if !s.started {
			return retry // DTLS is still under way
		}
		// A peer over TCP that does not read, or one without a path: what is left of
		// the picture is of no use without the part that is lost.
		s.abandon()
	}
}

// write sends packets of the current picture, within the allowance.
func (s *sending) write(w webrtc.TrackLocalWriter) {
	f, h := s.current, &s.header
	h.Timestamp = f.stamp
	for ; s.at < len(f.payloads) && s.tokens >= 1; s.at++ {
		h.SequenceNumber, h.Marker = s.seq, s.at == len(f.payloads)-1
		// Before it is sent: an answer to a NACK must find it.
		s.history.put(s.seq, f.stamp, h.Marker, f.payloads[s.at])
		took, err := w.WriteRTP(h, f.payloads[s.at])
		if err != nil || took == 0 {
			s.history.drop(s.seq)
			return
		}
		s.started = true
		s.seq++
		s.tokens--
		s.packets++
		s.octets += uint32(len(f.payloads[s.at]))
		s.stats.packets.Add(1)
		s.stats.bytes.Add(uint64(len(f.payloads[s.at])))
	}
}

// abandon gives the current picture up, and those up to the next keyframe.
func (s *sending) abandon() {
	s.mu.Lock()
	s.wanted, s.skip = true, true
	lost := uint64(1)
	for len(s.queue) > 0 && !s.queue[0].keyframe {
		s.bytes -= s.queue[0].bytes
		s.queue = s.queue[1:]
		lost++
	}
	if len(s.queue) > 0 {
		s.skip = false
	}
	s.mu.Unlock()
	s.stats.lost.Add(lost)
	s.sent.Add(lost - 1)
	s.done()
}

// done ends the current picture.
func (s *sending) done() {
	s.current, s.at = nil, 0
	s.sent.Add(1)
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// reportAt sends a sender report when one is due (RFC 3550 section 6.4.1).
func (s *sending) reportAt(now time.Time, stamp uint32) {
	if now.Before(s.nextReport) {
		return
	}
	s.nextReport = now.Add(reportInterval)
	_, _ = s.report([]rtcp.Packet{&rtcp.SenderReport{ // lost like any packet: the next comes
		SSRC: s.header.SSRC, NTPTime: ntp(now), RTPTime: stamp, PacketCount: s.packets, OctetCount: s.octets,
	}})
}

// ntp is a time as 32.32 fixed point seconds since 1900 (RFC 3550 section 4).
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	sec := uint64(t.Unix() + since1900)
	return sec<<32 | uint64(t.Nanosecond())<<32/1e9
}

// listen handles the peer's RTCP until the connection is closed.
func (t *Track) listen(sender *webrtc.RTPSender, burst func(func())) {
	buf := make([]byte, 1500)
	budget := packet.Bucket{Rate: resendRate, Burst: resendBurst}
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			if errors.Is(err, io.ErrShortBuffer) {
				continue
			}
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue // authenticated, yet not RTCP: nothing that could be answered
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.TransportLayerNack:
				burst(func() { t.resend(p, &budget) })
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				t.stats.refreshes.Add(1)
				t.mu.Lock()
				t.wanted = true
				t.mu.Unlock()
				t.signal()
			}
		}
	}
}
