package container

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// maxTracks bounds the tracks of a movie that are looked at.
const maxTracks = 64

// movie is what of an index decides whether its pictures can be read in order.
type movie struct {
	w          *window
	fragmented bool
	tracks     []track
}

type track struct {
	video     bool
	encrypted bool
	entry     string // kind of the sample entry
	edits     int    // that show something
	disorder  bool   // chunks are not stored in order
	first     uint64 // offset of the first chunk
}

func errProtected(entry string) error {
	return fmt.Errorf("%w (MP4 sample entry %q)", ErrEncrypted, entry)
}

// protected are the sample entries of encrypted pictures (ISO/IEC 14496-12 clause
// 8.12, and Apple's).
var protected = []string{"encv", "drmi", "p264"}

func (m *movie) track(trak box) (t track) {
	var elst box
	m.w.each(trak.data, trak.end, func(x box) bool {
		switch x.kind {
		case "edts":
			m.w.each(x.data, x.end, func(x box) bool {
				if x.kind == "elst" {
					elst = x
				}
				return true
			})
		case "mdia":
			m.media(x, &t)
		}
		return true
	})
	if elst.kind != "" {
		m.edits(elst, &t)
	}
	return t
}

func (m *movie) media(mdia box, t *track) {
	w := m.w
	w.each(mdia.data, mdia.end, func(x box) bool {
		switch x.kind {
		case "hdlr":
			if b := w.exactly(x.data, 12); b != nil {
				t.video = t.video || string(b[8:12]) == "vide"
			}
		case "minf":
			w.each(x.data, x.end, func(x box) bool {
				if x.kind == "stbl" {
					m.samples(x, t)
				}
				return true
			})
		}
		return true
	})
}

func (m *movie) samples(stbl box, t *track) {
	w := m.w
	w.each(stbl.data, stbl.end, func(x box) bool {
		switch x.kind {
		case "stsd":
			if b := w.exactly(x.data, 16); b != nil {
				t.entry = string(b[12:16])
				t.encrypted = slices.Contains(protected, t.entry)
			}
		case "stco":
			m.offsets(x, 4, t)
		case "co64":
			m.offsets(x, 8, t)
		}
		return true
	})
}

// offsets looks whether chunks are stored in order.
func (m *movie) offsets(x box, width int64, t *track) {
	b := m.w.exactly(x.data, 8)
	if b == nil {
		return
	}
	left := min(int64(binary.BigEndian.Uint32(b[4:])), (x.end-x.data-8)/width)
	last := uint64(0)
	t.first = math.MaxUint64
	for at := x.data + 8; left > 0 && !m.w.tired(); {
		n := min(left, 4096/width)
		row := m.w.exactly(at, int(n*width))
		if row == nil {
			return
		}
		for i := int64(0); i < n; i++ {
			v := uint64(binary.BigEndian.Uint32(row[i*width:]))
			if width == 8 {
				v = binary.BigEndian.Uint64(row[i*8:])
			}
			t.disorder = t.disorder || v < last
			t.first, last = min(t.first, v), v
		}
		at, left = at+n*width, left-n
	}
}

// edits reads an edit list (clause 8.6.6).
func (m *movie) edits(x box, t *track) {
	b := m.w.exactly(x.data, 8)
	if b == nil {
		return
	}
	width := int64(12)
	if b[0] == 1 {
		width = 20
	}
	n := min(int64(binary.BigEndian.Uint32(b[4:])), (x.end-x.data-8)/width, maxParts)
	for i := range n {
		row := m.w.exactly(x.data+8+i*width, int(width))
		if row == nil {
			return
		}
		// A negative time of the track shows nothing.
		if begin := row[(width-4)/2:]; begin[0] < 0x80 {
			t.edits++
		}
	}
}

// obstacle is why the pictures, which follow from at on, cannot be read in order
// with the same result; empty: they can.
func (m *movie) obstacle(at int64) (why string) {
	for _, t := range m.tracks {
		switch {
		case t.disorder, t.first > 0 && t.first < uint64(at):
			return remarkOrder
		case t.video && t.edits > 1:
			return remarkEdit
		}
	}
	return ""
}
