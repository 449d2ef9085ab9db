package camera

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

func TestWishesReachEveryNewWorker(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		p.play(5*time.Second, false)
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		c.Want(true, false)
		c.Throttle(link.Throttle{MaxFPS: 3, Reason: "heat"})
		time.Sleep(2 * time.Second)
		c.Want(true, true)
		time.Sleep(5 * time.Second)
		want := [][]any{
			{link.Want{H264: true}, link.Throttle{MaxFPS: 3, Reason: "heat"}, link.Want{H264: true, VP8: true}},
			{link.Want{H264: true, VP8: true}, link.Throttle{MaxFPS: 3, Reason: "heat"}},
		}
		for i, p := range f.of("live") {
			if got := p.heard(); !slices.Equal(got, want[i]) {
				t.Errorf("worker %d was told %v, want %v", i, got, want[i])
			}
		}
	})
}

func TestKeyframesAtMostOnceASecond(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit { p.play(time.Hour, false); return killed }}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		c.Want(true, true)
		time.Sleep(time.Second)
		for range 250 { // 2.5 s
			c.RequestKeyframe(link.H264)
			time.Sleep(10 * time.Millisecond)
		}
		c.RequestKeyframe(link.VP8)
		c.RequestKeyframe(9)
		time.Sleep(5 * time.Second)
		count := map[any]int{}
		for _, v := range f.of("live")[0].heard() {
			count[v]++
		}
		// At 0, 1 and 2 s, and those after 2 s at 3 s.
		if count[link.H264] != 4 || count[link.VP8] != 1 {
			t.Errorf("%d H.264 and %d VP8 requests reached the worker, want 4 and 1", count[link.H264], count[link.VP8])
		}
	})
}

func TestLedgerOverRuns(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		p.play(time.Second, false) // ten beats, ten frames, one in hand
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		time.Sleep(1100 * time.Millisecond)
		s := c.Snapshot() // one run over, one begun
		if s.Ledger.Decoded <= 10 || s.Ledger.Failed != 1 || s.Ledger.Pending != 1 || !s.Ledger.Balanced() {
			t.Errorf("got %+v", s.Ledger)
		}
	})
}

func TestDetectionsAreHandedOnAndForgotten(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		if n > 0 {
			return faulty(link.FaultUnreachable, "gone")
		}
		p.say(link.KindStatus, link.Status{State: link.Playing})
		for i := range 30 {
			p.say(link.KindDetections, link.Detections{Frame: uint64(i + 1), PTS: time.Duration(i) * time.Millisecond})
		}
		p.idle(time.Second)
		return faulty(link.FaultUnreachable, "gone")
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		sub := c.Detections()
		time.Sleep(500 * time.Millisecond)
		if first := <-sub.C; first.Frame != 15 || sub.Dropped() != 14 {
			t.Errorf("a slow reader's first is %d, %d dropped; want 15, 14", first.Frame, sub.Dropped())
		}
		if s := c.Snapshot(); s.Detections == nil || s.Detections.Frame != 30 {
			t.Errorf("latest %+v", s.Detections)
		}
		time.Sleep(600 * time.Millisecond)
		if s := c.Snapshot(); s.Detections != nil {
			t.Error("objects of a picture that is gone are still told")
		}
	})
}

// meter is a stall meter that counts.
type meter struct {
	tick            chan time.Time
	ticked, in, out int
}

func (m *meter) Tick() <-chan time.Time { return m.tick }
func (m *meter) Ticked()                { m.ticked++ }
func (m *meter) Enter() func()          { m.in++; return func() { m.out++ } }

func TestLoopIsMetered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{live: func(n int, p *fakeProc) link.Exit { p.play(time.Hour, false); return killed }}
		m := &meter{tick: make(chan time.Time)}
		c, err := New(Deps{Spawn: f.spawn, Output: &lockedSink{}, Log: slog.New(slog.DiscardHandler), Loop: m},
			Config{ID: "door", Redact: func(s string) string { return s }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		for range 5 {
			m.tick <- time.Now()
			time.Sleep(100 * time.Millisecond)
		}
		if err := c.Run(ctx); err == nil {
			t.Error("a second Run was taken")
		}
		cancel()
		<-done
		if m.ticked != 5 || m.in == 0 || m.in != m.out {
			t.Errorf("%d ticks, entered %d times, left %d times", m.ticked, m.in, m.out)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	keep := func(s string) string { return s }
	deps := Deps{Spawn: (&fakes{}).spawn, Output: &sink{}, Log: slog.New(slog.DiscardHandler)}
	for name, ok := range map[string]struct {
		deps Deps
		cfg  Config
	}{
		"no id":     {deps, Config{Redact: keep}},
		"no redact": {deps, Config{ID: "a"}},
		"no deps":   {Deps{}, Config{ID: "a", Redact: keep}},
	} {
		if _, err := New(ok.deps, ok.cfg); err == nil {
			t.Errorf("%s: a camera was made", name)
		}
	}
}
