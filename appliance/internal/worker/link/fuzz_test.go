package link

import (
	"errors"
	"io"
	"reflect"
	"testing"
)

// FuzzReceive feeds a stream of bytes as a worker could send it. Whatever comes
// out is a message that could be sent on, or an error of the documented kinds.
func FuzzReceive(f *testing.F) {
	b := &buffer{}
	c := NewConn(b)
	for _, m := range sound() {
		if u, ok := m.Value.(AccessUnit); ok && len(u.Data) > 1000 {
			continue
		}
		if err := c.Send(m.Kind, m.Value); err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte(nil), b.Bytes()...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > MaxJSON/8 {
			return // written again, JSON may be longer (escapes) than it came
		}
		s := &buffer{}
		s.Write(in)
		c := NewConn(s)
		for {
			m, err := c.Receive()
			if err != nil {
				if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrProtocol) {
					t.Fatalf("an error of no documented kind: %v", err)
				}
				return
			}
			if err := NewConn(&buffer{}).Send(m.Kind, m.Value); err != nil {
				t.Fatalf("received %+v, which could not be sent: %v", m, err)
			}
		}
	})
}

// FuzzAccessUnit feeds one access unit's payload: what is accepted is written
// again as the very same bytes.
func FuzzAccessUnit(f *testing.F) {
	u := AccessUnit{Codec: VP8, Keyframe: true, Slate: true, PTS: 1, Captured: 2, Encode: 3, Data: []byte{4}}
	f.Add(append(u.appendHead(nil), u.Data...))
	f.Add(make([]byte, unitHead))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload)+1 > MaxFrame {
			return
		}
		s := &buffer{}
		s.Write(appendHead(nil, KindAccessUnit, len(payload)))
		s.Write(payload)
		m, err := NewConn(s).Receive()
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("a whole frame ended in %v", err)
			}
			return
		}
		u := m.Value.(AccessUnit)
		if got := append(u.appendHead(nil), u.Data...); !reflect.DeepEqual(got, payload) {
			t.Fatalf("%x was read as %x", payload, got)
		}
	})
}
