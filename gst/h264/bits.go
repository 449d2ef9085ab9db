package h264

import "errors"

var errShort = errors.New("parameter set is cut off")

// bits reads a NAL unit's payload bit by bit. After the end, err is set and
// everything read is 0.
type bits struct {
	b   []byte
	at  int // bit
	err error
}

func (r *bits) u(n int) uint32 {
	var v uint32
	for range n {
		if r.at >= 8*len(r.b) {
			r.err = errShort
			return 0
		}
		v = v<<1 | uint32(r.b[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

func (r *bits) flag() bool { return r.u(1) == 1 }

// ue is an Exp-Golomb code (clause 9.1).
func (r *bits) ue() uint32 {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 31 || r.err != nil {
			r.err = errShort
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se is a signed one.
func (r *bits) se() int32 {
	k := r.ue()
	if k%2 == 1 {
		return int32(k/2 + 1)
	}
	return -int32(k / 2)
}

// payload is a NAL unit behind its header byte, at most limit bytes of it,
// without the emulation prevention bytes (clause 7.4.1).
func payload(nal []byte, limit int) []byte {
	if len(nal) < 2 {
		return nil
	}
	out := make([]byte, 0, min(limit, len(nal)))
	zeros := 0
	for _, c := range nal[1:] {
		if len(out) == limit {
			break
		}
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
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
