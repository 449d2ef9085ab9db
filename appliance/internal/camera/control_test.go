package camera

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// pauses are the waits between the end of a live worker and the start of the next.
func pauses(t *testing.T, f *fakes, ran time.Duration) []time.Duration {
	t.Helper()
	l := f.of("live")
	var out []time.Duration
	for i := 1; i < len(l); i++ {
		out = append(out, l[i].at.Sub(l[i-1].at)-ran)
	}
	return out
}

func TestBackoffGrowsAndIsReset(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		switch {
		case n == 0 || n == 4:
			p.play(11*time.Second, false) // healthy
			return killed
		default:
			p.play(3*time.Second, false)
			return killed
		}
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		time.Sleep(40 * time.Second)
		l := f.of("live")
		var got []time.Duration
		for i := 1; i < 6; i++ {
			ran := 3 * time.Second
			if i == 1 || i == 5 {
				ran = 11 * time.Second
			}
			got = append(got, l[i].at.Sub(l[i-1].at)-ran)
		}
		want := []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 0}
		if !slices.Equal(got, want) {
			t.Errorf("pauses %v, want %v", got, want)
		}
		if s := c.Snapshot(); s.Restarts != uint64(len(l)-1) {
			t.Errorf("%d restarts told of, %d made", s.Restarts, len(l)-1)
		}
	})
}

func TestSourceAwayShowsASlateUntilItIsBack(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		if n == 0 {
			p.play(20*time.Second, false)
		}
		if n < 6 {
			return faulty(link.FaultUnreachable, "no connection to rtsp://me:hunter2@cam/1\n check the cable")
		}
		p.idle(700 * time.Millisecond) // opening
		p.play(time.Hour, false)
		return link.Exit{}
	}}
	bubble(t, f, nil, func(c *Camera, out *lockedSink) {
		c.Want(true, false)
		time.Sleep(21 * time.Second)
		s := c.Snapshot()
		if s.State != Offline || s.Reason != "no connection to rtsp://cam/1 check the cable" || !s.Slate || s.OfflineSince.IsZero() {
			t.Errorf("while it is away: %+v", s)
		}
		away := s.OfflineSince
		time.Sleep(20 * time.Second)
		if s := c.Snapshot(); s.State != Playing || s.Slate || !s.OfflineSince.IsZero() || s.Reason != "" {
			t.Errorf("when it is back: %+v", s)
		}
		slates := f.of("slate")
		if len(slates) != 1 {
			t.Fatalf("%d slate workers, want 1 through all attempts", len(slates))
		}
		st := slates[0].start
		if st.Slate != "no connection to rtsp://cam/1 check the cable" || !st.Since.Equal(away) || st.Source.URL != "" || st.Model != "" {
			t.Errorf("the slate worker was told %+v", st)
		}
		for i, p := range f.of("live") {
			if first := i <= 1; first != (p.start.Slate == "") || (!first && !p.start.Since.Equal(away)) {
				t.Errorf("attempt %d was told slate %q since %v", i, p.start.Slate, p.start.Since)
			}
		}
		got := pauses(t, f, 0)[1:]
		if want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("pauses %v, want %v", got, want)
		}
		// The pictures: live, slate, live; each change at a keyframe, no long gap.
		out.mu.Lock()
		defer out.mu.Unlock()
		var order []string
		for i, u := range out.units {
			if s := string(u.Data); len(order) == 0 || order[len(order)-1] != s {
				order = append(order, s)
				if !u.Keyframe {
					t.Errorf("%s began with no keyframe", s)
				}
			}
			if i > 0 && u.PTS-out.units[i-1].PTS > 300*time.Millisecond {
				t.Errorf("viewers saw nothing new for %v before picture %d (%s)", u.PTS-out.units[i-1].PTS, i, u.Data)
			}
		}
		if !slices.Equal(order, []string{"live", "slate", "live"}) {
			t.Errorf("viewers saw %v", order)
		}
	})
}

