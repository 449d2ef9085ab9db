package engine

import (
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// movieFix passes an MP4's bytes on and takes the movie's duration out of its
// header. GStreamer's demuxer (1.22), where it cannot seek, ends a track at that
// duration though its edit list has moved the track: the last pictures are
// missing, and, as it loses count of the bytes over it, sometimes most of the
// film. Without a duration it goes by the edit lists alone, as it does where it
// can seek. Bytes of anything else pass as they are.
type movieFix struct {
	held     []byte
	skip     int64 // bytes to pass before the next box begins
	started  bool
	done     bool // nothing more to change
	duration atomic.Int64
	// late: the pictures come before the header. GStreamer's demuxer would keep all
	// of them in memory until it comes.
	late atomic.Bool
}

// First boxes by which an MP4 or MOV is known.
var firstBoxes = []string{"ftyp", "styp", "moov", "moof", "mdat", "free", "skip", "wide", "pnot", "uuid", "sidx"}

// pass takes the next bytes and returns what may go on; end: they are the last.
// What it returns is valid until the next call.
func (m *movieFix) pass(b []byte, end bool) []byte {
	if m.done && len(m.held) == 0 {
		return b
	}
	m.held = append(m.held, b...)
	out := 0
	for !m.done && out < len(m.held) {
		rest := m.held[out:]
		if m.skip > 0 {
			n := min(m.skip, int64(len(rest)))
			m.skip -= n
			out += int(n)
			continue
		}
		n, enough := m.box(rest)
		if !enough {
			break
		}
		out += n
	}
	if m.done || end {
		out = len(m.held)
	}
	passed := m.held[:out:out]
	m.held = slices.Clone(m.held[out:])
	return passed
}

// headNeed is what box wants to see of a box: mvhd up to its duration.
const headNeed = 8 + 4 + 8 + 8 + 4 + 8

// box looks at a box at its beginning and returns how much of it may pass. Not
// enough: more bytes are needed to tell.
func (m *movieFix) box(b []byte) (pass int, enough bool) {
	if len(b) < 16 {
		return 0, false
	}
	size, kind := int64(binary.BigEndian.Uint32(b)), string(b[4:8])
	head := int64(8)
	if size == 1 {
		head = 16
		if large := binary.BigEndian.Uint64(b[8:]); large <= math.MaxInt64 {
			size = int64(large)
		}
	}
	if !m.started && !slices.Contains(firstBoxes, kind) || size < head {
		m.done = true
		return 0, true
	}
	m.started = true
	switch kind {
	case "mdat":
		m.late.Store(true)
		m.done = true
		return 0, true
	case "moov":
		return int(head), true
	case "mvhd":
		if len(b) < headNeed {
			return 0, false
		}
		m.header(b)
		m.done = true
		return 0, true
	}
	m.skip = size - head
	return int(head), true
}

// header notes the duration of a movie header (ISO/IEC 14496-12 clause 8.2.2), and
// takes it out.
func (m *movieFix) header(b []byte) {
	var scale, duration uint64
	if b[8] == 1 {
		scale, duration = uint64(binary.BigEndian.Uint32(b[28:])), binary.BigEndian.Uint64(b[32:])
		clear(b[32:40])
	} else {
		scale, duration = uint64(binary.BigEndian.Uint32(b[20:])), uint64(binary.BigEndian.Uint32(b[24:]))
		if duration == math.MaxUint32 {
			duration = 0
		}
		clear(b[24:28])
	}
	if scale > 0 && duration/scale < 1<<30 {
		rest := time.Duration(duration%scale) * time.Second / time.Duration(scale)
		m.duration.Store(int64(time.Duration(duration/scale)*time.Second + rest))
	}
}
