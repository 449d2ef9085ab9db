package movie

import "encoding/binary"

// boxes puts boxes (ISO/IEC 14496-12 clause 4.2) one after and into the other.
type boxes []byte

func (b *boxes) u16(v uint16) { *b = binary.BigEndian.AppendUint16(*b, v) }
func (b *boxes) u32(v uint32) { *b = binary.BigEndian.AppendUint32(*b, v) }
func (b *boxes) u64(v uint64) { *b = binary.BigEndian.AppendUint64(*b, v) }
func (b *boxes) text(s string) {
	*b = append(*b, s...)
}
func (b *boxes) zeros(n int) {
	for range n {
		*b = append(*b, 0)
	}
}

// open begins a box and returns where, for close.
func (b *boxes) open(kind string) int {
	at := len(*b)
	b.u32(0)
	b.text(kind)
	return at
}

// full begins a box with version and flags (clause 4.2.2).
func (b *boxes) full(kind string, version uint8, flags uint32) int {
	at := b.open(kind)
	b.u32(uint32(version)<<24 | flags)
	return at
}

func (b *boxes) close(at int) { b.closeBefore(at, 0) }

// closeBefore ends a box to which following bytes belong that are yet to come.
func (b *boxes) closeBefore(at int, following int64) {
	binary.BigEndian.PutUint32((*b)[at:], uint32(int64(len(*b)-at)+following))
}
