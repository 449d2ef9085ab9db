package h264

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// writer writes parameter sets for tests.
type writer struct {
	b []byte
	n int
}

func (w *writer) u(n int, v uint32) *writer {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

func (w *writer) ue(v uint32) *writer {
	n := 0
	for ; (v+1)>>(n+1) > 0; n++ {
	}
	return w.u(n, 0).u(n+1, v+1)
}

// set makes a sequence parameter set of 640x352. reorder < 0: not told.
func set(profile, order uint32, reorder int, frames bool) []byte {
	w := &writer{}
	w.u(8, profile).u(8, 0).u(8, 30).ue(0)
	if profile == 100 || profile == 110 || profile == 122 {
		depth, chroma := uint32(0), uint32(1)
		if profile == 110 {
			depth = 2
		}
		if profile == 122 {
			chroma = 2
		}
		w.ue(chroma).ue(depth).ue(depth).u(1, 0).u(1, 0)
	}
	w.ue(0).ue(order)
	if order == 0 {
		w.ue(2)
	}
	w.ue(1).u(1, 0).ue(39).ue(21)
	if frames {
		w.u(1, 1)
	} else {
		w.u(1, 0).u(1, 0)
	}
	w.u(1, 1).u(1, 0)
	if reorder < 0 {
		w.u(1, 0)
	} else {
		w.u(1, 1).u(1, 1).u(8, 1).u(7, 0).u(1, 1).u(1, 1) // aspect ratio to bitstream restriction
		w.ue(0).ue(0).ue(0).ue(0).ue(uint32(reorder)).ue(1)
	}
	w.u(1, 1)
	return append([]byte{0x67}, w.b...)
}

func slice(header byte, kind uint32) []byte {
	w := &writer{}
	w.ue(0).ue(kind).ue(0).u(8, 0xaa)
	return append([]byte{header}, w.b...)
}

var pps = []byte{0x68, 0xce, 0x3c, 0x80}

func unit(nals ...[]byte) []byte {
	var b []byte
	for _, n := range nals {
		b = append(append(b, 0, 0, 1), n...)
	}
	return b
}

func TestProblem(t *testing.T) {
	idr, p, b := slice(0x65, 7), slice(0x41, 5), slice(0x01, 6)
	for _, tc := range []struct {
		name string
		sps  []byte
		rest []byte
		want string
	}{
		{"baseline", set(66, 0, -1, true), unit(p), ""},
		{"main without B-frames", set(77, 0, -1, true), unit(p), ""},
		{"main with B-frames", set(77, 0, -1, true), unit(b), "B-frames"},
		{"high with B-frames", set(100, 0, 2, true), unit(b), "B-frames"},
		{"high that says in order", set(100, 0, 0, true), unit(b), ""},
		{"order count 2", set(77, 2, -1, true), unit(p), ""},
		{"interlaced", set(77, 0, -1, false), unit(p), "interlaced"},
		{"ten bits", set(110, 0, -1, true), unit(p), "profile (110)"},
		{"partitions", set(77, 0, -1, true), unit([]byte{0x42, 0x88}), "partitions"},
	} {
		var s Stream
		if _, err := s.Unit(unit(tc.sps, pps, idr)); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		s.Unit(tc.rest)
		if got := s.Problem(); (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestParameterSetsInFrontOfKeyframes(t *testing.T) {
	sps, idr, p := set(66, 0, -1, true), slice(0x65, 7), slice(0x41, 5)
	config := []byte{1, 66, 0, 30, 0xff, 0xe1, 0, byte(len(sps))}
	config = append(append(config, sps...), 1, 0, byte(len(pps)))
	config = append(config, pps...)
	long := func(nals ...[]byte) (b []byte) {
		for _, n := range nals {
			b = append(append(b, 0, 0, 0, byte(len(n))), n...)
		}
		return b
	}
	want := func(nals ...[]byte) (b []byte) {
		for _, n := range nals {
			b = append(append(b, 0, 0, 0, 1), n...)
		}
		return b
	}
	var s Stream
	if err := s.Configure(config); err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		in, out []byte
		key     bool
	}{
		{long([]byte{0x09, 0xf0}, idr), want(sps, pps, idr), true},
		{long(p), want(p), false},
		{long(sps, pps, idr), want(sps, pps, idr), true},
		{long([]byte{0x0c, 0xff, 0x80}, p, nil), want(p), false},
	} {
		u, err := s.Unit(tc.in)
		if err != nil || !bytes.Equal(u.Data, tc.out) || u.Keyframe != tc.key {
			t.Errorf("unit %d: %x, keyframe %v, %v; want %x", i, u.Data, u.Keyframe, err, tc.out)
		}
	}
	for _, broken := range [][]byte{{0, 0, 0, 9, 0x65}, {0, 0}, long([]byte{0x09, 0xf0}), nil} {
		if u, err := s.Unit(broken); !errors.Is(err, ErrDamaged) {
			t.Errorf("%x: %x, %v", broken, u.Data, err)
		}
	}
	var bare Stream
	if u, err := bare.Unit(unit(idr)); err != nil || u.Keyframe {
		t.Errorf("an IDR picture without parameter sets is no keyframe: %v, %v", u.Keyframe, err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte{1, 66, 0, 30, 0xff, 0xe1, 0, 1, 0x67, 0}, unit(set(100, 0, 2, true), pps, slice(0x65, 7)), false)
	f.Add([]byte(nil), unit(set(77, 1, -1, false)), true)
	f.Fuzz(func(t *testing.T, config, data []byte, plain bool) {
		var s Stream
		if !plain {
			if s.Configure(append([]byte{}, config...)) != nil {
				return
			}
		}
		for range 2 {
			u, err := s.Unit(data)
			if err == nil && len(u.Data) == 0 {
				t.Fatal("an empty unit without an error")
			}
		}
	})
}
