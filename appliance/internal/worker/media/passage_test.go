package media

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/motion"
	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// ownScripted is scripted with pictures of its own: a keyframe every gop frames.
// What it has after refuseAt cannot be shown.
func ownScripted(fps, gop int, on func(time.Duration) bool, refuseAt time.Duration) read {
	frames := scripted(fps, on)
	return func(ctx context.Context, src plan.Source, h engine.Handlers) error {
		n, refused := 0, false
		frame := h.Frame
		h.Frame = func(f *engine.Frame) {
			if refuseAt > 0 && f.PTS > refuseAt && !refused {
				refused = true
				h.NoUnits("it has B-frames")
			}
			if !refused {
				// Pictures are numbered: which one goes out can be told.
				h.Unit(engine.Unit{PTS: f.PTS, Captured: f.Captured, Keyframe: n%gop == 0, Data: []byte{0, 0, 0, 1, 0x41, byte(n)}})
			}
			n++
			frame(f)
		}
		return frames(ctx, src, h)
	}
}

func client() link.Start {
	return link.Start{Mode: "live", Picture: link.Picture{Boxes: link.BoxesClient}}
}

// The source's own pictures go out whether or not anybody watches, for who joins
// needs those since the last keyframe; detections have their times, no encoder is
// started but for a player without H.264, and for the slate. After a slate the next
// picture is a keyframe, however far it is.
func TestOwnPictures(t *testing.T) {
	// It falls silent in the middle of a group, for as long as the machine takes to
	// show the slate.
	const silentFrom = 2500 * time.Millisecond
	var again atomic.Bool
	s := begin(t, client(), ownScripted(10, 20, func(at time.Duration) bool { return at < silentFrom || again.Load() }, 0))
	s.until("pictures without a viewer", 5*time.Second, func() bool { return len(s.units) > 10 && len(s.found) > 10 })
	if st := s.status[len(s.status)-1]; st.Boxes != link.BoxesClient || st.Encoder != "" || st.BoxesReason != "" {
		t.Errorf("status %+v", st)
	}
	s.send(link.KindWant, link.Want{H264: true})
	slates := func() (n int) {
		for _, u := range s.units {
			if u.Slate {
				n++
			}
		}
		return n
	}
	s.until("the slate", 6*time.Second, func() bool { return slates() > 2 })
	again.Store(true)
	s.until("pictures after it", 8*time.Second, func() bool { return slates() > 2 && s.units[len(s.units)-1].Own })
	s.until("the slate's encoder to be gone", 3*time.Second, func() bool { return s.status[len(s.status)-1].Encoder == "" })
	s.send(link.KindWant, link.Want{VP8: true})
	s.until("VP8 beside it", 5*time.Second, func() bool {
		return slices.ContainsFunc(s.units, func(u link.AccessUnit) bool { return u.Codec == link.VP8 && !u.Own })
	})
	s.send(link.KindStop, nil)
	if err := s.wait(3 * time.Second); err != nil {
		t.Fatal(err)
	}
	balanced(t, s.done.Ledger)
	times := map[time.Duration]bool{}
	var last link.AccessUnit
	for i, u := range s.since(0, link.H264) {
		times[u.PTS] = true
		if u.Own == u.Slate {
			t.Errorf("unit %d: own %v, slate %v", i, u.Own, u.Slate)
		}
		if i > 0 && (u.PTS <= last.PTS && !u.Slate || u.Own && !last.Own && !u.Keyframe || u.Own && last.Own && u.Data[5] != last.Data[5]+1) {
			t.Errorf("unit %d of %v, own %v, follows one of %v, own %v", i, u.PTS, u.Own, last.PTS, last.Own)
		}
		last = u
	}
	missing := 0
	for _, d := range s.found {
		if !times[d.PTS] {
			missing++ // frames between a slate and the next keyframe
		}
	}
	if missing > 20 || missing == len(s.found) {
		t.Errorf("%d of %d detections have no picture", missing, len(s.found))
	}
}

// A source that turns out to be of no use to players is encoded from there on.
func TestOwnPicturesGivenUp(t *testing.T) {
	s := begin(t, client(), ownScripted(10, 20, func(time.Duration) bool { return true }, time.Second))
	s.send(link.KindWant, link.Want{H264: true})
	s.until("own pictures", 3*time.Second, func() bool { return len(s.units) > 3 && s.units[len(s.units)-1].Own })
	s.until("drawn ones", 5*time.Second, func() bool { return !s.units[len(s.units)-1].Own && !s.units[len(s.units)-1].Slate })
	for i, u := range s.since(0, link.H264) {
		if i > 0 && !u.Own && !u.Slate && s.units[i-1].Own && !u.Keyframe {
			t.Errorf("the first drawn picture is no keyframe")
		}
	}
	st := s.status[len(s.status)-1]
	if st.Boxes != link.BoxesBurned || !strings.Contains(st.BoxesReason, "B-frames") || st.Encoder == "" {
		t.Errorf("status %+v", st)
	}
}

