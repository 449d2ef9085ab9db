package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

const (
	// look is how often the clock is looked at while packets wait for others.
	look = 50 * time.Millisecond
	// again is when a keyframe that did not come is asked for again.
	again = time.Second
	// refreshInterval is the least time between two requests for a keyframe.
	refreshInterval = 500 * time.Millisecond
	// leap is the step of RTP time from which it is not taken as the time that
	// passed: the peer began another count, or means harm.
	leap = time.Hour
	// maxPacket is more than any path without jumbo frames carries.
	maxPacket = 2048
)

// Codec is the name of a track's codec, "h264" or "vp8"; "" is none that is read here.
func Codec(track *webrtc.TrackRemote) string {
	name, _ := packet.Rank(strings.TrimPrefix(track.Codec().MimeType, "video/"), "packetization-mode=1;profile-level-id=42e01f")
	return name
}

// Read gives a track's frames, in order, to give, until the track ends (nil) or ctx does
// (its error). Every unit can be decoded after those before it: the first is a keyframe,
// and where packets were lost for good one follows. refresh asks the peer for a
// keyframe; it is called at most every half second. Neither may block. A track whose
// codec changes underway ends there, with an error.
func Read(ctx context.Context, track *webrtc.TrackRemote, refresh func() error, give func(Unit)) error {
	var f format
	switch Codec(track) {
	case packet.CodecH264:
		f = newH264(track.Codec().SDPFmtpLine)
	case packet.CodecVP8:
		f = vp8{}
	default:
		return fmt.Errorf("a track of %s: only H.264 and VP8 are read", track.Codec().MimeType)
	}
	codec := Codec(track)
	r := &reader{assembler: newAssembler(f), refresh: refresh, give: give}
	stop := context.AfterFunc(ctx, func() { _ = track.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxPacket)
	armed := false
	for {
		if hold := r.assembler.holding(); hold || armed {
			deadline := time.Time{}
			if hold {
				deadline = time.Now().Add(look)
			}
			armed = hold
			if err := track.SetReadDeadline(deadline); err != nil {
				return fmt.Errorf("set the time to read a packet: %w", err)
			}
		}
		if err := ctx.Err(); err != nil { // after the deadline, which ctx's end moves
			return err
		}
		n, _, err := track.Read(buf)
		now := time.Now()
		switch timeout := (net.Error)(nil); {
		case err == nil && Codec(track) != codec: // that of the packet just read
			return fmt.Errorf("the track changed from %s to %s", codec, track.Codec().MimeType)
		case err == nil:
			r.packet(buf[:n], now)
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
			r.advance(now)
		case errors.Is(err, io.ErrShortBuffer), errors.Is(err, webrtc.ErrCodecNotFound): // no packet of ours
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return nil // the track, or its connection, is closed
		}
	}
}

// reader is one track being read.
type reader struct {
	assembler *assembler
	refresh   func() error
	give      func(Unit)
	times     timeline
	asked     time.Time
	header    rtp.Header
}

// packet takes one RTP packet.
func (r *reader) packet(b []byte, now time.Time) {
	h := &r.header
	*h = rtp.Header{CSRC: h.CSRC[:0], Extensions: h.Extensions[:0]}
	n, err := h.Unmarshal(b)
	if err != nil {
		return
	}
	payload := b[n:]
	if h.Padding {
		pad := 0
		if len(payload) > 0 {
			pad = int(payload[len(payload)-1])
		}
		if pad == 0 || pad > len(payload) {
			return // RFC 3550 section 5.1: the last byte says how many
		}
		payload = payload[:len(payload)-pad]
	}
	r.assembler.push(h.SequenceNumber, h.Timestamp, h.Marker, payload, now)
	r.advance(now)
}

// advance gives what is complete, and asks for a keyframe where one is needed.
func (r *reader) advance(now time.Time) {
	for {
		f, ok := r.assembler.pop(now)
		if !ok {
			break
		}
		r.give(Unit{Keyframe: f.keyframe, PTS: r.times.place(f.stamp, now), Captured: monotonic(), Data: f.data})
	}
	wait := refreshInterval
	if !r.assembler.wanted {
		wait = again
	}
	if (r.assembler.wanted || r.assembler.broken && !r.asked.IsZero()) && now.Sub(r.asked) >= wait {
		r.assembler.wanted, r.asked = false, now
		_ = r.refresh() // lost like any packet: it is asked for again
	}
}

// timeline unwraps RTP time.
type timeline struct {
	started bool
	stamp   uint32
	at      time.Time
	ticks   int64
}

// place is the time of a frame from the first one. It always grows.
func (t *timeline) place(stamp uint32, now time.Time) time.Duration {
	if t.started {
		step := int64(int32(stamp - t.stamp))
		if step <= 0 || step > int64(leap/time.Second)*clockRate {
			step = max(1, int64(now.Sub(t.at)/time.Millisecond)*(clockRate/1000))
		}
		t.ticks += step
	}
	t.started, t.stamp, t.at = true, stamp, now
	return time.Duration(t.ticks/clockRate)*time.Second + time.Duration(t.ticks%clockRate)*time.Second/clockRate
}

// Refresh makes the function that asks a track's peer for a keyframe (PLI, RFC 4585
// section 6.3.1). It may be called from any goroutine; requests within half a second of
// the last are left out, for the answer to that is on its way.
func Refresh(pc *webrtc.PeerConnection, track *webrtc.TrackRemote) func() error {
	var mu sync.Mutex
	var last time.Time
	return func() error {
		mu.Lock()
		now := time.Now()
		early := now.Sub(last) < refreshInterval
		if !early {
			last = now
		}
		mu.Unlock()
		if early {
			return nil
		}
		return pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
	}
}

// monotonic reads CLOCK_MONOTONIC in ns: the one clock of all processes of the machine.
func monotonic() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}

// Listen reads a receiver's RTCP, for the interceptors to see it (a sender report is
// answered in the next receiver report), until the connection is closed or ctx ends.
func Listen(ctx context.Context, receiver *webrtc.RTPReceiver) {
	stop := context.AfterFunc(ctx, func() { _ = receiver.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxPacket)
	for ctx.Err() == nil {
		if _, _, err := receiver.Read(buf); err != nil && !errors.Is(err, io.ErrShortBuffer) {
			return
		}
	}
}
