package media

import (
	"context"
	"testing"
	"time"
)

func TestLeakyQueueGivesTheOldestBack(t *testing.T) {
	q := newQueue(2, true)
	for n := uint64(1); n <= 2; n++ {
		if out := q.put(t.Context(), &job{number: n}); out != nil {
			t.Fatalf("frame %d: %d had to give way in a queue with room", n, out.number)
		}
	}
	if out := q.put(t.Context(), &job{number: 3}); out == nil || out.number != 1 {
		t.Fatalf("the third frame displaced %+v, want the first", out)
	}
	if a, b := <-q.jobs, <-q.jobs; a.number != 2 || b.number != 3 {
		t.Fatalf("left in the queue: %d, %d; want 2, 3", a.number, b.number)
	}
}

func TestBlockingQueueWaitsForRoom(t *testing.T) {
	q := newQueue(1, false)
	q.put(t.Context(), &job{number: 1})
	put := make(chan *job)
	go func() { put <- q.put(t.Context(), &job{number: 2}) }()
	select {
	case <-put:
		t.Fatal("a full blocking queue took a second frame")
	case <-time.After(20 * time.Millisecond):
	}
	if j := <-q.jobs; j.number != 1 {
		t.Fatalf("frame %d came first", j.number)
	}
	if out := <-put; out != nil {
		t.Fatalf("frame %d was handed back though there was room", out.number)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := q.put(ctx, &job{number: 3}); out == nil || out.number != 3 {
		t.Fatalf("a frame that found no room before the end was lost: %v", out)
	}
}

func TestLedgerBalancesWhateverHappens(t *testing.T) {
	var g ledger
	fates := []fate{inferred, skippedMotion, skippedRate, skippedHeat, dropped, failed}
	for i := range 60 {
		if n := g.decoded(); n != uint64(i+1) {
			t.Fatalf("frame %d was numbered %d", i+1, n)
		}
		if l := g.snapshot(); !l.Balanced() || l.Pending != 1 {
			t.Fatalf("with a frame in hand: %+v", l)
		}
		g.settle(fates[i%len(fates)])
	}
	l := g.snapshot()
	if !l.Balanced() || l.Pending != 0 || l.Inferred != 10 || l.Skipped() != 30 || l.Dropped != 10 || l.Failed != 10 {
		t.Fatalf("after 60 frames, ten of each fate: %+v", l)
	}
}

func TestLimiterKeepsTheRate(t *testing.T) {
	for _, c := range []struct {
		name            string
		limit, heat     float64
		source          float64
		want            int // frames of 10 s
		wantRate, heat1 int
	}{
		{name: "no limit", source: 30, want: 300},
		{name: "10 of 30", limit: 10, source: 30, want: 100, wantRate: 200},
		{name: "limit above the source", limit: 60, source: 30, want: 300},
		{name: "heat below the limit", limit: 10, heat: 5, source: 30, want: 50, heat1: 250},
		{name: "7 of 25", limit: 7, source: 25, want: 70, wantRate: 180},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := limiter{configured: c.limit}
			if c.heat > 0 {
				l.throttle.Store(&throttle{fps: c.heat})
			}
			got := map[fate]int{}
			for n := range int(c.source * 10) {
				// Two milliseconds of jitter, to and fro.
				pts := time.Duration(float64(n)/c.source*float64(time.Second)) + time.Duration(n%3-1)*2*time.Millisecond
				_, why := l.admit(pts)
				got[why]++
			}
			near := func(a, b int) bool { return a-b <= 4 && b-a <= 4 }
			if !near(got[inferred], c.want) || !near(got[skippedRate], c.wantRate) || !near(got[skippedHeat], c.heat1) {
				t.Errorf("analysed %d, rate %d, heat %d; want about %d, %d, %d",
					got[inferred], got[skippedRate], got[skippedHeat], c.want, c.wantRate, c.heat1)
			}
		})
	}
}

func TestTimelineNeverGoesBack(t *testing.T) {
	l := timeline{begun: time.Now(), live: true}
	last := time.Duration(-1)
	// A camera whose clock starts anywhere, jumps back an hour, stands still,
	// and jumps on.
	for i, pts := range []time.Duration{time.Hour, time.Hour + 33*time.Millisecond, 0, 33 * time.Millisecond,
		33 * time.Millisecond, 66 * time.Millisecond, 48 * time.Hour, 48*time.Hour + time.Millisecond} {
		at := l.at(pts)
		if at <= last {
			t.Errorf("step %d: %v after %v", i, at, last)
		}
		if at > time.Minute {
			t.Errorf("step %d: %v is not this run's time", i, at)
		}
		last = at
	}
	file := timeline{}
	if a, b := file.at(5*time.Second), file.at(4*time.Second); a != 5*time.Second || b != 5*time.Second {
		t.Errorf("a file's times are kept, and do not go back: %v, %v", a, b)
	}
}

func TestFitKeepsTheAspect(t *testing.T) {
	for _, c := range [][5]int{
		{1920, 1080, 0, 1920, 1080}, {1920, 1080, 720, 1280, 720}, {161, 121, 0, 161, 121},
		{3840, 2160, 1080, 1920, 1080}, {2160, 3840, 1080, 608, 1080}, {640, 360, 720, 640, 360},
	} {
		if w, h := fit(c[0], c[1], c[2]); w != c[3] || h != c[4] {
			t.Errorf("fit(%d, %d, %d) = %d x %d, want %d x %d", c[0], c[1], c[2], w, h, c[3], c[4])
		}
	}
}

func TestFrameRateKeepsNTSC(t *testing.T) {
	for fps, want := range map[float64][2]int{
		30: {30000, 1000}, 29.97: {30000, 1001}, 23.976: {24000, 1001}, 25: {25000, 1000}, 59.94: {60000, 1001}, 0: {30, 1}, 12.5: {12500, 1000},
	} {
		if n, d := frameRate(fps); n != want[0] || d != want[1] {
			t.Errorf("frameRate(%v) = %d/%d, want %d/%d", fps, n, d, want[0], want[1])
		}
	}
}

// A decoder that puts B-frames in order hands a frame out hundreds of
// milliseconds after its capture: the picture still waits for its own boxes.
func TestPictureWaitsBehindADecoderThatReorders(t *testing.T) {
	p := &pictureStage{rate: &rateMeter{declared: 10}}
	now := monotonic()
	j := &job{captured: now - int64(300*time.Millisecond), entered: now, analysed: make(chan struct{})}
	time.AfterFunc(10*time.Millisecond, func() { close(j.analysed) })
	p.await(t.Context(), j)
	if !j.isAnalysed() {
		t.Error("the picture went on without its own boxes")
	}
	slow := &job{captured: now, entered: now, analysed: make(chan struct{})}
	began := time.Now()
	p.await(t.Context(), slow)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a picture waited %v for a model that does not answer", took)
	}
}
