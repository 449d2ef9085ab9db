package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

func ivf(den, num uint32, times []uint64, pictures ...[]byte) []byte {
	b := append([]byte("DKIF\x00\x00\x20\x00VP80"), make([]byte, 20)...)
	binary.LittleEndian.PutUint32(b[16:], den)
	binary.LittleEndian.PutUint32(b[20:], num)
	for i, p := range pictures {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = binary.LittleEndian.AppendUint64(b, times[i])
		b = append(b, p...)
	}
	return b
}

func TestReadIVF(t *testing.T) {
	units, err := ReadIVF(bytes.NewReader(ivf(30, 1, []uint64{0, 1, 30}, []byte{0, 1}, []byte{1, 2}, []byte{3})))
	if err != nil || len(units) != 3 {
		t.Fatal(units, err)
	}
	for i, want := range []struct {
		at  uint32
		key bool
	}{{0, true}, {3000, false}, {90000, false}} {
		if units[i].Timestamp != want.at || units[i].Keyframe != want.key {
			t.Errorf("picture %d: %+v", i, units[i])
		}
	}
	for _, bad := range [][]byte{nil, []byte("RIFF0000000000000000000000000000"), ivf(0, 1, nil), ivf(30, 1, []uint64{0}, []byte{1, 2})[:45]} {
		if _, err := ReadIVF(bytes.NewReader(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestReadAnnexB(t *testing.T) {
	stream := []byte{
		0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 0x80, 3, 0, 0, 1, 0x65, 0x40, 4, // parameter sets, two slices
		0, 0, 1, 0x41, 0x80, 5, // one slice
		0, 0, 1, 0x09, 0x10, 0, 0, 1, 0x41, 0x80, 6, // a delimiter first
	}
	units, err := ReadAnnexB(stream, 25)
	if err != nil || len(units) != 3 {
		t.Fatalf("%d pictures, %v", len(units), err)
	}
	for i, want := range []struct {
		nals int
		key  bool
		at   uint32
	}{{4, true, 0}, {1, false, 3600}, {2, false, 7200}} {
		n := 0
		for range nalUnits(units[i].Data) {
			n++
		}
		if n != want.nals || units[i].Keyframe != want.key || units[i].Timestamp != want.at {
			t.Errorf("picture %d has %d NAL units: %+v", i, n, units[i])
		}
	}
	if _, err := ReadAnnexB([]byte("no video"), 25); err == nil {
		t.Error("something without pictures is read")
	}
}

// FuzzAssembler: no message of a box makes the client panic or keep more than its bounds.
func FuzzAssembler(f *testing.F) {
	one := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, `{"errors":[],"processing_complete":true}`...)
	f.Add(one, one)
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, '}'}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, '{'})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x1f, 0x8b}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var s assembler
		for _, m := range [][]byte{a, b} {
			d, err := s.add(m, time.Time{})
			if err != nil && (d != nil || !errors.Is(err, ErrProtocol)) {
				t.Fatalf("%+v with %v", d, err)
			}
			kept := 0
			for _, p := range s.pending {
				kept += p.bytes
			}
			if kept != s.bytes || len(s.pending) > 2 {
				t.Fatalf("%d bytes are kept in %d documents, counted %d", kept, len(s.pending), s.bytes)
			}
		}
	})
}
