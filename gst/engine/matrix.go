package engine

import (
	"encoding/binary"

	"github.com/watchpost/watchpost/gst/plan"
)

// matrix is what a transformation matrix (ISO/IEC 14496-12 clause 6.2.2) does to
// directions: a picture's right goes to (a, b), its down to (c, d), each of them
// -1, 0 or 1. The zero value says nothing.
type matrix struct{ a, b, c, d int }

// readMatrix reads one at a place, if the bytes go as far.
func readMatrix(b []byte, at int) matrix {
	if len(b) < at+20 {
		return matrix{}
	}
	sign := func(i int) int {
		switch v := int32(binary.BigEndian.Uint32(b[at+4*i:])); {
		case v > 0:
			return 1
		case v < 0:
			return -1
		}
		return 0
	}
	return matrix{sign(0), sign(1), sign(3), sign(4)}
}

// times is m and then n.
func (m matrix) times(n matrix) matrix {
	if n == (matrix{}) {
		return m
	}
	return matrix{
		m.a*n.a + m.b*n.c, m.a*n.b + m.b*n.d,
		m.c*n.a + m.d*n.c, m.c*n.b + m.d*n.d,
	}
}

// orientations are the matrices that turn and mirror; others (shears, and those
// that make nothing of a picture) are not followed.
var orientations = map[matrix]plan.Orientation{
	{1, 0, 0, 1}:   "rotate-0",
	{0, 1, -1, 0}:  "rotate-90",
	{-1, 0, 0, -1}: "rotate-180",
	{0, -1, 1, 0}:  "rotate-270",
	{-1, 0, 0, 1}:  "flip-rotate-0",
	{0, -1, -1, 0}: "flip-rotate-90",
	{1, 0, 0, -1}:  "flip-rotate-180",
	{0, 1, 1, 0}:   "flip-rotate-270",
}

func (m matrix) orientation() (plan.Orientation, bool) {
	o, ok := orientations[m]
	return o, ok
}
