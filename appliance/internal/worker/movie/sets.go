package movie

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/watchpost/watchpost/gst/h264"
)

// convert brings a unit into the form of a sample: NAL units behind their lengths,
// a keyframe's parameter sets first. It follows the parameter sets, and changes
// nothing when it fails.
func (w *Writer) convert(u Unit) ([]byte, error) {
	var sets, rest []byte
	picture := false
	for _, nal := range h264.Split(u.Data) {
		switch h264.Type(nal) {
		case h264.TypeSPS, h264.TypePPS, h264.TypeSPSExtension:
			sets = appendNAL(sets, nal)
		case h264.TypeDelimiter, h264.TypeFiller:
			// ISO/IEC 14496-15 clause 5.3.2 has no use for them.
		default:
			picture = picture || h264.Picture(nal)
			rest = appendNAL(rest, nal)
		}
	}
	switch {
	case !picture:
		return nil, fmt.Errorf("%w: there is no picture in it", ErrUnit)
	case len(sets) > maxSets:
		return nil, fmt.Errorf("%w: parameter sets of %d bytes", ErrUnit, len(sets))
	case len(w.state.Sets) == 0 && (!u.Keyframe || len(sets) == 0):
		return nil, fmt.Errorf("%w: a video begins with a keyframe and its parameter sets", ErrUnit)
	}
	if len(w.state.Sets) == 0 {
		m := w.state
		m.Sets = sets
		if _, err := head(m); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnit, err)
		}
		w.state.Sets = sets
	}
	current := w.state.Current
	if current == nil {
		current = w.state.Sets
	}
	switch {
	case bytes.Equal(sets, current), len(sets) == 0:
	case u.Keyframe:
		w.state.Current, w.state.Varied = sets, true
		current = sets
	default:
		// Sets between keyframes add to those in force; they stay where they are.
		w.state.Varied = true
		return append(sets, rest...), nil
	}
	if !u.Keyframe {
		return rest, nil
	}
	return append(bytes.Clone(current), rest...), nil
}

func appendNAL(b, nal []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(nal)))
	return append(b, nal...)
}

// nals takes apart what appendNAL put together.
func nals(b []byte) (list [][]byte, err error) {
	for len(b) > 0 {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, fmt.Errorf("parameter sets are cut off")
		}
		n := binary.BigEndian.Uint32(b)
		list = append(list, b[4:4+n])
		b = b[4+n:]
	}
	return list, nil
}

// configuration is the decoder configuration record of parameter sets.
func configuration(sets []byte) ([]byte, error) {
	list, err := nals(sets)
	if err != nil {
		return nil, err
	}
	return h264.Configuration(list)
}
