package h264

import (
	"encoding/binary"
	"fmt"
)

// The types of NAL units (table 7-1) that writers of files tell apart.
const (
	TypeSPS          = nalSPS
	TypePPS          = nalPPS
	TypeDelimiter    = nalAUD
	TypeFiller       = nalFiller
	TypeSPSExtension = 13
)

// Type is the type of a NAL unit that is not empty.
func Type(nal []byte) int { return int(nal[0] & 0x1f) }

// Picture tells whether a NAL unit is coded picture data.
func Picture(nal []byte) bool { return Type(nal) >= nalSlice && Type(nal) <= nalIDR }

// Split cuts an access unit in Annex B into its NAL units, none of them empty.
// They are parts of data.
func Split(data []byte) [][]byte { return annexB(data) }

// Configuration is the decoder configuration record (ISO/IEC 14496-15 clause
// 5.3.3.1) of parameter sets, for NAL units that stand behind lengths of four
// bytes. sets are NAL units: sequence parameter sets, their extensions, and
// picture parameter sets, in any order.
func Configuration(sets [][]byte) ([]byte, error) {
	var lists [3][][]byte // sequence, picture, extension
	for _, nal := range sets {
		if len(nal) == 0 || len(nal) > 0xffff {
			return nil, fmt.Errorf("%w: parameter set of %d bytes", ErrDamaged, len(nal))
		}
		switch Type(nal) {
		case TypeSPS:
			lists[0] = append(lists[0], nal)
		case TypePPS:
			lists[1] = append(lists[1], nal)
		case TypeSPSExtension:
			lists[2] = append(lists[2], nal)
		}
	}
	if len(lists[0]) == 0 || len(lists[1]) == 0 {
		return nil, fmt.Errorf("%w: a parameter set is missing", ErrDamaged)
	}
	if len(lists[0]) > 31 || len(lists[1]) > 255 || len(lists[2]) > 255 {
		return nil, fmt.Errorf("%w: %d parameter sets", ErrDamaged, len(sets))
	}
	s, err := parseSPS(lists[0][0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	first := lists[0][0]
	b := []byte{1, first[1], first[2], first[3], 0xff} // reserved bits, lengths of 4 bytes
	add := func(reserved byte, list [][]byte) {
		b = append(b, reserved|byte(len(list)))
		for _, nal := range list {
			b = binary.BigEndian.AppendUint16(b, uint16(len(nal)))
			b = append(b, nal...)
		}
	}
	add(0xe0, lists[0])
	add(0, lists[1])
	switch s.profile {
	case 66, 77, 88:
	default:
		b = append(b, 0xfc|byte(s.chroma), 0xf8|byte(s.depth-8), 0xf8|byte(s.depthChroma-8))
		add(0, lists[2])
	}
	return b, nil
}
