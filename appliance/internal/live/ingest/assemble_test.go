package ingest

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

// sent is a stream as a peer packetizes it.
type sent struct {
	packets []sentPacket
	frames  [][]byte // as they are to come out
	keys    []bool
}

type sentPacket struct {
	seq    uint16
	stamp  uint32
	marker bool
	body   []byte
}

var (
	testSPS = []byte{0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01}
	testPPS = []byte{0x68, 0xce, 0x3c, 0x80}
)

// picture is a frame of a codec with size bytes of payload.
func picture(codec string, key bool, n, size int) []byte {
	body := bytes.Repeat([]byte{byte(n)%250 + 1}, size)
	if codec == packet.CodecVP8 {
		if key {
			return append([]byte{0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x40, 1, 0xb4, 0}, body...)
		}
		return append([]byte{0x11, 2, 0}, body...)
	}
	if key {
		b := annexB(annexB(nil, testSPS), testPPS)
		return annexB(b, append([]byte{0x65}, body...))
	}
	return annexB(nil, append([]byte{0x41}, body...))
}

// stream packetizes n frames, a keyframe every gop.
func stream(t testing.TB, codec string, n, gop, size int, first uint16) (s sent) {
	t.Helper()
	seq := first
	for i := range n {
		key := i%gop == 0
		f := picture(codec, key, i, size)
		var bodies [][]byte
		var err error
		if codec == packet.CodecVP8 {
			bodies, err = packet.VP8(f)
		} else {
			bodies, err = packet.H264(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		for j, b := range bodies {
			s.packets = append(s.packets, sentPacket{seq, uint32(i) * 3000, j == len(bodies)-1, b})
			seq++
		}
		s.frames, s.keys = append(s.frames, f), append(s.keys, key)
	}
	return s
}

func formatOf(codec string) format {
	if codec == packet.CodecVP8 {
		return vp8{}
	}
	return newH264("")
}

// TestFrameAtItsMarker: no frame waits for the next one's packets.
func TestFrameAtItsMarker(t *testing.T) {
	for _, codec := range []string{packet.CodecH264, packet.CodecVP8} {
		s := stream(t, codec, 20, 5, 4000, 65530)
		a := newAssembler(formatOf(codec))
		now := time.Now()
		got := 0
		for _, p := range s.packets {
			a.push(p.seq, p.stamp, p.marker, p.body, now)
			f, ok := a.pop(now)
			if ok != p.marker {
				t.Fatalf("%s: packet %d, marker %v, gave a frame: %v", codec, p.seq, p.marker, ok)
			}
			if !ok {
				continue
			}
			if !bytes.Equal(f.data, s.frames[got]) || f.keyframe != s.keys[got] || f.stamp != uint32(got)*3000 {
				t.Fatalf("%s: frame %d differs: keyframe %v, %d bytes, stamp %d", codec, got, f.keyframe, len(f.data), f.stamp)
			}
			got++
		}
		if got != 20 || a.wanted {
			t.Errorf("%s: %d frames, keyframe wanted %v", codec, got, a.wanted)
		}
	}
}

// TestWithoutMarkers: some senders set none; then a packet of another time ends a frame.
func TestWithoutMarkers(t *testing.T) {
	s := stream(t, packet.CodecVP8, 5, 5, 3000, 7)
	a := newAssembler(vp8{})
	got := 0
	for _, p := range s.packets {
		a.push(p.seq, p.stamp, false, p.body, time.Now())
		for {
			f, ok := a.pop(time.Now())
			if !ok {
				break
			}
			if !bytes.Equal(f.data, s.frames[got]) {
				t.Fatalf("frame %d differs", got)
			}
			got++
		}
	}
	if got != 4 {
		t.Errorf("%d frames, want 4 and one that is not known to be complete", got)
	}
}

// TestOrder: packets out of order, twice, and padding between frames.
func TestOrder(t *testing.T) {
	for _, codec := range []string{packet.CodecH264, packet.CodecVP8} {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := stream(t, codec, 40, 10, 5000, uint16(seed*7919))
			list := s.packets
			for i := 1; i < len(list); i++ {
				j := i + r.IntN(min(20, len(list)-i))
				list[i], list[j] = list[j], list[i]
			}
			a := newAssembler(formatOf(codec))
			now, got := time.Now(), 0
			for _, p := range list {
				for range 1 + r.IntN(2) {
					a.push(p.seq, p.stamp, p.marker, p.body, now)
				}
				for {
					f, ok := a.pop(now)
					if !ok {
						break
					}
					if !bytes.Equal(f.data, s.frames[got]) {
						t.Fatalf("%s, seed %d: frame %d differs", codec, seed, got)
					}
					got++
				}
				now = now.Add(time.Millisecond)
			}
			if got != len(s.frames) || a.damaged+a.dropped > 0 {
				t.Errorf("%s, seed %d: %d frames, %d damaged, %d dropped", codec, seed, got, a.damaged, a.dropped)
			}
		}
	}
}

// TestPadding: what a browser sends to probe the bandwidth is not part of any frame.
func TestPadding(t *testing.T) {
	s := stream(t, packet.CodecVP8, 10, 10, 2500, 1)
	a := newAssembler(vp8{})
	var seq uint16
	got := 0
	for _, p := range s.packets {
		a.push(seq, p.stamp, p.marker, p.body, time.Now())
		seq++
		if _, ok := a.pop(time.Now()); ok {
			got++
		}
		if p.marker {
			for range 3 {
				a.push(seq, p.stamp, false, nil, time.Now())
				seq++
				if _, ok := a.pop(time.Now()); ok {
					t.Fatal("padding became a frame")
				}
			}
		}
	}
	if got != 10 || a.holding() {
		t.Errorf("%d frames, holding %v", got, a.holding())
	}
}

// TestLoss: what is missing for good costs the frames up to the next keyframe, which is
// asked for, and none that is given refers to one that is not.
func TestLoss(t *testing.T) {
	for _, codec := range []string{packet.CodecH264, packet.CodecVP8} {
		asked := 0
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(seed, 2))
			s := stream(t, codec, 90, 30, 4000, uint16(seed*4099))
			a := newAssembler(formatOf(codec))
			now, last, wanted := time.Now(), -1, false
			check := func() {
				for {
					f, ok := a.pop(now)
					if !ok {
						break
					}
					n := int(f.stamp / 3000)
					if !bytes.Equal(f.data, s.frames[n]) {
						t.Fatalf("%s, seed %d: frame %d differs", codec, seed, n)
					}
					if !f.keyframe && n != last+1 {
						t.Fatalf("%s, seed %d: frame %d after %d cannot be decoded", codec, seed, n, last)
					}
					last = n
				}
				wanted = wanted || a.wanted
			}
			for _, p := range s.packets {
				now = now.Add(10 * time.Millisecond)
				if r.IntN(100) == 0 {
					continue
				}
				a.push(p.seq, p.stamp, p.marker, p.body, now)
				check()
			}
			now = now.Add(time.Second)
			check()
			if wanted {
				asked++
			}
			if last < 30 {
				t.Errorf("%s, seed %d: ended at frame %d of 90", codec, seed, last)
			}
		}
		if asked < 20 { // a keyframe that is there already need not be asked for
			t.Errorf("%s: a keyframe was asked for in %d of 30 streams", codec, asked)
		}
	}
}

