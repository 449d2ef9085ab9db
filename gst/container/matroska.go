package container

import "fmt"

// Elements of EBML and Matroska (RFC 8794, RFC 9559).
const (
	idEBML       = 0x1a45dfa3
	idDocType    = 0x4282
	idSegment    = 0x18538067
	idCluster    = 0x1f43b675
	idTracks     = 0x1654ae6b
	idTrack      = 0xae
	idTrackType  = 0x83
	idEncodings  = 0x6d80
	idEncoding   = 0x6240
	idEncryption = 0x5035

	trackVideo = 1
)

// element is one at its place; end is negative where its size is not known.
type element struct {
	id        uint32
	data, end int64
}

// element reads the head of the element at at; false: it is not there (yet), or is
// none, or one too many.
func (w *window) element(at int64) (element, bool) {
	if w.tired() {
		return element{}, false
	}
	b := w.upTo(at, 12)
	n := 0
	need := func(have int) bool {
		if len(b) >= have {
			return true
		}
		w.exactly(at, have)
		return false
	}
	if !need(2) {
		return element{}, false
	}
	for mask := byte(0x80); mask > 0x08 && b[0]&mask == 0; mask >>= 1 {
		n++
	}
	if n++; n > 4 || b[0] < 0x10 || !need(n+1) {
		return element{}, false
	}
	var e element
	for _, c := range b[:n] {
		e.id = e.id<<8 | uint32(c)
	}
	length, mask := 1, byte(0x80)
	for ; mask > 0 && b[n]&mask == 0; mask >>= 1 {
		length++
	}
	if mask == 0 || !need(n+length) {
		return element{}, false
	}
	size, ones := int64(b[n]&(mask-1)), b[n]&(mask-1) == mask-1
	for _, c := range b[n+1 : n+length] {
		size = size<<8 | int64(c)
		ones = ones && c == 0xff
	}
	e.data = at + int64(n+length)
	e.end = e.data + size
	if ones {
		e.end = -1
	}
	return e, true
}

// lookMatroska looks for the tracks in front of the first cluster.
func lookMatroska(w *window) (Layout, error) {
	l := Layout{Kind: "matroska", Index: Unknown}
	header, ok := w.element(0)
	if !ok || header.end < 0 {
		return l, nil
	}
	for at, n := header.data, 0; at < header.end && n < maxParts; n++ {
		e, ok := w.element(at)
		if !ok || e.end < 0 {
			break
		}
		if e.id == idDocType {
			if b := w.exactly(e.data, int(min(e.end-e.data, 4))); string(b) == "webm" {
				l.Kind = "webm"
			}
		}
		at = e.end
	}
	segment, ok := w.element(header.end)
	if !ok || segment.id != idSegment {
		l.Remark = remarkDamaged
		return l, nil
	}
	tracks := false
	for at, n := segment.data, 0; n < maxParts; n++ {
		e, ok := w.element(at)
		if !ok {
			break
		}
		switch e.id {
		case idTracks:
			tracks = true
			if err := w.tracks(e); err != nil {
				return l, err
			}
		case idCluster:
			if !tracks {
				l.Index, l.Remark = End, remarkEnd
				return l, nil
			}
			l.Index, l.Streamable = Front, true
			return l, nil
		}
		if e.end < 0 {
			break
		}
		at = e.end
	}
	l.Remark = remarkDamaged
	return l, nil
}

// tracks looks whether pictures are encrypted.
func (w *window) tracks(tracks element) error {
	return w.children(tracks, func(track element) error {
		if track.id != idTrack {
			return nil
		}
		video, encrypted := false, false
		err := w.children(track, func(e element) error {
			switch e.id {
			case idTrackType:
				b := w.exactly(e.data, 1)
				video = b != nil && b[0] == trackVideo
			case idEncodings:
				return w.children(e, func(e element) error {
					if e.id != idEncoding {
						return nil
					}
					return w.children(e, func(e element) error {
						encrypted = encrypted || e.id == idEncryption
						return nil
					})
				})
			}
			return nil
		})
		if err == nil && video && encrypted {
			return fmt.Errorf("%w (Matroska content encryption)", ErrEncrypted)
		}
		return err
	})
}

// children visits the elements in one.
func (w *window) children(of element, visit func(element) error) error {
	at := of.data
	for n := 0; at < of.end && n < maxParts; n++ {
		e, ok := w.element(at)
		if !ok || e.end < 0 || e.end > of.end {
			return nil
		}
		if err := visit(e); err != nil {
			return err
		}
		at = e.end
	}
	return nil
}