func TestNoViewerNoSlate(t *testing.T) {
	f := &fakes{live: func(int, *fakeProc) link.Exit { return faulty(link.FaultUnreachable, "away") }}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		time.Sleep(10 * time.Second)
		if n := len(f.of("slate")); n != 0 {
			t.Errorf("%d slate workers without a viewer", n)
		}
		c.Want(false, true)
		synctest.Wait()
		if n := len(f.of("slate")); n != 1 {
			t.Fatalf("%d slate workers for a viewer", n)
		}
		if got := f.of("slate")[0].heard(); !slices.Contains(got, any(link.Want{VP8: true})) {
			t.Errorf("the slate worker was told %v", got)
		}
		c.Want(false, false)
		synctest.Wait()
		if f.of("slate")[0].running() || c.Snapshot().Slate {
			t.Error("the slate worker outlives its last viewer")
		}
	})
}

func TestSlateWorkerThatDiesIsNotStartedWildly(t *testing.T) {
	f := &fakes{
		live:  func(int, *fakeProc) link.Exit { return faulty(link.FaultRefused, "wrong password") },
		slate: func(*fakeProc) link.Exit { return errExit },
	}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		c.Want(true, false)
		time.Sleep(29 * time.Second)
		if n := len(f.of("slate")); n != 6 {
			t.Errorf("%d slate workers in 29 s, want one each 5 s", n)
		}
		if n := len(f.of("live")); n != 1 {
			t.Errorf("%d sign-ins with a refused password in 29 s", n)
		}
		c.Retry()
		synctest.Wait()
		if n := len(f.of("live")); n != 2 {
			t.Errorf("a retry that was asked for made %d attempts in all", n)
		}
	})
}

func TestRestartIsNoFailure(t *testing.T) {
	f := &fakes{live: func(_ int, p *fakeProc) link.Exit {
		p.play(time.Hour, true)
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		for n := 1; n <= 8; n++ {
			time.Sleep(time.Second)
			if got := len(f.of("live")); got != n {
				t.Fatalf("after %d restarts there were %d workers", n-1, got)
			}
			c.Restart()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		if s := c.Snapshot(); s.State != Playing || s.Restarts != 8 {
			t.Errorf("eight restarts left it %s after %d restarts: %s", s.State, s.Restarts, s.Reason)
		}
	})
}

func TestStall(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		p.idle(300 * time.Millisecond)
		p.play(time.Hour, n == 0)
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		sub := c.Subscribe()
		defer sub.Close()
		states := []State{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for s := range sub.C {
				if len(states) == 0 || states[len(states)-1] != s.State {
					states = append(states, s.State)
				}
			}
		}()
		time.Sleep(20 * time.Second)
		l := f.of("live")
		if after := l[len(l)-1].at.Sub(l[0].at); len(l) != 2 || after < 5300*time.Millisecond || after > 5500*time.Millisecond {
			t.Fatalf("%d workers, the second after %v; want 2, after 5 s without a frame", len(l), l[len(l)-1].at.Sub(l[0].at))
		}
		s := c.Snapshot()
		if s.State != Playing || s.LastExit == nil || !strings.Contains(s.LastExit.Reason, "no new frame for 5s") {
			t.Errorf("after the stall: %+v", s)
		}
		sub.Close()
		<-done
		if want := []State{Starting, Playing, Stalled, Playing}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
	})
}

func TestSourceThatNeverPlays(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		p.say(link.KindStatus, link.Status{State: link.Connecting})
		p.idle(time.Hour)
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		time.Sleep(20*time.Second + 100*time.Millisecond)
		if s := c.Snapshot(); s.State != Offline || !strings.Contains(s.Reason, "no picture within 20s") {
			t.Errorf("got %+v", s)
		}
	})
}

// A worker that told that its source failed, and then does not go, is made to.
func TestWorkerLeftBehind(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		p.play(time.Second, false)
		p.say(link.KindStatus, link.Status{State: link.Offline, Reason: "cable"})
		p.idle(time.Hour)
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		time.Sleep(1500 * time.Millisecond)
		if s := c.Snapshot(); s.State != Offline || s.Reason != "cable" || s.Worker == nil {
			t.Errorf("got %+v", s)
		}
		time.Sleep(2 * time.Second)
		if n := len(f.of("live")); n != 2 {
			t.Errorf("%d workers after the grace, want 2", n)
		}
	})
}