// TestNewNumbering: a peer that begins its sequence numbers anew is read on.
func TestNewNumbering(t *testing.T) {
	for _, second := range []uint16{20000, 100, 62000} {
		a := newAssembler(vp8{})
		got := 0
		for _, s := range []sent{stream(t, packet.CodecVP8, 20, 10, 2000, 30000), stream(t, packet.CodecVP8, 200, 10, 2000, second)} {
			got = 0
			for _, p := range s.packets {
				a.push(p.seq, p.stamp, p.marker, p.body, time.Now())
				for {
					if _, ok := a.pop(time.Now()); !ok {
						break
					}
					got++
				}
			}
		}
		if got < 120 {
			t.Errorf("from %d: %d of 200 frames", second, got)
		}
	}
}

// TestParameterSets: they are remembered for keyframes that come without.
func TestParameterSets(t *testing.T) {
	sets := annexB(annexB(nil, testSPS), testPPS)
	idr := []byte{0x65, 1, 2, 3}
	h := newH264("")
	if _, _, err := h.join([][]byte{idr}); err == nil {
		t.Error("a keyframe without parameter sets was taken")
	}
	if data, _, err := h.join([][]byte{testSPS, testPPS}); err != nil || data != nil {
		t.Errorf("parameter sets alone: %x, %v", data, err)
	}
	data, key, err := h.join([][]byte{idr})
	if err != nil || !key || !bytes.Equal(data, annexB(bytes.Clone(sets), idr)) {
		t.Errorf("%x, keyframe %v, %v", data, key, err)
	}
	h = newH264("packetization-mode=1;sprop-parameter-sets=Z0LAH9oB,aM48gA==;profile-level-id=42c01f")
	if data, _, err := h.join([][]byte{idr}); err != nil || !bytes.Equal(data, annexB(bytes.Clone(sets), idr)) {
		t.Errorf("with sprop-parameter-sets: %x, %v", data, err)
	}
	for i := range 200 { // a flood of ids
		h.remember([]byte{0x67, 0x42, 0, 0x1f, byte(i), byte(i * 3), 0x80})
		h.remember(append([]byte{0x68}, bytes.Repeat([]byte{byte(i)}, 3000)...))
	}
	if len(h.sps) > maxSets || len(h.pps) > maxSets {
		t.Errorf("%d and %d parameter sets are kept", len(h.sps), len(h.pps))
	}
}