// passageOf is a passage without a worker.
func passageOf() (*passage, *[]string) {
	var reasons []string
	p := &passage{out: &renditions{}, send: func(link.AccessUnit) error { return nil }, ledger: &ledger{}, waiting: true,
		line: timeline{begun: time.Now(), live: true}, report: func(_, reason string) { reasons = append(reasons, reason) }}
	return p, &reasons
}

func TestPassageRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		times []time.Duration
		want  string
	}{
		"in order":             {[]time.Duration{0, 40, 80, 120}, ""},
		"reordered":            {[]time.Duration{0, 120, 40, 80}, "another order"},
		"a clock that was set": {[]time.Duration{9000, 9040, 0, 40}, ""},
	} {
		p, reasons := passageOf()
		for i, at := range tc.times {
			p.unit(engine.Unit{PTS: at * time.Millisecond, Keyframe: i == 0, Data: []byte{1}})
		}
		got := strings.Join(*reasons, "")
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) || p.out.own.Load() != (tc.want == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
	p, reasons := passageOf()
	p.line.live = false // its times need not keep to the clock
	for i := range 62 {
		p.unit(engine.Unit{PTS: time.Duration(i) * time.Second, Keyframe: i == 0, Data: []byte{1}})
	}
	if got := strings.Join(*reasons, ""); !strings.Contains(got, "more than a minute apart") {
		t.Errorf("no keyframe for a minute: %q", got)
	}
}

// Viewers get nothing after a gap up to the next keyframe, but for a keyframe that
// is whole itself; the times of what is left out are kept for its boxes.
func TestPassageGap(t *testing.T) {
	p, _ := passageOf()
	var sent []byte
	p.send = func(u link.AccessUnit) error { sent = append(sent, u.Data...); return nil }
	const key, gap = 1, 2
	for i, what := range []int{key, 0, 0, gap, 0, key, 0, key | gap, 0, gap, gap, key} {
		p.unit(engine.Unit{PTS: time.Duration(i) * time.Millisecond, Keyframe: what&key != 0, Gap: what&gap != 0, Data: []byte{byte(i)}})
	}
	if want := []byte{0, 1, 2, 5, 6, 7, 8, 11}; !slices.Equal(sent, want) {
		t.Errorf("units %v went out, want %v", sent, want)
	}
	if l := p.ledger.snapshot(); l.PicturesSent != 8 || l.PicturesLate != 4 {
		t.Errorf("%+v", l)
	}
	if p.n != 12 {
		t.Errorf("%d times were noted", p.n)
	}
}

// A frame has the time of the unit that it was, also when it is decoded again.
func TestPassageTimes(t *testing.T) {
	p, _ := passageOf()
	var sent []time.Duration
	p.send = func(u link.AccessUnit) error { sent = append(sent, u.PTS); return nil }
	for i := range 600 {
		p.unit(engine.Unit{PTS: time.Duration(i) * time.Millisecond, Keyframe: i == 0, Data: []byte{1}})
	}
	for _, i := range []int{599, 100, 300} {
		if got := p.at(time.Duration(i) * time.Millisecond); got != sent[i] {
			t.Errorf("frame %d is at %v, its unit at %v", i, got, sent[i])
		}
	}
}

// While the motion gate spares the model, who draws the boxes is told again and
// again that they hold; else they would pass for stale.
func TestGatedBoxesAreToldAgain(t *testing.T) {
	for _, own := range []bool{false, true} {
		tracker, err := track.New(track.Config{})
		if err != nil {
			t.Fatal(err)
		}
		still, err := motion.New(motion.Config{})
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		r := &road{
			read: drawn(90), ledger: &ledger{}, limiter: &limiter{}, rate: &rateMeter{},
			analysis: &analysis{detector: &brittle{good: 90}, gate: true, motion: still, scaler: engine.NewScaler(), tracker: tracker},
			analyse:  newQueue(fileDepth, false), log: slog.New(slog.DiscardHandler),
			onInfo:     func(engine.Info) error { return nil },
			onAnalysed: func(*job, int, int, []vision.Track) error { told++; return nil },
		}
		if own {
			r.own, _ = passageOf()
			r.own.line.live = false
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.analysis.close()
		l := r.ledger.snapshot()
		balanced(t, l)
		again := told - int(l.Inferred)
		// Three seconds, less what the gate takes to learn that nothing moves.
		if l.SkippedMotion < 60 || own && (again < 7 || again > 12) || !own && again != 0 {
			t.Errorf("own pictures %v: told again %d times, %+v", own, again, l)
		}
	}
}
