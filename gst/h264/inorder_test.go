package h264

import (
	"bytes"
	"testing"
)

func FuzzInOrder(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x67, 66, 0xc0, 30, 0xda, 2, 0x80, 0xf6, 0x80, 0, 0, 1, 0x65, 1, 2, 3})
	f.Add([]byte{0, 0, 1, 0x67, 0, 0, 1, 0x67, 0x64, 0, 0x1f, 0xac})
	f.Fuzz(func(t *testing.T, unit []byte) {
		before := bytes.Clone(unit)
		InOrder(unit)
		if !bytes.Equal(unit, before) {
			t.Fatal("what was given changed")
		}
		for _, n := range leading(unit) {
			nal := unit[n.from:n.to]
			p, err := parseSPS(nal)
			if again, ok := inOrder(nal); err == nil && nal[0]&0x1f == nalSPS && ok {
				q, err := parseSPS(again)
				if err != nil || !q.told || q.profile != p.profile || q.id != p.id || q.refs != p.refs || q.interlaced != p.interlaced {
					t.Fatalf("%+v became %+v, %v", p, q, err)
				}
			}
		}
	})
}
