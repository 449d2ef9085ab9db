package packet

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestH264(t *testing.T) {
	nal := func(first byte, n int) []byte { return append([]byte{first}, bytes.Repeat([]byte{0xab}, n-1)...) }
	join := func(nals ...[]byte) (b []byte) {
		for i, n := range nals {
			b = append(b, [][]byte{{0, 0, 0, 1}, {0, 0, 1}}[i%2]...)
			b = append(b, n...)
		}
		return b
	}
	for _, tc := range []struct {
		name  string
		unit  []byte
		sizes []int // of the payloads
	}{
		{"one small", join(nal(0x41, 100)), []int{100}},
		{"delimiter and filler are left out", join(nal(0x09, 2), nal(0x41, 100), nal(0x0c, 50)), []int{100}},
		{"parameter sets together", join(nal(0x67, 10), nal(0x68, 4), nal(0x65, 100)), []int{1 + 2 + 10 + 2 + 4 + 2 + 100}},
		{"exactly one packet", join(nal(0x41, MaxPayload)), []int{MaxPayload}},
		{"one byte more", join(nal(0x41, MaxPayload+1)), []int{MaxPayload, 2 + 2}},
		{"keyframe", join(nal(0x67, 10), nal(0x68, 4), nal(0x65, 3000)), []int{19, MaxPayload, MaxPayload, 2 + 2999 - 2*(MaxPayload-2)}},
		{"many small", join(slicesOf(40, nal(0x41, 20))...), []int{1 + 16*22, 1 + 16*22, 1 + 8*22}},
	} {
		p, err := H264(tc.unit)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var sizes []int
		var back []byte
		for _, b := range p {
			sizes = append(sizes, len(b))
			back = appendH264(t, back, b)
		}
		if len(sizes) != len(tc.sizes) {
			t.Errorf("%s: sizes %v, want %v", tc.name, sizes, tc.sizes)
			continue
		}
		for i := range sizes {
			if sizes[i] != tc.sizes[i] {
				t.Errorf("%s: sizes %v, want %v", tc.name, sizes, tc.sizes)
				break
			}
		}
	}
	for _, b := range [][]byte{nil, {1, 2, 3}, {0, 0, 1}, {0, 0, 1, 0x09, 0x10}} {
		if p, err := H264(b); err == nil {
			t.Errorf("%x became %x", b, p)
		}
	}
}

func slicesOf(n int, b []byte) (out [][]byte) {
	for range n {
		out = append(out, b)
	}
	return out
}

// FuzzPacketize puts together again what was packetized.
func FuzzPacketize(f *testing.F) {
	f.Add(append([]byte{0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 1, 0x68, 4, 0, 0, 1, 0x65}, bytes.Repeat([]byte{7}, 5000)...))
	f.Add([]byte{0, 0, 1, 0x41, 1, 2, 3, 0, 0, 0, 0, 1, 0x41, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := H264(b)
		if err != nil {
			return
		}
		var back, want []byte
		for _, b := range p {
			if len(b) == 0 || len(b) > MaxPayload {
				t.Fatalf("payload of %d bytes", len(b))
			}
			back = appendH264(t, back, b)
		}
		for n := range NALUnits(b) {
			if !sendable(n[0] & nalTypeMask) {
				continue
			}
			want = append(append(want, 0, 0, 0, 1), n...)
		}
		if !sameNALs(back, want) {
			t.Fatalf("%x became %x", b, back)
		}
		if _, err := VP8(b); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRank(t *testing.T) {
	for _, tc := range []struct {
		encoding, fmtp, codec string
		rank                  int
	}{
		{"VP8", "", "vp8", 1},
		{"vp8", "max-fs=12288", "vp8", 1},
		{"H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", "h264", 6},
		{"H264", "packetization-mode=1; profile-level-id=42C01F", "h264", 6},
		{"H264", "packetization-mode=1;profile-level-id=42001f", "h264", 5},
		{"H264", "packetization-mode=1", "h264", 5},
		{"H264", "packetization-mode=1;profile-level-id=4d001f", "h264", 4},
		{"H264", "packetization-mode=1;profile-level-id=640c1f", "h264", 3},
		{"H264", "packetization-mode=1;profile-level-id=f4001f", "", 0},
		{"H264", "packetization-mode=0;profile-level-id=42e01f", "", 0},
		{"H264", "profile-level-id=42e01f", "", 0},
		{"H264", "packetization-mode=1;profile-level-id=42e01g", "", 0},
		{"rtx", "apt=96", "", 0}, {"AV1", "", "", 0},
	} {
		if codec, rank := Rank(tc.encoding, tc.fmtp); codec != tc.codec || rank != tc.rank {
			t.Errorf("%s %q is %q with %d, want %q with %d", tc.encoding, tc.fmtp, codec, rank, tc.codec, tc.rank)
		}
	}
}

func appendH264(t *testing.T, unit, p []byte) []byte {
	t.Helper()
	start := []byte{0, 0, 0, 1}
	switch p[0] & 0x1f {
	case nalSTAPA:
		for rest := p[1:]; len(rest) > 2; {
			n := int(binary.BigEndian.Uint16(rest))
			unit = append(append(unit, start...), rest[2:2+n]...)
			rest = rest[2+n:]
		}
		return unit
	case nalFUA:
		if p[1]&fuStart != 0 {
			unit = append(append(unit, start...), p[0]&0xe0|p[1]&0x1f)
		}
		return append(unit, p[2:]...)
	default:
		return append(append(unit, start...), p...)
	}
}

// sameNALs compares Annex B units without regard to the length of start codes.
func sameNALs(a, b []byte) bool {
	var x, y [][]byte
	for n := range NALUnits(a) {
		x = append(x, n)
	}
	for n := range NALUnits(b) {
		y = append(y, n)
	}
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if !bytes.Equal(x[i], y[i]) {
			return false
		}
	}
	return true
}
