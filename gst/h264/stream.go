package h264

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// NAL unit types, table 7-1.
const (
	nalSlice     = 1
	nalPartition = 2 // to 4
	nalIDR       = 5
	nalSPS       = 7
	nalPPS       = 8
	nalAUD       = 9
	nalFiller    = 12
	nalPrefix    = 14
	nalSubset    = 15
	nalExtension = 20
)

// ErrDamaged is wrapped by the errors about units that are no H.264.
var ErrDamaged = errors.New("damaged H.264 unit")

// ErrNoPicture is the ErrDamaged about a unit without a slice: some encoders send
// parameter sets and messages by themselves.
var ErrNoPicture = fmt.Errorf("%w: no picture in it", ErrDamaged)

// Unit is an access unit as players want it.
type Unit struct {
	// Data is in Annex B. In front of a keyframe stand all parameter sets.
	Data []byte
	// Keyframe: decoding can begin here (an IDR picture whose parameter sets
	// are known).
	Keyframe bool
}

// Stream follows one H.264 stream. The zero value is ready.
type Stream struct {
	length int // bytes of a NAL unit's length; 0: Annex B
	sps    map[uint32][]byte
	pps    map[uint32][]byte
	order  map[uint32]bool // by SPS: in order for certain
	sure   bool            // no slice needs to be looked at
	reason string
}

// Problem is why the stream cannot be shown as it is; empty: it can, as far as
// was seen. It does not change back.
func (s *Stream) Problem() string { return s.reason }

// Configure tells the stream's form: config is the decoder configuration record
// (ISO/IEC 14496-15 clause 5.3.3) of a stream whose NAL units carry their
// length; nil for Annex B.
func (s *Stream) Configure(config []byte) error {
	if config == nil {
		s.length = 0
		return nil
	}
	if len(config) < 7 || config[0] != 1 {
		return fmt.Errorf("%w: decoder configuration of %d bytes", ErrDamaged, len(config))
	}
	s.length = int(config[4]&3) + 1
	rest := config[5:]
	for _, mask := range []byte{0x1f, 0xff} {
		if len(rest) == 0 {
			return fmt.Errorf("%w: decoder configuration is cut off", ErrDamaged)
		}
		n := int(rest[0] & mask)
		rest = rest[1:]
		for range n {
			if len(rest) < 2 || len(rest)-2 < int(rest[0])<<8+int(rest[1]) {
				return fmt.Errorf("%w: decoder configuration is cut off", ErrDamaged)
			}
			size := int(rest[0])<<8 + int(rest[1])
			if size > 0 {
				s.learn(rest[2 : 2+size])
			}
			rest = rest[2+size:]
		}
	}
	return nil
}

// Unit reads one access unit. It keeps nothing of data.
func (s *Stream) Unit(data []byte) (Unit, error) {
	nals, err := s.split(data)
	if err != nil {
		return Unit{}, err
	}
	key, picture := false, false
	for _, n := range nals {
		switch t := n[0] & 0x1f; t {
		case nalSPS, nalPPS:
			s.learn(n)
		case nalSlice, nalIDR:
			key, picture = key || t == nalIDR, true
			s.slice(n)
		case nalPartition, nalPartition + 1, nalPartition + 2:
			s.refuse("its pictures come in data partitions")
		}
	}
	if !picture {
		return Unit{}, ErrNoPicture
	}
	key = key && len(s.sps) > 0 && len(s.pps) > 0
	u := Unit{Keyframe: key, Data: make([]byte, 0, len(data)+256)}
	if key {
		for _, sets := range []map[uint32][]byte{s.sps, s.pps} {
			for _, id := range sorted(sets) {
				u.add(sets[id])
			}
		}
	}
	for _, n := range nals {
		switch n[0] & 0x1f {
		case nalAUD, nalFiller, nalPrefix, nalSubset, nalExtension:
		case nalSPS, nalPPS:
			if !key {
				u.add(n)
			}
		default:
			u.add(n)
		}
	}
	return u, nil
}

func (u *Unit) add(nal []byte) {
	u.Data = append(append(u.Data, 0, 0, 0, 1), nal...)
}

func sorted(sets map[uint32][]byte) []uint32 {
	ids := make([]uint32, 0, len(sets))
	for id := range sets {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// split cuts an access unit into its NAL units, none of them empty.
func (s *Stream) split(data []byte) (nals [][]byte, err error) {
	if s.length == 0 {
		return annexB(data), nil
	}
	for len(data) > 0 {
		if len(data) < s.length {
			return nil, fmt.Errorf("%w: cut off", ErrDamaged)
		}
		size := 0
		for _, c := range data[:s.length] {
			size = size<<8 | int(c)
		}
		data = data[s.length:]
		if size > len(data) {
			return nil, fmt.Errorf("%w: a NAL unit of %d bytes, %d are left", ErrDamaged, size, len(data))
		}
		if size > 0 {
			nals = append(nals, data[:size])
		}
		data = data[size:]
	}
	return nals, nil
}

func annexB(b []byte) (nals [][]byte) {
	code := []byte{0, 0, 1}
	at := bytes.Index(b, code)
	for at >= 0 {
		b = b[at+3:]
		at = bytes.Index(b, code)
		nal := b
		if at >= 0 {
			nal = b[:at]
		}
		if nal = bytes.TrimRight(nal, "\x00"); len(nal) > 0 {
			nals = append(nals, nal)
		}
	}
	return nals
}

// learn takes a parameter set. What is not readable is left to the decoder.
func (s *Stream) learn(nal []byte) {
	switch nal[0] & 0x1f {
	case nalSPS:
		p, err := parseSPS(nal)
		if err != nil {
			return
		}
		if s.sps == nil {
			s.sps, s.order = map[uint32][]byte{}, map[uint32]bool{}
		}
		if bytes.Equal(s.sps[p.id], nal) {
			return
		}
		s.sps[p.id], s.order[p.id] = bytes.Clone(nal), p.inOrder
		s.judge(p)
	case nalPPS:
		r := &bits{b: payload(nal, 8)}
		id := r.ue()
		if r.err != nil || id > 255 {
			return
		}
		if s.pps == nil {
			s.pps = map[uint32][]byte{}
		}
		if !bytes.Equal(s.pps[id], nal) {
			s.pps[id] = bytes.Clone(nal)
		}
	}
}

// judge decides by what a sequence parameter set says.
func (s *Stream) judge(p sps) {
	s.sure = true
	for _, in := range s.order {
		s.sure = s.sure && in
	}
	switch {
	case p.profile != 66 && p.profile != 77 && p.profile != 100:
		s.refuse(fmt.Sprintf("browsers do not play its H.264 profile (%d)", p.profile))
	case p.depth != 8 || p.depthChroma != 8 || p.chroma > 1:
		s.refuse("its pictures are not 8-bit 4:2:0")
	case p.interlaced:
		s.refuse("it is interlaced")
	}
}

// slice looks for B-frames where the parameter sets do not rule them out.
func (s *Stream) slice(nal []byte) {
	if s.sure || s.reason != "" {
		return
	}
	r := &bits{b: payload(nal, 12)}
	r.ue() // first macroblock
	if kind := r.ue(); r.err == nil && kind%5 == 1 {
		s.refuse("it has B-frames, which WebRTC players cannot show")
	}
}

func (s *Stream) refuse(reason string) {
	if s.reason == "" {
		s.reason = reason
	}
}