func TestTimeline(t *testing.T) {
	tl, now := timeline{}, time.Now()
	for i, tc := range []struct {
		stamp uint32
		wall  time.Duration
		want  time.Duration
	}{
		{1<<32 - 4500, 0, 0},
		{1<<32 - 1500, 33 * time.Millisecond, time.Second / 30},
		{1500, 33 * time.Millisecond, time.Second / 15},
		{1500 + 90000, time.Millisecond, time.Second/15 + time.Second},                    // by hand: its own time
		{1500, 40 * time.Millisecond, time.Second/15 + time.Second + 40*time.Millisecond}, // back
	} {
		now = now.Add(tc.wall)
		if got := tl.place(tc.stamp, now); got.Round(time.Microsecond) != tc.want.Round(time.Microsecond) {
			t.Errorf("%d: %v, want %v", i, got, tc.want)
		}
	}
}

// FuzzAssemble feeds whatever a peer may send; nothing may panic, grow, or give a frame
// that cannot be decoded after the one before.
func FuzzAssemble(f *testing.F) {
	for _, codec := range []string{packet.CodecH264, packet.CodecVP8} {
		var b []byte
		for _, p := range stream(f, codec, 3, 2, 1500, 65534).packets {
			flags := byte(0)
			if p.marker {
				flags = 1
			}
			b = append(b, byte(p.seq>>8), byte(p.seq), byte(p.stamp/3000), flags, byte(min(len(p.body), 60)))
			b = append(b, p.body[:min(len(p.body), 60)]...)
		}
		f.Add(b, codec == packet.CodecVP8)
	}
	f.Fuzz(func(t *testing.T, b []byte, isVP8 bool) {
		codec := packet.CodecH264
		if isVP8 {
			codec = packet.CodecVP8
		}
		a := newAssembler(formatOf(codec))
		now := time.Now()
		first := true
		for len(b) >= 5 {
			n := min(int(b[4]), len(b)-5)
			a.push(uint16(b[0])<<8|uint16(b[1]), uint32(b[2])*3000, b[3]&1 != 0, b[5:5+n], now)
			now = now.Add(time.Duration(b[3]>>1) * 5 * time.Millisecond)
			for i := 0; ; i++ {
				frame, ok := a.pop(now)
				if !ok {
					break
				}
				if first && !frame.keyframe || len(frame.data) == 0 || i > ringPackets {
					t.Fatalf("frame %d: keyframe %v, %d bytes", i, frame.keyframe, len(frame.data))
				}
				first = false
			}
			if a.high-a.next >= ringPackets {
				t.Fatalf("%d packets are held", a.high-a.next)
			}
			b = b[5+n:]
		}
	})
}

// A frame of as many fragmented NAL units as its packets can hold takes memory for its
// bytes, and not for each of them as if it were the whole frame.
func TestManyFragmentedUnits(t *testing.T) {
	const size = 1100
	var payloads [][]byte
	for range ringPackets / 2 {
		start := make([]byte, size)
		start[0], start[1] = 0x60|nalFUA, fuStart|1
		payloads = append(payloads, start, []byte{0x60 | nalFUA, fuEnd | 1, 7})
	}
	h := newH264("")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	data, _, err := h.join(payloads)
	runtime.ReadMemStats(&after)
	if err != nil || len(data) != len(payloads)/2*(4+size) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("%d bytes of packets took %d MiB", len(data), took>>20)
	}
}
