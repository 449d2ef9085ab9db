package container

import (
	"encoding/binary"
	"math"
)

// box is one at its place (ISO/IEC 14496-12 clause 4.2).
type box struct {
	kind      string
	data, end int64
	toEnd     bool // it reaches to the end of the file
}

// box reads the head of the box at at; false: it is not there (yet), or is none.
func (w *window) box(at int64) (box, bool) {
	b := w.exactly(at, 8)
	if b == nil {
		return box{}, false
	}
	size, x := uint64(binary.BigEndian.Uint32(b)), box{kind: string(b[4:8]), data: at + 8}
	switch size {
	case 0:
		x.toEnd, x.end = true, math.MaxInt64
		return x, true
	case 1:
		if b = w.exactly(at+8, 8); b == nil {
			return box{}, false
		}
		size = binary.BigEndian.Uint64(b)
		x.data += 8
	}
	if size < uint64(x.data-at) || size > uint64(math.MaxInt64-at) {
		return box{}, false
	}
	x.end = at + int64(size)
	return x, true
}

// each visits the boxes from one place to another while visit returns true.
func (w *window) each(from, to int64, visit func(box) bool) {
	for n := 0; from+8 <= to && n < maxParts && !w.tired(); n++ {
		x, ok := w.box(from)
		if !ok || x.toEnd || x.end > to || !visit(x) {
			return
		}
		from = x.end
	}
}

// lookMP4 walks the boxes of the file up to its index or its pictures, whichever
// comes first.
func lookMP4(w *window) (Layout, error) {
	l := Layout{Kind: "mp4", Index: Unknown}
	at := int64(0)
	for range maxParts {
		if w.whole() && at >= w.size {
			l.Index, l.Remark = None, remarkNone
			return l, nil
		}
		x, ok := w.box(at)
		if !ok {
			l.Remark = remarkDamaged
			return l, nil
		}
		switch {
		case x.kind == "moov" && !x.toEnd:
			return lookMovie(w, x, l)
		case x.kind == "mdat":
			l.Index, l.Remark = End, remarkEnd
			return l, nil
		case x.kind == "moof":
			l.Index, l.Remark = None, remarkNone
			return l, nil
		case x.toEnd:
			l.Index, l.Remark = None, remarkNone
			return l, nil
		}
		at = x.end
	}
	l.Remark = remarkDamaged
	return l, nil
}

// lookMovie looks at an index that comes before the pictures.
func lookMovie(w *window, moov box, l Layout) (Layout, error) {
	l.Index = Front
	if w.exactly(moov.end-1, 1) == nil {
		if w.whole() {
			l.Remark = remarkDamaged
		}
		return l, nil
	}
	m := movie{w: w}
	w.each(moov.data, moov.end, func(x box) bool {
		switch x.kind {
		case "mvex":
			m.fragmented = true
		case "trak":
			m.tracks = append(m.tracks, m.track(x))
		}
		return len(m.tracks) < maxTracks
	})
	if w.looks > maxLooks {
		l.Remark = remarkDamaged
		return l, nil
	}
	for _, t := range m.tracks {
		if t.video && t.encrypted {
			return l, errProtected(t.entry)
		}
	}
	if !m.fragmented {
		l.Remark = m.obstacle(moov.end)
	}
	l.Streamable = l.Remark == ""
	return l, nil
}
