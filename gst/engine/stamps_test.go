package engine

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

const ms = time.Millisecond

// A stream's units as they go in, and its frames' times as the decoder has them.
func TestStamps(t *testing.T) {
	type unit struct{ pts, dts time.Duration }
	for _, c := range []struct {
		name  string
		units []unit
		out   []time.Duration // as the decoder dates them
		want  []time.Duration
	}{
		{
			"packed B-frames in AVI",
			[]unit{{0, 0}, {none, 40 * ms}, {none, 80 * ms}, {none, 80 * ms}, {none, 120 * ms}, {none, 160 * ms}},
			[]time.Duration{0, 80 * ms, 80 * ms, 80 * ms, 160 * ms},
			[]time.Duration{0, 40 * ms, 80 * ms, 120 * ms, 160 * ms},
		},
		{
			"dates of showing stay, however uneven",
			[]unit{{0, -80 * ms}, {95 * ms, -40 * ms}, {31 * ms, 0}, {33 * ms, 40 * ms}},
			[]time.Duration{0, 31 * ms, 33 * ms, 95 * ms},
			[]time.Duration{0, 31 * ms, 33 * ms, 95 * ms},
		},
		{
			"Matroska has no dates of decoding",
			[]unit{{0, none}, {120 * ms, none}, {40 * ms, none}, {80 * ms, none}},
			[]time.Duration{0, 40 * ms, 80 * ms, 120 * ms},
			[]time.Duration{0, 40 * ms, 80 * ms, 120 * ms},
		},
		{
			"no dates at all",
			[]unit{{0, none}, {none, none}, {none, none}},
			[]time.Duration{0, none, none},
			[]time.Duration{0, none, none},
		},
		{
			"units without frames do not hold times back",
			[]unit{{0, 0}, {none, 1 * ms}, {none, 2 * ms}, {none, 3 * ms}, {none, 4 * ms}, {none, 5 * ms}, {none, 6 * ms}, {none, 7 * ms}, {none, 8 * ms}, {none, 9 * ms}},
			[]time.Duration{0, 9 * ms},
			[]time.Duration{0, 5 * ms},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s stamps
			for _, u := range c.units {
				s.add(u.pts, u.dts)
			}
			var got []time.Duration
			for _, at := range c.out {
				got = append(got, s.take(at))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		var s stamps
		for i := range 10 * far {
			s.add(none, time.Duration(i)*ms)
		}
		if len(s.waiting) != far {
			t.Errorf("%d dates wait", len(s.waiting))
		}
	})
}

// Whatever a source says, a frame is later than the one before, and the times that
// are right stay.
func TestTimesRise(t *testing.T) {
	var r reader
	var got []time.Duration
	for _, at := range []time.Duration{-30 * ms, -10 * ms, 40 * ms, 40 * ms, 40 * ms, 80 * ms, none, 95 * ms, 130 * ms, 10 * ms, 20 * ms, 500 * ms} {
		got = append(got, r.time(pulled{pts: at, fpsN: 25, fpsD: 1}))
		r.frames++
	}
	want := []time.Duration{0, 5 * ms, 40 * ms, 45 * ms, 50 * ms, 80 * ms, 120 * ms, 125 * ms, 130 * ms, 170 * ms, 210 * ms, 500 * ms}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// This file has B-frames, packed, in AVI: after the gap at its start its pictures
// come every 40 ms.
func TestPackedBFramesKeepTheirPace(t *testing.T) {
	s := readAll(t, plan.Source{URL: filepath.Join(media(t), "video/highway_asp.avi")})
	if s.err != nil || s.frames != 748 {
		t.Fatal(s.frames, s.err)
	}
	uneven := 0
	for i := 2; i < len(s.pts); i++ {
		if s.pts[i]-s.pts[i-1] != 40*ms {
			uneven++
		}
	}
	t.Logf("%v … %v; %d of %d steps are not 40 ms", s.pts[:4], s.pts[747], uneven, s.frames-2)
	if uneven > 0 {
		t.Error("they do not")
	}
}
