package client

import (
	"fmt"
	"strings"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// clockRate of video's RTP timestamps, Hz.
const clockRate = 90000

// VideoStats is what came of the received track.
type VideoStats struct {
	Codec   string
	Packets uint64
	Bytes   uint64 // RTP packets with their heads
	// Lost packets never came. Units are complete pictures, Damaged ones lacked a packet.
	Lost, Units, Damaged, Keyframes uint64
	// First and Last are the RTP timestamps of units, FirstAt and LastAt when they came.
	First, Last     uint32
	FirstAt, LastAt time.Time
}

// Unit is one encoded picture: H.264 in Annex B, or one VP8 frame.
type Unit struct {
	Codec    string
	Keyframe bool
	// Timestamp is RTP's, 90 kHz.
	Timestamp uint32
	// Data is the picture; At is when its last packet came (received ones only).
	Data []byte
	At   time.Time
}

func parameters(codec string) webrtc.RTPCodecParameters {
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	if codec == VP8 {
		return webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: clockRate, RTCPFeedback: feedback,
		}}
	}
	return webrtc.RTPCodecParameters{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: clockRate, RTCPFeedback: feedback,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	}}
}

// wanted are the codecs that a choice names, in order of preference.
func wanted(choice string) []webrtc.RTPCodecParameters {
	if choice == Any {
		return []webrtc.RTPCodecParameters{parameters(H264), parameters(VP8)}
	}
	return []webrtc.RTPCodecParameters{parameters(choice)}
}

// addTracks adds the sections of the tracks to the offer.
func (w *Worker) addTracks() error {
	for _, c := range []string{w.o.Send, w.o.Receive} {
		if c != "" && c != H264 && c != VP8 && (c != Any || c == w.o.Send) {
			return fmt.Errorf("there is no codec %q here", c)
		}
	}
	if w.o.Send != "" {
		direction := webrtc.RTPTransceiverDirectionSendonly
		choice := w.o.Send
		if w.o.Receive != "" && !w.o.Apart {
			direction = webrtc.RTPTransceiverDirectionSendrecv
			if w.o.Receive != w.o.Send && w.o.Receive != Any {
				return fmt.Errorf("a section that sends %s cannot receive %s: set Apart", w.o.Send, w.o.Receive)
			}
		}
		s, err := newSender(w.o.Send)
		if err != nil {
			return err
		}
		t, err := w.pc.AddTransceiverFromTrack(s.track, webrtc.RTPTransceiverInit{Direction: direction})
		if err != nil {
			return fmt.Errorf("add the track that is sent: %w", err)
		}
		if err := t.SetCodecPreferences(wanted(choice)); err != nil {
			return fmt.Errorf("choose the codec that is sent: %w", err)
		}
		w.sender = s
		if w.begin() {
			go func() {
				defer w.work.Done()
				w.feedback(t.Sender())
			}()
		}
		if direction == webrtc.RTPTransceiverDirectionSendrecv {
			return nil
		}
	}
	if w.o.Receive == "" {
		return nil
	}
	t, err := w.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	if err != nil {
		return fmt.Errorf("ask for a track: %w", err)
	}
	if err := t.SetCodecPreferences(wanted(w.o.Receive)); err != nil {
		return fmt.Errorf("choose the codec that is asked for: %w", err)
	}
	return nil
}

// watch takes the received track's packets until it ends.
func (w *Worker) watch(t *webrtc.TrackRemote) {
	codec := H264
	if strings.EqualFold(t.Codec().MimeType, webrtc.MimeTypeVP8) {
		codec = VP8
	}
	a := assembly{codec: codec, ahead: map[uint16]*rtp.Packet{}}
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		now := time.Now()
		units := a.packet(p, now)
		w.update(func(s *Stats) {
			v := &s.Video
			v.Codec, v.Lost, v.Damaged = codec, a.lost, a.damaged
			v.Packets++
			v.Bytes += uint64(p.MarshalSize())
			for i := range units {
				v.count(&units[i])
			}
		})
		if w.o.OnUnit != nil {
			for _, u := range units {
				w.o.OnUnit(u)
			}
		}
	}
}

func (v *VideoStats) count(u *Unit) {
	if v.Units == 0 {
		v.First, v.FirstAt = u.Timestamp, u.At
	}
	v.Units++
	v.Last, v.LastAt = u.Timestamp, u.At
	if u.Keyframe {
		v.Keyframes++
	}
}

const (
	// reorder is how many packets may come ahead of a missing one before that one
	// counts as lost.
	reorder = 512
	// patience is how long it is waited for.
	patience = time.Second
)

// assembly puts a track's packets in order and its pictures together. A picture is
// complete with its marked packet: the next one is not waited for.
type assembly struct {
	codec string
	depay rtp.Depacketizer

	begun   bool
	next    uint16                 // sequence number to go on with
	ahead   map[uint16]*rtp.Packet // came before their turn
	blocked time.Time              // since when next is missing

	data          []byte
	broken        bool // a packet of the picture in hand was lost
	lost, damaged uint64
}

func (a *assembly) packet(p *rtp.Packet, now time.Time) (units []Unit) {
	if !a.begun {
		a.begun, a.next = true, p.SequenceNumber
	}
	switch d := p.SequenceNumber - a.next; {
	case d >= 1<<15:
		return nil // again, or too late
	case d > 0 && len(a.ahead) == 0:
		a.blocked = now
	}
	a.ahead[p.SequenceNumber] = p
	if a.ahead[a.next] == nil {
		if len(a.ahead) < reorder && now.Sub(a.blocked) < patience {
			return nil
		}
		for a.ahead[a.next] == nil {
			a.lost++
			a.next++
		}
		a.broken = true
	}
	for q := a.ahead[a.next]; q != nil; q = a.ahead[a.next] {
		delete(a.ahead, a.next)
		a.next++
		a.blocked = now
		if u, ok := a.take(q, now); ok {
			units = append(units, u)
		}
	}
	return units
}

// take adds the packet whose turn it is.
func (a *assembly) take(p *rtp.Packet, now time.Time) (u Unit, ok bool) {
	if a.depay == nil {
		if a.codec == VP8 {
			a.depay = &codecs.VP8Packet{}
		} else {
			a.depay = &codecs.H264Packet{}
		}
	}
	if len(p.Payload) > 0 {
		b, err := a.depay.Unmarshal(p.Payload)
		a.broken = a.broken || err != nil
		a.data = append(a.data, b...)
	}
	if !p.Marker {
		return Unit{}, false
	}
	u = Unit{Codec: a.codec, Timestamp: p.Timestamp, Data: a.data, At: now}
	broken := a.broken
	a.data, a.broken, a.depay = nil, false, nil
	if broken || len(u.Data) == 0 {
		if broken {
			a.damaged++
		}
		return Unit{}, false // padding has no data
	}
	u.Keyframe = keyframe(u.Codec, u.Data)
	return u, true
}

// keyframe tells whether a decoder can begin with a picture: RFC 6386 section 9.1,
// H.264 table 7-1 (an IDR slice).
func keyframe(codec string, data []byte) bool {
	if codec == VP8 {
		return len(data) > 0 && data[0]&1 == 0
	}
	for nal := range nalUnits(data) {
		if nal[0]&0x1f == nalIDR {
			return true
		}
	}
	return false
}
