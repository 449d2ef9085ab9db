package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// behind starts an encoder that has this in front of it.
func behind(t *testing.T, front string, out func(Unit)) *Encoder {
	t.Helper()
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	if !HasElement("openh264enc") {
		t.Skip("openh264enc is not installed")
	}
	e := plan.Encode{Codec: "h264", Width: 320, Height: 240, Live: true}.Defaulted()
	x, err := startEncoder(front+" ! openh264enc", e, out)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// An encoder may leave frames out. The units that it gives keep the times of
// their own frames, and nothing waits for those that will not come.
func TestSkippedFramesAreCountedAndMoveNothing(t *testing.T) {
	const n = 120
	var units []Unit
	x := behind(t, "identity drop-probability=0.6", func(u Unit) { units = append(units, u) })
	for i := range n {
		f, err := NewFrame(plan.I420, 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		ramp(f, i)
		f.PTS = time.Minute + time.Duration(i)*time.Second/30
		f.Captured = int64(i + 1)
		if err := x.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	left := x.Pending()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if want := time.Minute + time.Duration(u.Captured-1)*time.Second/30; u.PTS != want {
			t.Fatalf("the unit of frame %d has PTS %v, want %v", u.Captured, u.PTS, want)
		}
	}
	t.Logf("%d frames, %d units, %d skipped, %d were inside at the end", n, len(units), x.Skipped(), left)
	if len(units) == 0 || x.Skipped() == 0 || len(units)+x.Skipped()+x.Pending() != n {
		t.Errorf("%d frames went in; %d units and %d skipped", n, len(units), x.Skipped())
	}
}

// The ledger's own cases: units that say no time, or one that no frame has.
func TestLedger(t *testing.T) {
	var l ledger
	now := time.Now()
	for i := range 4 {
		l.in(inside{at: time.Duration(i) * time.Second, pts: time.Duration(i), since: now})
	}
	for _, c := range []struct {
		at      time.Duration
		pts     time.Duration
		skipped int
		left    int
	}{
		{0, 0, 0, 3},
		{0, 0, 0, 3}, // a second unit of the same frame
		{2*time.Second + 300, 2, 1, 1},
		{none, 3, 1, 0},
		{9 * time.Second, 3, 1, 0},
	} {
		f, _ := l.out(c.at, now)
		if f.pts != c.pts || l.skipped != c.skipped || len(l.inside) != c.left {
			t.Errorf("unit at %v: frame %d, %d skipped, %d left; want %d, %d, %d", c.at, f.pts, l.skipped, len(l.inside), c.pts, c.skipped, c.left)
		}
	}
}

// An encoder that hangs must be told from one that works, in bounded time, and
// must not take its user with it.
func TestHangingEncoderFails(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seven seconds")
	}
	x := behind(t, "identity sleep-time=9000000", func(Unit) {})
	start := time.Now()
	for i := 0; ; i++ {
		f, err := NewFrame(plan.I420, 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		ramp(f, i)
		before := time.Now()
		err = x.Push(f)
		if took := time.Since(before); took > patience+time.Second {
			t.Fatalf("a push took %v", took)
		}
		if err != nil {
			t.Logf("after %v and %d frames: %v", time.Since(start), i, err)
			if !strings.Contains(err.Error(), "hangs") {
				t.Error(err)
			}
			break
		}
		if time.Since(start) > 8*time.Second {
			t.Fatal("nothing was noticed")
		}
	}
	start = time.Now()
	if err := x.Close(); err == nil {
		t.Error("Close says nothing of it")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}
