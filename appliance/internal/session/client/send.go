package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// SentStats is what went out on the sent track.
type SentStats struct {
	Units, Packets, Bytes uint64
	// Refreshes counts the keyframes that the box asked for (PLI, FIR).
	Refreshes uint64
	// Reports counts the receiver reports from which the round trip can be told: those that
	// name a sender report of ours (RFC 3550 section 6.4.1).
	Reports uint64
}

// payloadMTU leaves room for SRTP, UDP and IPv6 in 1280 bytes.
const payloadMTU = 1188

// sender is the sent track.
type sender struct {
	track     *webrtc.TrackLocalStaticRTP
	payloader rtp.Payloader
	seq       uint16
	origin    uint32 // of the RTP time: random, as RFC 3550 section 5.1 wants it
}

func newSender(codec string) (*sender, error) {
	p := parameters(codec)
	track, err := webrtc.NewTrackLocalStaticRTP(p.RTPCodecCapability, "video", "client")
	if err != nil {
		return nil, fmt.Errorf("new track: %w", err)
	}
	s := &sender{track: track, seq: uint16(rand.Uint32()), origin: rand.Uint32()}
	if codec == VP8 {
		s.payloader = &codecs.VP8Payloader{}
	} else {
		s.payloader = &codecs.H264Payloader{}
	}
	return s, nil
}

// Send sends one picture on the track, once the connection stands. Timestamps are
// 90 kHz from an origin of the caller's; the track adds one of its own. One goroutine
// sends.
func (w *Worker) Send(ctx context.Context, u Unit) error {
	if w.sender == nil {
		return errors.New("the session was opened without a track to send")
	}
	if err := w.Connected(ctx); err != nil {
		return err
	}
	s := w.sender
	payloads := s.payloader.Payload(payloadMTU, u.Data)
	if len(payloads) == 0 {
		return fmt.Errorf("a picture of %d bytes that cannot be sent", len(u.Data))
	}
	n := 0
	for i, payload := range payloads {
		p := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: s.origin + u.Timestamp, Marker: i == len(payloads)-1}, Payload: payload}
		s.seq++
		n += len(payload)
		if err := s.track.WriteRTP(&p); err != nil {
			return fmt.Errorf("send a picture: %w", err)
		}
	}
	w.update(func(st *Stats) {
		st.Sent.Units++
		st.Sent.Packets += uint64(len(payloads))
		st.Sent.Bytes += uint64(n)
	})
	return nil
}

// Play sends pictures at their own pace. A picture whose time has passed goes out at
// once. When the box asks for a keyframe and no further one is among the pictures, the
// play goes on.
func (w *Worker) Play(ctx context.Context, units []Unit) error {
	if err := w.Connected(ctx); err != nil {
		return err
	}
	begun := time.Now()
	for _, u := range units {
		due := begun.Add(time.Duration(u.Timestamp-units[0].Timestamp) * time.Second / clockRate)
		select {
		case <-time.After(time.Until(due)):
		case <-w.lost:
			return ErrLost
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := w.Send(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// Loop plays pictures again and again, their times going on, until ctx or the
// connection ends.
func (w *Worker) Loop(ctx context.Context, units []Unit) error {
	if len(units) < 2 {
		return errors.New("two pictures at least make a loop")
	}
	// What a picture lasts, so that the first follows the last as any does the one before.
	length := units[len(units)-1].Timestamp - units[0].Timestamp
	length += length / uint32(len(units)-1)
	again := append([]Unit{}, units...)
	for {
		if err := w.Play(ctx, again); err != nil {
			return err
		}
		for i := range again {
			again[i].Timestamp += length
		}
	}
}

// feedback counts what the box asks of the sent track until that ends.
func (w *Worker) feedback(s *webrtc.RTPSender) {
	for {
		packets, _, err := s.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				w.update(func(st *Stats) { st.Sent.Refreshes++ })
			case *rtcp.ReceiverReport:
				if slices.ContainsFunc(p.Reports, func(r rtcp.ReceptionReport) bool { return r.LastSenderReport != 0 }) {
					w.update(func(st *Stats) { st.Sent.Reports++ })
				}
			}
		}
	}
}
