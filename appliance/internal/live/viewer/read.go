package viewer

import (
	"strings"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

const (
	// clockRate of the RTP timestamps, Hz.
	clockRate = 90000
	// window is how many packets may come ahead of a missing one before that
	// one counts as lost: more than the largest keyframe's worth.
	window = 512
	// patience is how long a missing packet is waited for: by then a player
	// would have shown something else.
	patience = 500 * time.Millisecond
)

// read takes a track's packets until it ends.
func (v *Viewer) read(t *webrtc.TrackRemote) {
	codec := H264
	if strings.EqualFold(t.Codec().MimeType, webrtc.MimeTypeVP8) {
		codec = VP8
	}
	a := newAssembly(codec)
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		now := time.Now()
		units := a.packet(p, now)
		v.update(func(s *Stats) {
			s.Codec = codec
			if s.FirstPacket.IsZero() {
				s.FirstPacket = now
			}
			s.Packets++
			s.Bytes += uint64(p.MarshalSize())
			s.Lost, s.Late, s.Damaged = a.lost, a.late, a.damaged
			for i := range units {
				count(s, &units[i])
			}
		})
		if v.options.OnUnit != nil {
			for _, u := range units {
				v.options.OnUnit(u)
			}
		}
	}
}

func count(s *Stats, u *Unit) {
	s.Units++
	s.LastUnit = u.At
	if s.FirstUnit.IsZero() {
		s.FirstUnit = u.At
	}
	if !u.Keyframe {
		return
	}
	s.Keyframes++
	if u.Width != 0 && (u.Width != s.Width || u.Height != s.Height) {
		s.Width, s.Height = u.Width, u.Height
		s.Sizes++
	}
}

// assembly puts one track's packets in order and its pictures together.
type assembly struct {
	codec Codec
	depay rtp.Depacketizer

	begun   bool
	next    uint16                 // sequence number to go on with
	ahead   map[uint16]*rtp.Packet // came before their turn
	blocked time.Time              // since when next is missing

	data   []byte
	broken bool // a packet of the picture in hand was lost

	lost, late, damaged uint64
}

func newAssembly(c Codec) *assembly {
	a := &assembly{codec: c, ahead: make(map[uint16]*rtp.Packet)}
	a.reset()
	return a
}

// reset begins a picture.
func (a *assembly) reset() {
	a.data, a.broken = nil, false
	if a.codec == VP8 {
		a.depay = &codecs.VP8Packet{}
	} else {
		a.depay = &codecs.H264Packet{}
	}
}

// packet takes one packet and returns the pictures that it completes.
func (a *assembly) packet(p *rtp.Packet, now time.Time) (units []Unit) {
	if !a.begun {
		a.begun, a.next = true, p.SequenceNumber
	}
	switch d := p.SequenceNumber - a.next; {
	case d >= 1<<15:
		return nil // a duplicate, or too late
	case d > 0:
		if len(a.ahead) == 0 {
			a.blocked = now
		}
		a.ahead[p.SequenceNumber] = p
		if len(a.ahead) < window && now.Sub(a.blocked) < patience {
			return nil
		}
		for a.ahead[a.next] == nil {
			a.lost++
			a.next++
		}
		a.broken = true
	default:
		if len(a.ahead) > 0 {
			a.late++
		}
		a.ahead[p.SequenceNumber] = p
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
	if len(p.Payload) > 0 {
		b, err := a.depay.Unmarshal(p.Payload)
		a.broken = a.broken || err != nil
		a.data = append(a.data, b...)
	}
	if !p.Marker {
		return Unit{}, false
	}
	u = Unit{Codec: a.codec, Timestamp: p.Timestamp, At: now, Data: a.data}
	broken := a.broken || len(a.data) == 0
	a.reset()
	if broken {
		a.damaged++
		return Unit{}, false
	}
	if a.codec == VP8 {
		u.describeVP8()
	} else {
		u.describeH264()
	}
	return u, true
}

// describeVP8 reads the frame header (RFC 6386, section 9.1).
func (u *Unit) describeVP8() {
	d := u.Data
	if d[0]&1 != 0 {
		return
	}
	u.Keyframe = true
	if len(d) >= 10 {
		u.Width = (int(d[7])<<8 | int(d[6])) & 0x3fff
		u.Height = (int(d[9])<<8 | int(d[8])) & 0x3fff
	}
}

// describeH264 looks for an IDR slice and a sequence parameter set.
func (u *Unit) describeH264() {
	var nals h264.AnnexB
	if nals.Unmarshal(u.Data) != nil {
		return
	}
	for _, n := range nals {
		if len(n) == 0 {
			continue
		}
		switch h264.NALUType(n[0] & 0x1f) {
		case h264.NALUTypeIDR:
			u.Keyframe = true
		case h264.NALUTypeSPS:
			var sps h264.SPS
			if sps.Unmarshal(n) == nil {
				u.Width, u.Height = sps.Width(), sps.Height()
			}
		}
	}
}
