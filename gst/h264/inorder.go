package h264

import (
	"bytes"
	mathbits "math/bits"
)

// InOrder has an access unit in Annex B say that its pictures are shown in the order
// in which they come. A decoder that is not told otherwise may hold back as many
// pictures as there is room for (C.4.5.3, max_num_reorder_frames of E.2.1), for one
// that is to be shown ahead of them; of a stream that is sent as it is made none ever
// is, and many of its senders do not say so. Browsers rewrite what they receive for
// the same reason.
//
// unit is returned as it is where it says so, or has no parameter set that can be
// read.
func InOrder(unit []byte) []byte {
	// Parameter sets stand in front of the picture.
	var out []byte
	done := 0 // of unit, what is in out
	for _, n := range leading(unit) {
		nal := unit[n.from:n.to]
		if nal[0]&0x1f != nalSPS {
			continue
		}
		if again, ok := inOrder(nal); ok {
			out = append(append(out, unit[done:n.from]...), again...)
			done = n.to
		}
	}
	if out == nil {
		return unit
	}
	return append(out, unit[done:]...)
}

type span struct{ from, to int }

// leading finds the NAL units of an Annex B unit in front of the first slice.
func leading(b []byte) (nals []span) {
	code := []byte{0, 0, 1}
	at := bytes.Index(b, code)
	for at >= 0 {
		from := at + 3
		if from >= len(b) || b[from]&0x1f >= nalSlice && b[from]&0x1f <= nalIDR {
			break
		}
		next, to := bytes.Index(b[from:], code), len(b)
		if next >= 0 {
			next += from
			to = next
		}
		to = from + len(bytes.TrimRight(b[from:to], "\x00"))
		if to > from {
			nals = append(nals, span{from, to})
		}
		at = next
	}
	return nals
}

// inOrder rewrites a sequence parameter set; ok is false where it need not or cannot
// be.
func inOrder(nal []byte) (out []byte, ok bool) {
	p, err := parseSPS(nal)
	if err != nil || p.told {
		return nil, false
	}
	w := &scribe{}
	r := &bits{b: payload(nal, len(nal))}
	end := p.restriction
	if end == 0 {
		end = p.vui
	}
	for range end {
		w.u(r.u(1), 1)
	}
	if p.restriction == 0 {
		w.u(1, 1) // there is a VUI,
		w.u(0, 8) // that tells of nothing
	}
	w.u(1, 1) // but of these
	w.u(1, 1) // motion may point outside
	// The values that hold where nothing is told (E.2.1), but for the last two.
	w.ue(2)
	w.ue(1)
	w.ue(16)
	w.ue(16)
	w.ue(0)
	w.ue(p.refs)
	w.u(1, 1) // the end
	return append([]byte{nal[0]}, escaped(w.b)...), true
}

// scribe writes bit by bit.
type scribe struct {
	b    []byte
	free int // bits of the last byte that are not written
}

func (w *scribe) u(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>n&1) << w.free
	}
}

// ue writes an Exp-Golomb code (clause 9.1).
func (w *scribe) ue(v uint32) {
	n := mathbits.Len32(v + 1)
	w.u(0, n-1)
	w.u(v+1, n)
}

// escaped puts in the emulation prevention bytes (clause 7.4.1).
func escaped(b []byte) []byte {
	out := make([]byte, 0, len(b)+4)
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c <= 3 {
			out, zeros = append(out, 3), 0
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}