func TestCrashLoop(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		if n < 5 {
			p.idle(300 * time.Millisecond)
			return errExit
		}
		p.play(time.Hour, false)
		return killed
	}}
	bubble(t, f, nil, func(c *Camera, _ *lockedSink) {
		c.Want(true, false)
		time.Sleep(5 * time.Second)
		s := c.Snapshot()
		if s.State != Crashing || s.LastExit == nil || !slices.Equal(s.LastExit.Stderr, []string{"oh dear", "rtsp://cam burst"}) {
			t.Errorf("got %+v", s)
		}
		if !strings.Contains(s.Reason, "died 3 times") || !strings.Contains(s.Reason, "rtsp://cam burst") || s.RetryAt.IsZero() {
			t.Errorf("reason %q, retry at %v", s.Reason, s.RetryAt)
		}
		if sl := f.of("slate"); len(sl) == 0 || !sl[len(sl)-1].running() {
			t.Error("viewers have no slate")
		}
		if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), "hunter2") {
			t.Errorf("the snapshot tells the password, or nothing: %s (%v)", b, err)
		}
		if got, want := pauses(t, f, 300*time.Millisecond), []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}; !slices.Equal(got, want) {
			t.Errorf("pauses %v, want %v", got, want)
		}
		time.Sleep(time.Minute)
		if s := c.Snapshot(); s.State != Playing {
			t.Errorf("it recovered, but is %s", s.State)
		}
	})
}

func TestEndOfStream(t *testing.T) {
	for _, tc := range []struct {
		source link.Source
		want   State
	}{
		{link.Source{URL: "/media/film.mp4"}, Ended},
		{link.Source{URL: "film.mp4"}, Ended},
		{link.Source{URL: "file:///media/film.mp4"}, Ended},
		{link.Source{URL: "rtsp://cam"}, Offline},
		{link.Source{URL: "/dev/video0"}, Offline},
	} {
		t.Run(fmt.Sprint(tc.source.URL), func(t *testing.T) {
			f := &fakes{live: func(n int, p *fakeProc) link.Exit {
				if n > 0 {
					p.idle(time.Hour)
					return killed
				}
				p.play(2*time.Second, false)
				p.say(link.KindDone, link.Done{Ledger: link.Ledger{Decoded: 20, Inferred: 20}})
				return link.Exit{}
			}}
			bubble(t, f, func(cfg *Config) { cfg.Start.Source = tc.source }, func(c *Camera, out *lockedSink) {
				c.Want(true, false)
				time.Sleep(8 * time.Second)
				s := c.Snapshot()
				if s.State != tc.want || s.Ledger.Decoded != 20 || s.Ledger.Inferred != 20 {
					t.Errorf("got %+v", s)
				}
				if tc.want == Ended && (len(f.of("live")) != 1 || !s.Slate || f.of("slate")[0].start.Slate != reasonEnded) {
					t.Errorf("after the end: %d live workers, slate %v", len(f.of("live")), s.Slate)
				}
				if tc.want == Ended {
					c.Retry()
					synctest.Wait()
					if s := c.Snapshot(); s.State != Starting || len(f.of("live")) != 2 {
						t.Errorf("played again: %s, %d live workers", s.State, len(f.of("live")))
					}
				}
			})
		})
	}
}

func TestReasonKeepsItsSentence(t *testing.T) {
	s := newScrubber("rtsp://u:hunter2@127.0.0.1:9/live?user=u&password=hunter2", func(s string) string {
		return strings.NewReplacer("u:hunter2@", "***@", "?user=u&password=hunter2", "***").Replace(s)
	})
	got := s.line("rtsp://u:hunter2@127.0.0.1:9/live?user=u&password=hunter2: no connection; is the camera on? (key=value)")
	if want := "rtsp://***@127.0.0.1:9/live***: no connection; is the camera on? (key=value)"; got != want && got != strings.Replace(want, "***:", "***", 1) {
		t.Errorf("the reason became %q", got)
	}
}
