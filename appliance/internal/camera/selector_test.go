package camera

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// sink is an Output that keeps what it gets.
type sink struct{ units []link.AccessUnit }

func (s *sink) Publish(u link.AccessUnit) { s.units = append(s.units, u) }

func pic(c link.Codec, key bool, pts time.Duration, from byte) link.AccessUnit {
	return link.AccessUnit{Codec: c, Keyframe: key, PTS: pts, Data: []byte{from}}
}

func TestSelectorSwitchesAtKeyframesOnly(t *testing.T) {
	out := &sink{}
	s := newSelector(out)
	feed := func(run uint64, c link.Codec, key bool) bool { return s.unit(run, pic(c, key, 0, byte(run))) }
	feed(1, link.H264, false) // nobody can begin with this
	if !feed(1, link.H264, true) {
		t.Error("the first keyframe did not take over")
	}
	feed(1, link.H264, false)
	feed(2, link.H264, false) // not yet
	feed(1, link.H264, false)
	feed(2, link.H264, true) // from here on run 2
	feed(1, link.H264, true) // too late
	feed(1, link.VP8, true)  // the other codec is still run 1's
	feed(2, link.H264, false)
	var got []byte
	for _, u := range out.units {
		got = append(got, u.Data[0]+10*byte(u.Codec))
	}
	if want := []byte{11, 11, 11, 12, 21, 12}; !slices.Equal(got, want) {
		t.Errorf("forwarded %v, want %v", got, want)
	}
	if _, dropped := s.stats(); dropped != 3 {
		t.Errorf("%d dropped, want 3", dropped)
	}
	if s.serves(2, link.Want{H264: true, VP8: true}) || !s.serves(2, link.Want{H264: true}) || s.owner(link.VP8) != 1 {
		t.Error("the selector is wrong about who serves what")
	}
}

func TestTimesGoOnAcrossRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		s := newSelector(out)
		const frame = 40 * time.Millisecond
		play := func(run uint64, first time.Duration, n int) {
			for i := range n {
				s.unit(run, pic(link.H264, i == 0, first+time.Duration(i)*frame, 0))
				time.Sleep(frame)
			}
		}
		time.Sleep(time.Second)
		play(1, 0, 10)
		time.Sleep(2 * time.Second) // nobody was there
		play(2, time.Hour, 10)      // its own zero
		play(3, 0, 10)              // without a gap
		wall := 1 * time.Second
		for i, u := range out.units {
			if i == 10 {
				wall += 2 * time.Second
			}
			if u.PTS != wall {
				t.Errorf("picture %d is at %v, the clock was %v", i, u.PTS, wall)
			}
			wall += frame
		}
	})
}

func TestTimesNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		s := newSelector(out)
		send := func(run uint64, pts time.Duration) { s.unit(run, pic(link.H264, true, pts, 0)) }
		for _, pts := range []time.Duration{0, 2 * time.Second, 1 * time.Second, 1 * time.Second, link.MaxPTS, 0, link.MaxPTS, 5} {
			send(1, pts)
		}
		send(2, 0) // run 1 was ahead of the clock
		send(2, 40*time.Millisecond)
		last := time.Duration(-1)
		for i, u := range out.units {
			if u.PTS <= last || u.PTS > skew+time.Second {
				t.Errorf("picture %d is at %v after %v", i, u.PTS, last)
			}
			last = u.PTS
		}
		time.Sleep(10 * time.Second)
		send(2, 10*time.Second)
		if at := out.units[len(out.units)-1].PTS; at < 10*time.Second || at > 10*time.Second+skew {
			t.Errorf("after 10 s the time line is at %v", at)
		}
	})
}

// A slate goes by the clock, whatever times its worker gives it, and leaves the
// pictures after it theirs.
func TestSlateGoesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		s := newSelector(out)
		for i := range 5 {
			time.Sleep(200 * time.Millisecond)
			u := pic(link.H264, i == 0, 0, 0)
			u.Slate = true
			s.unit(1, u)
		}
		time.Sleep(200 * time.Millisecond)
		at := s.at(1, 0) // said of the first picture
		time.Sleep(20 * time.Millisecond)
		s.unit(1, pic(link.H264, true, 0, 0))
		for i, want := range []time.Duration{200, 400, 600, 800, 1000, 1200} {
			if got := out.units[i].PTS; got != want*time.Millisecond {
				t.Errorf("picture %d is at %v, want %v", i, got, want*time.Millisecond)
			}
		}
		if at != out.units[5].PTS {
			t.Errorf("objects at %v, their picture at %v", at, out.units[5].PTS)
		}
	})
}

// What the analysis says of a frame has the time of that frame's picture.
func TestDetectionsShareThePicturesTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		s := newSelector(out)
		time.Sleep(time.Minute)
		for i := range 5 {
			pts := time.Duration(i) * 40 * time.Millisecond
			at := s.at(7, pts) // first said, then shown
			time.Sleep(15 * time.Millisecond)
			s.unit(7, pic(link.H264, i == 0, pts, 0))
			if got := out.units[i].PTS; got != at {
				t.Errorf("frame %d: objects at %v, picture at %v", i, at, got)
			}
			time.Sleep(25 * time.Millisecond)
		}
	})
}

func TestFeedIsLeaky(t *testing.T) {
	var f feed[int]
	slow, gone := f.subscribe(2), f.subscribe(2)
	slow.begin(0)
	slow.begin(-1) // there is a newer one
	gone.Close()
	gone.Close()
	for i := 1; i <= 5; i++ {
		f.publish(i)
	}
	if a, b := <-slow.C, <-slow.C; a != 4 || b != 5 || slow.Dropped() != 4 {
		t.Errorf("a slow reader got %d and %d, %d dropped; want the latest, 4 dropped", a, b, slow.Dropped())
	}
	f.close()
	if _, ok := <-slow.C; ok {
		t.Error("the feed ended, the subscription did not")
	}
	if _, ok := <-f.subscribe(1).C; ok {
		t.Error("a subscription after the end got something")
	}
	slow.Close()
}

func TestScrubber(t *testing.T) {
	s := newScrubber("rtsp://admin:p%40ss@cam/1", func(text string) string { return text })
	for _, text := range []string{"open rtsp://admin:p%40ss@cam/1", "password p@ss refused", "auth admin:p%40ss"} {
		if got := s.clean(text); got == text {
			t.Errorf("%q passed", text)
		}
	}
}
