package engine

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"
)

// edit is a part of an edit list (ISO/IEC 14496-12 clause 8.6.6).
type edit struct {
	lasts uint64 // in ticks of the movie; 0: to the end
	begin int64  // in ticks of the track; negative: nothing is shown
}

// maxEdits bounds an edit list that is applied here.
const maxEdits = 64

// takeEdits reads an edit list and has it show the whole track. GStreamer's
// demuxer (1.22) throws away, before they are decoded, the pictures that lie
// outside of an edit: those inside, which are predicted from them, break. So all
// of the track is decoded, and what lies outside is left out behind the decoder.
// Lists that repeat a part, go back, or change the speed stay as they are: nil.
func takeEdits(b []byte) []edit {
	if len(b) < 8 {
		return nil
	}
	width := 12
	if b[0] == 1 {
		width = 20
	}
	n := binary.BigEndian.Uint32(b[4:])
	if n == 0 || n > maxEdits || len(b) < 8+int(n)*width {
		return nil
	}
	var list []edit
	shows, last := false, int64(-1)
	for i := range int(n) {
		row := b[8+i*width:]
		e := edit{uint64(binary.BigEndian.Uint32(row)), int64(int32(binary.BigEndian.Uint32(row[4:])))}
		if e.lasts == math.MaxUint32 {
			e.lasts = 0
		}
		if width == 20 {
			e = edit{binary.BigEndian.Uint64(row), int64(binary.BigEndian.Uint64(row[8:]))}
		}
		if e.begin >= 0 {
			// Only the last may go on to the track's end.
			open := e.lasts == 0 && i+1 < int(n)
			if open || e.begin <= last || binary.BigEndian.Uint32(row[width-4:]) != 1<<16 {
				return nil
			}
			shows, last = true, e.begin
		}
		list = append(list, e)
	}
	if !shows {
		return nil
	}
	binary.BigEndian.PutUint32(b[4:], 1)
	clear(b[8 : 8+width-4]) // from 0 to the end
	binary.BigEndian.PutUint32(b[8+width-4:], 1<<16)
	return list
}

// span is a part of a track that is shown: what lies from begin to end in the
// track, from at on.
type span struct{ begin, end, at time.Duration }

// forever is later than any picture.
const forever = time.Duration(math.MaxInt64 / 4)

// ticks is n ticks of a clock with so many in a second.
func ticks(n uint64, scale uint32) time.Duration {
	hi, lo := bits.Mul64(n, uint64(time.Second))
	if scale == 0 || hi >= uint64(scale) {
		return forever
	}
	q, _ := bits.Div64(hi, lo, uint64(scale))
	return time.Duration(min(q, uint64(forever)))
}

// spans is what is shown of the n-th video track, from 0, in rising order; nil:
// all of it, or whatever the demuxer makes of it.
func (m *movie) spans(n int) (list []span) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tracks {
		if !t.video {
			continue
		}
		if n--; n >= 0 {
			continue
		}
		if t.scale == 0 || m.scale == 0 {
			return nil
		}
		at := time.Duration(0)
		for _, e := range t.edits {
			lasts := forever
			if e.lasts > 0 {
				lasts = ticks(e.lasts, m.scale)
			}
			if e.begin >= 0 {
				begin := ticks(uint64(e.begin), t.scale)
				list = append(list, span{begin, min(begin+lasts, forever), at})
			}
			at = min(at+lasts, forever)
		}
		return list
	}
	return nil
}

// Of times in and around spans.
const (
	// slack is more than what rounding to nanoseconds moves times by, and less
	// than a tick of any film.
	slack = time.Microsecond
	// before is how far in front of an edit pictures can be dated that are only
	// decoded for it.
	before = 10 * time.Second
)

// holds tells whether the picture at t, which lasts so long, is shown: it begins
// in the span, or is what is seen for all of it.
func (s span) holds(t, lasts time.Duration) bool {
	if t < s.begin-slack {
		return lasts != none && t+lasts >= s.end
	}
	return t < s.end-slack
}

// move is where t of the track lies on the time line that the edits make. Between
// two edits, and behind the last, the line stands still: times never fall, and what
// is played again can follow.
func move(list []span, t time.Duration) time.Duration {
	for i, s := range list {
		switch {
		case t >= s.end && i+1 < len(list):
		case t >= s.begin:
			return min(t, s.end) - s.begin + s.at
		case i == 0:
			return s.at + max(t-s.begin, -before)
		default:
			return s.at
		}
	}
	return t
}

// edit puts a unit, dated by its track, where the file's edits show it.
func (d *demuxer) edit(u *unit) {
	if len(d.spans) == 0 {
		return
	}
	at := u.pts
	if at == none {
		at = u.dts
	}
	if at != none {
		u.outside = true
		for _, s := range d.spans {
			u.outside = u.outside && !s.holds(at, u.duration)
		}
	}
	if u.pts != none {
		u.pts = d.edited(u.pts)
	}
	if u.dts != none {
		u.dts = d.edited(u.dts)
	}
}

// edited is where the edits put a time. In front of the first of them lies, when
// the file is played again, the end of the pass before.
func (d *demuxer) edited(t time.Duration) time.Duration {
	if t = move(d.spans, t); d.offset > 0 {
		return max(t, d.spans[0].at)
	}
	return t
}
