package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// NAL unit types, ITU-T H.264 table 7-1 and RFC 6184 section 5.2.
const (
	nalMask  = 0x1f
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalFill  = 12
	nalSTAPA = 24
	nalFUA   = 28
	fuStart  = 0x80
	fuEnd    = 0x40

	// maxSets and maxSet bound the parameter sets that are remembered, of each kind.
	maxSets = 16
	maxSet  = 1024
)

var (
	errAggregate  = errors.New("an H.264 aggregation packet is cut short")
	errFragment   = errors.New("a fragment of an H.264 NAL unit is missing")
	errType       = errors.New("an H.264 packet of a type that packetization-mode 1 does not have")
	errParameters = errors.New("an H.264 keyframe came without parameter sets")
)

// h264 is the format of RFC 6184, packetization-mode 1. It remembers the parameter
// sets: a keyframe that came without is given them.
type h264 struct {
	sps, pps sets
	nals     [][]byte // of the frame in hand
	whole    []byte   // memory of its NAL units that came in fragments
}

// set is a parameter set by its id.
type set struct {
	id  uint32
	nal []byte
}

type sets []set

// put remembers a copy of a parameter set, in place of the one with its id.
func (s *sets) put(id uint32, nal []byte) {
	if len(nal) > maxSet {
		return
	}
	for i := range *s {
		if (*s)[i].id == id {
			if !bytes.Equal((*s)[i].nal, nal) {
				(*s)[i].nal = bytes.Clone(nal)
			}
			return
		}
	}
	if len(*s) == maxSets {
		*s = append((*s)[:0], (*s)[1:]...)
	}
	*s = append(*s, set{id: id, nal: bytes.Clone(nal)})
}

// newH264 takes the parameter sets of the SDP, where there are some (RFC 6184
// section 8.1, sprop-parameter-sets).
func newH264(fmtp string) *h264 {
	h := &h264{}
	for p := range strings.SplitSeq(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(key, "sprop-parameter-sets") {
			continue
		}
		for text := range strings.SplitSeq(value, ",") {
			if nal, err := base64.StdEncoding.DecodeString(text); err == nil && len(nal) > 1 {
				h.remember(nal)
			}
		}
	}
	return h
}

// remember keeps a NAL unit that is a parameter set.
func (h *h264) remember(nal []byte) {
	switch nal[0] & nalMask {
	case nalSPS:
		if len(nal) > 4 { // profile, constraints and level come before the id
			h.sps.put(golomb(nal[4:]), nal)
		}
	case nalPPS:
		h.pps.put(golomb(nal[1:]), nal)
	}
}

// golomb reads an unsigned Exp-Golomb number of at most 16 bits (ITU-T H.264
// section 9.1); what is longer is no valid id, and counts as 0.
func golomb(b []byte) uint32 {
	bit := func(i int) uint32 {
		if i/8 >= len(b) {
			return 1
		}
		return uint32(b[i/8]>>(7-i%8)) & 1
	}
	zeros := 0
	for zeros < 9 && bit(zeros) == 0 {
		zeros++
	}
	if zeros == 9 {
		return 0
	}
	v := uint32(1)
	for i := range zeros {
		v = v<<1 | bit(zeros+1+i)
	}
	return v - 1
}

func (h *h264) opens(p []byte) bool {
	switch t := p[0] & nalMask; t {
	case nalSPS, nalIDR:
		return true
	case nalSTAPA:
		opens := false
		_ = aggregated(p, func(nal []byte) {
			t := nal[0] & nalMask
			opens = opens || t == nalSPS || t == nalIDR
		})
		return opens
	case nalFUA:
		return len(p) > 2 && p[1]&fuStart != 0 && (p[1]&nalMask == nalIDR || p[1]&nalMask == nalSPS)
	}
	return false
}

// aggregated calls each for the NAL units of a STAP-A (RFC 6184 section 5.7.1).
func aggregated(p []byte, each func(nal []byte)) error {
	for rest := p[1:]; len(rest) > 0; {
		if len(rest) < 3 {
			return errAggregate
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n == 0 || len(rest) < 2+n {
			return errAggregate
		}
		each(rest[2 : 2+n])
		rest = rest[2+n:]
	}
	return nil
}

func (h *h264) join(payloads [][]byte) (data []byte, keyframe bool, err error) {
	h.nals = h.nals[:0]
	if err := h.split(payloads); err != nil {
		return nil, false, err
	}
	var picture, sps, pps bool
	size := 0
	for _, nal := range h.nals {
		size += 4 + len(nal)
		switch t := nal[0] & nalMask; {
		case t == nalIDR:
			picture, keyframe = true, true
		case t > 0 && t < nalIDR:
			picture = true
		case t == nalSPS || t == nalPPS:
			h.remember(nal)
			sps, pps = sps || t == nalSPS, pps || t == nalPPS
		}
	}
	if !picture {
		return nil, false, nil
	}
	data = make([]byte, 0, size+128)
	if keyframe && !(sps && pps) {
		if len(h.sps) == 0 || len(h.pps) == 0 {
			return nil, false, errParameters
		}
		for _, s := range append(h.sps[:len(h.sps):len(h.sps)], h.pps...) {
			data = annexB(data, s.nal)
		}
	}
	for _, nal := range h.nals {
		data = annexB(data, nal)
	}
	return data, keyframe, nil
}

func annexB(b, nal []byte) []byte { return append(append(b, 0, 0, 0, 1), nal...) }

// split fills nals with the NAL units of a frame's packets.
func (h *h264) split(payloads [][]byte) error {
	// A peer may cut as many NAL units as it likes: together they are no longer than
	// what it sent, and what it sent is bounded.
	size := 0
	for _, p := range payloads {
		size += len(p)
	}
	h.whole = slices.Grow(h.whole[:0], size)
	open := 0 // where the NAL unit in hand begins
	inside := false
	keep := func(nal []byte) {
		if t := nal[0] & nalMask; t != 0 && t != nalFill && t < nalSTAPA {
			h.nals = append(h.nals, nal)
		}
	}
	for _, p := range payloads {
		t := p[0] & nalMask
		if inside && t != nalFUA {
			return errFragment
		}
		switch {
		case t == nalSTAPA:
			if err := aggregated(p, keep); err != nil {
				return err
			}
		case t == nalFUA:
			if len(p) < 3 || inside == (p[1]&fuStart != 0) {
				return errFragment
			}
			if !inside {
				open = len(h.whole)
				h.whole = append(h.whole, p[0]&^nalMask|p[1]&nalMask)
			}
			h.whole = append(h.whole, p[2:]...)
			if inside = p[1]&fuEnd == 0; !inside {
				keep(h.whole[open:])
			}
		case t > 0 && t < nalSTAPA:
			keep(p)
		default:
			return errType
		}
	}
	if inside {
		return errFragment
	}
	return nil
}
