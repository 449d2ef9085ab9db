package container

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// counted is a file of zeros behind its head, and counts what is asked of it.
type counted struct {
	head  []byte
	reads int
}

func (c *counted) ReadAt(p []byte, at int64) (int, error) {
	c.reads++
	clear(p)
	if at < int64(len(c.head)) {
		copy(p, c.head[at:])
	}
	return len(p), nil
}

func mp4Box(kind string, parts ...[]byte) []byte {
	data := bytes.Join(parts, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(data))), kind...), data...)
}

func ebml(id []byte, parts ...[]byte) []byte {
	data := bytes.Join(parts, nil)
	size := binary.BigEndian.AppendUint64(nil, 1<<56|uint64(len(data)))
	return append(append(bytes.Clone(id), size...), data...)
}

func riffList(kind string, parts ...[]byte) []byte {
	data := bytes.Join(parts, nil)
	return append(append(binary.LittleEndian.AppendUint32([]byte("LIST"), uint32(4+len(data))), kind...), data...)
}

// A file with more structure than any film has is not looked at for long, and is
// not taken for one that can be read as it arrives.
func TestEndlessStructure(t *testing.T) {
	const many = 100
	stbl := mp4Box("stbl", bytes.Repeat(mp4Box("free"), maxParts))
	// A table of a gigabyte, in boxes around it.
	const entries = 1 << 28
	table := binary.BigEndian.AppendUint32(make([]byte, 4), entries)
	for _, kind := range []string{"stco", "stbl", "minf", "mdia", "trak", "moov"} {
		table = append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(table)+4*entries)), kind...), table...)
	}
	track := ebml([]byte{0xae}, bytes.Repeat([]byte{0x83, 0x80}, maxParts))
	junk := bytes.Repeat([]byte("JUNK\x00\x00\x00\x00"), maxParts)
	for name, file := range map[string]struct {
		head []byte
		size int
	}{
		"boxes": {head: bytes.Join([][]byte{mp4Box("ftyp", []byte("isom0000")),
			mp4Box("moov", mp4Box("trak", mp4Box("mdia", mp4Box("minf", bytes.Repeat(stbl, many))))), mp4Box("mdat")}, nil)},
		"table": {head: table, size: len(table) + 4*entries},
		"elements": {head: bytes.Join([][]byte{ebml([]byte{0x1a, 0x45, 0xdf, 0xa3}),
			ebml([]byte{0x18, 0x53, 0x80, 0x67}, ebml([]byte{0x16, 0x54, 0xae, 0x6b}, bytes.Repeat(track, many)), ebml([]byte{0x1f, 0x43, 0xb6, 0x75}))}, nil)},
		"chunks": {head: bytes.Join([][]byte{[]byte("RIFF\xff\xff\xff\x7fAVI "), bytes.Repeat(riffList("hdrl", junk), many), riffList("movi")}, nil)},
	} {
		size := int64(max(file.size, len(file.head)))
		r := &counted{head: file.head}
		l, err := Sniff(r, size, size)
		if err != nil || l.Streamable || !strings.Contains(l.Remark, "damaged") {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
		if r.reads > 3*maxLooks {
			t.Errorf("%s: looked %d times", name, r.reads)
		}
	}
}
