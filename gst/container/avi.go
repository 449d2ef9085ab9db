package container

import "encoding/binary"

// maxParts bounds the boxes, elements or chunks of one level that are looked at.
const maxParts = 4096

// lookAVI looks for the list of pictures behind the headers. The index behind it
// is for seeking only. Files above 1 GB go on in further RIFF chunks, and have a
// list of extended headers (OpenDML) that says so; what else is behind the first is
// of no concern.
func lookAVI(w *window) (Layout, error) {
	l := Layout{Kind: "avi", Index: Unknown}
	first := w.exactly(0, 12)
	if first == nil {
		return l, nil
	}
	at, headers, extended := int64(12), false, false
	for range maxParts {
		b := w.exactly(at, 12)
		if b == nil || w.looks > maxLooks {
			l.Index, l.Remark = None, remarkDamaged
			return l, nil
		}
		size := int64(binary.LittleEndian.Uint32(b[4:]))
		if string(b[:4]) == "LIST" {
			switch string(b[8:12]) {
			case "hdrl":
				headers = true
				extended = w.hasList(at+12, at+8+size, "odml")
			case "movi":
				if !headers {
					l.Index, l.Remark = End, remarkEnd
					return l, nil
				}
				l.Index = Front
				end := 8 + int64(binary.LittleEndian.Uint32(first[4:]))
				if extended && w.size > end+12 {
					l.Remark = remarkParts
					return l, nil
				}
				l.Streamable = true
				return l, nil
			}
		}
		at += 8 + size + size&1
	}
	l.Remark = remarkDamaged
	return l, nil
}

// hasList looks for a list among the chunks from one place to another.
func (w *window) hasList(at, to int64, kind string) bool {
	for n := 0; at+12 <= to && n < maxParts && !w.tired(); n++ {
		b := w.exactly(at, 12)
		if b == nil {
			return false
		}
		if string(b[:4]) == "LIST" && string(b[8:]) == kind {
			return true
		}
		size := int64(binary.LittleEndian.Uint32(b[4:]))
		at += 8 + size + size&1
	}
	return false
}
