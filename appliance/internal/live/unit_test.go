package live

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
)

func sendPLI(t *testing.T, c *client) {
	t.Helper()
	p := c.received()
	if err := c.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: p[0].SSRC}}); err != nil {
		t.Fatal(err)
	}
}

func TestKeyframesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyframes
		if ask, again := k.due(time.Now()); ask || again != 0 {
			t.Fatal("asked without being wanted")
		}
		k.want()
		k.want()
		if ask, _ := k.due(time.Now()); !ask {
			t.Fatal("not asked at once")
		}
		k.passed(time.Now())
		time.Sleep(400 * time.Millisecond)
		k.want()
		ask, again := k.due(time.Now())
		if ask || again != 600*time.Millisecond {
			t.Fatalf("ask %v again %v, 400 ms after a keyframe", ask, again)
		}
		time.Sleep(again)
		if ask, _ := k.due(time.Now()); !ask {
			t.Fatal("not asked when due")
		}
		// The encoder does not answer: asked again a second later, no sooner.
		asked := 0
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			if ask, _ := k.due(time.Now()); ask {
				asked++
			}
		}
		if asked != 3 {
			t.Errorf("asked %d times in 3 s", asked)
		}
		k.passed(time.Now())
		time.Sleep(time.Hour)
		if ask, again := k.due(time.Now()); ask || again != 0 {
			t.Error("asked for what has passed")
		}
	})
}

func TestDemandLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := demand{linger: 5 * time.Second}
		step := func(h, v int, changed bool, again time.Duration) {
			t.Helper()
			if c, a := d.update(time.Now(), [2]int{h, v}); c != changed || a != again {
				t.Errorf("changed %v, again %v; want %v, %v", c, a, changed, again)
			}
		}
		step(0, 0, false, 0)
		step(1, 0, true, 0)
		step(2, 0, false, 0)
		step(0, 1, true, 5*time.Second)
		time.Sleep(2 * time.Second)
		step(0, 0, false, 3*time.Second)
		time.Sleep(3 * time.Second)
		step(0, 0, true, 2*time.Second) // H.264 is given up
		if d.wanted != [2]bool{false, true} {
			t.Errorf("wanted %v", d.wanted)
		}
		step(0, 1, false, 0) // VP8 comes back in time
		time.Sleep(time.Hour)
		step(0, 1, false, 0)
	})
}

func TestClock(t *testing.T) {
	c := clock{offset: 1<<32 - 1000}
	now := time.Now()
	last := c.stamp(0, now)
	step := func(pts, wall time.Duration, want uint32) {
		t.Helper()
		now = now.Add(wall)
		s := c.stamp(pts, now)
		if got := s - last; got != want {
			t.Errorf("PTS %v after %v: step %d, want %d", pts, wall, got, want)
		}
		last = s
	}
	const frame = time.Second / 25
	step(frame, frame, 3600)
	step(2*frame, 3*frame, 3600)       // jitter of the road does not count
	step(0, 2*time.Second, 180000)     // a new run: the time that passed does
	step(frame, frame, 3600)           //
	step(time.Hour, frame, 3600)       // a leap
	step(time.Hour, 0, 90)             // twice the same: still goes on
	step(time.Hour+frame, frame, 3600) //
	if ticks(49*time.Hour) != uint32(uint64(49*3600*90000)&0xffffffff) {
		t.Error("ticks do not wrap")
	}
}

// TestRing checks the bounds, and that a viewer finds what it was sent over
// several skips.
func TestRing(t *testing.T) {
	r := newRendition(H264)
	now := time.Now()
	for i := range 3 * ringFrames {
		if err := r.publish(Unit{Codec: H264, Keyframe: i == 0, PTS: time.Duration(i) * time.Millisecond, Data: testUnit(H264, false, 1, 3000)}, now); err != nil {
			t.Fatal(err)
		}
	}
	tail, head := r.bounds()
	if head-tail != ringFrames || r.frame(tail-1) != nil || r.frame(head) != nil || r.frame(tail) == nil {
		t.Errorf("tail %d, head %d", tail, head)
	}
	if _, ok := r.start(1, now); ok {
		t.Error("starts at a keyframe that is gone")
	}
	f := r.frame(tail)
	if g, i := r.payload(f.first + 1); g != f || i != 1 {
		t.Errorf("packet %d is %d of %p, want 1 of %p", f.first+1, i, g, f)
	}
	if g, _ := r.payload(f.first - 1); g != nil {
		t.Error("found a packet that is gone")
	}
	if g, _ := r.payload(r.packet); g != nil {
		t.Error("found a packet that is still to come")
	}
	big := make([]byte, ringBytes)
	for range 2 {
		if err := r.publish(Unit{Codec: H264, Keyframe: true, Data: append([]byte{0, 0, 1, 0x65}, bytes.Repeat([]byte{1}, len(big))...)}, now); err != nil {
			t.Fatal(err)
		}
	}
	if tail, head := r.bounds(); head-tail != 1 {
		t.Errorf("%d frames of %d bytes", head-tail, r.bytes)
	}

	v := &viewer{rendition: r, seq: 10}
	v.sent = [spans]span{{from: 500, to: 505}, {from: 300, to: 303}, {from: 100, to: 102}} // 10 packets: 0 to 9
	for seq, want := range map[uint16]uint64{9: 504, 5: 500, 4: 302, 2: 300, 1: 101, 0: 100} {
		if got, _, ok := v.find(seq); !ok || got != want {
			t.Errorf("sequence number %d is packet %d, %v; want %d", seq, got, ok, want)
		}
	}
	for _, seq := range []uint16{10, 11, 65535, 40000} {
		if got, _, ok := v.find(seq); ok {
			t.Errorf("sequence number %d, never sent, is packet %d", seq, got)
		}
	}
}
