package track

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

func TestCrossingObjectsKeepTheirIDs(t *testing.T) {
	for _, fps := range []float64{30, 15, 8} {
		tr := newTracker(t, Config{})
		rng := rand.New(rand.NewPCG(3, uint64(fps)))
		var left, right int
		for n := 0; n < int(8*fps); n++ {
			s := float64(n) / fps
			a, b := at(100+130*s, 360, 70, 180), at(1180-130*s, 385, 75, 190)
			dets := []vision.Detection{person(jitter(rng, a, 0.02), 0.9), person(jitter(rng, b, 0.02), 0.8)}
			if a.IoU(b) > 0.45 { // the one behind is not detected
				dets = dets[1:]
			}
			tracks := tr.Update(time.Duration(s*float64(time.Second)), dets)
			sound(t, tr, tracks)
			if n == int(fps) {
				left, right = follow(tracks, a), follow(tracks, b)
			}
			if n == int(7.5*fps) {
				if l, r := follow(tracks, a), follow(tracks, b); l != left || r != right || l == r || l == 0 {
					t.Errorf("%v fps: ids before (%d, %d), after (%d, %d)", fps, left, right, l, r)
				}
			}
		}
		if tr.lastID != 2 {
			t.Errorf("%v fps: %d ids for two objects", fps, tr.lastID)
		}
	}
}

func TestOcclusionKeepsTheIDAndTheBoxIsHiddenMeanwhile(t *testing.T) {
	tr := newTracker(t, Config{})
	box := func(pts time.Duration) vision.Box { return at(200+150*pts.Seconds(), 400, 80, 200) }
	for pts := time.Duration(0); pts < 5*time.Second; pts += 40 * ms {
		hidden := pts > 2*time.Second && pts < 3*time.Second
		var dets []vision.Detection
		if !hidden {
			dets = append(dets, person(box(pts), 0.9))
		}
		tr.Update(pts, dets)
		shown := tr.At(pts)
		switch {
		case !hidden && (len(shown) != 1 || shown[0].ID != 1):
			t.Fatalf("at %v: %+v", pts, shown)
		case pts > 2500*ms && hidden && len(shown) != 0:
			t.Fatalf("at %v: still shown, %v after its last support", pts, pts-shown[0].Seen)
		}
	}
}

func TestWeakScoresContinueButDoNotStart(t *testing.T) {
	tr := newTracker(t, Config{High: 0.5, Low: 0.1})
	for n := range 60 {
		pts := time.Duration(n) * 40 * ms
		score := float32(0.8)
		if n >= 20 && n < 50 {
			score = 0.2
		}
		tracks := tr.Update(pts, []vision.Detection{
			person(at(300+3*float64(n), 300, 60, 150), score),
			person(at(900, 300, 60, 150), 0.3), // never good enough
		})
		if n > 0 && (len(tracks) != 1 || tracks[0].ID != 1 || tracks[0].Score != 0.8) {
			t.Fatalf("frame %d: %+v", n, tracks)
		}
	}
}

func TestVariableAndMissingFrames(t *testing.T) {
	tr := newTracker(t, Config{})
	rng := rand.New(rand.NewPCG(5, 5))
	pts := time.Duration(0)
	for range 400 {
		// 5 to 200 ms, and now and then a gap of most of a second.
		pts += time.Duration(5+rng.IntN(195)) * ms
		if rng.IntN(20) == 0 {
			pts += 600 * ms
		}
		s := pts.Seconds()
		a := at(640+400*math.Sin(s/2), 300, 90, 200)
		tracks := tr.Update(pts, []vision.Detection{person(jitter(rng, a, 0.02), 0.9)})
		if id := follow(tracks, a); s > 1 && id != 1 {
			t.Fatalf("at %v: id %d, tracks %+v", pts, id, tracks)
		}
	}
}

func TestFastSmallObjectsAtALowRate(t *testing.T) {
	// At five frames a second these move by more than their width.
	tr := newTracker(t, Config{})
	for n := range 30 {
		s := float64(n) / 5
		var dets []vision.Detection
		for lane := range 4 {
			dets = append(dets, person(at(50+180*s, 100+150*float64(lane), 30, 60), 0.9))
		}
		tr.Update(time.Duration(s*float64(time.Second)), dets)
	}
	if tr.lastID != 4 {
		t.Errorf("%d ids for four objects", tr.lastID)
	}
}

func TestClassFlickerKeepsTheTrackAndItsClass(t *testing.T) {
	tr := newTracker(t, Config{})
	car := func(n int) vision.Detection {
		d := vision.Detection{Box: at(200+5*float64(n), 400, 200, 100), Class: 2, Label: "car", Score: 0.8}
		if n%7 == 5 {
			d.Class, d.Label = 7, "truck"
		}
		return d
	}
	for n := range 60 {
		tracks := tr.Update(time.Duration(n)*40*ms, []vision.Detection{car(n)})
		if n > 0 && (len(tracks) != 1 || tracks[0].ID != 1 || tracks[0].Class != 2 || tracks[0].Label != "car") {
			t.Fatalf("frame %d: %+v", n, tracks)
		}
	}
	// One that changes for good is renamed, still with its id.
	for n := 60; n < 100; n++ {
		d := car(n)
		d.Class, d.Label = 7, "truck"
		tr.Update(time.Duration(n)*40*ms, []vision.Detection{d})
	}
	if got := tr.At(99 * 40 * ms); len(got) != 1 || got[0].ID != 1 || got[0].Label != "truck" {
		t.Errorf("after the change: %+v", got)
	}
}

func TestOverlappingClassesStayApart(t *testing.T) {
	// A rider and the bicycle overlap by half: two things all the same.
	tr := newTracker(t, Config{})
	for n := range 50 {
		x := 200 + 6*float64(n)
		tracks := tr.Update(time.Duration(n)*40*ms, []vision.Detection{
			person(at(x, 300, 80, 200), 0.9),
			{Box: at(x, 350, 120, 120), Class: 1, Label: "bicycle", Score: 0.7},
		})
		if n > 0 && (len(tracks) != 2 || tracks[0].Class != 0 || tracks[1].Class != 1 || tr.lastID != 2) {
			t.Fatalf("frame %d: %+v", n, tracks)
		}
	}
}

func TestASingleFalseDetectionGetsNoID(t *testing.T) {
	tr := newTracker(t, Config{})
	tr.Update(0, nil)
	for n := 1; n < 30; n++ {
		var dets []vision.Detection
		if n%3 == 0 {
			dets = append(dets, person(at(100+30*float64(n), 300, 60, 150), 0.9))
		}
		tr.Update(time.Duration(n)*40*ms, dets)
	}
	if tr.lastID != 0 {
		t.Errorf("%d ids were given", tr.lastID)
	}
}

func TestGoingBackStartsAnewAndIDsGoOn(t *testing.T) {
	tr := newTracker(t, Config{})
	box := at(300, 300, 60, 150)
	tr.Update(10*time.Second, []vision.Detection{person(box, 0.9)})
	if got := tr.Update(10*time.Second-30*ms, []vision.Detection{person(box, 0.9)}); len(got) != 1 || got[0].ID != 1 {
		t.Fatalf("a step of a frame back: %+v", got)
	}
	if got := tr.At(100 * ms); len(got) != 0 {
		t.Fatalf("shown on a frame ten seconds before: %+v", got)
	}
	got := tr.Update(0, []vision.Detection{person(box, 0.9)})
	if len(got) != 1 || got[0].ID != 2 || got[0].Since != 0 {
		t.Fatalf("after the loop: %+v", got)
	}
}

func TestKeepHoldsWhatDoesNotMove(t *testing.T) {
	tr := newTracker(t, Config{})
	box := at(300, 300, 60, 150)
	pts := time.Duration(0)
	for ; pts < time.Second; pts += 40 * ms {
		tr.Update(pts, []vision.Detection{person(box, 0.9)})
	}
	for ; pts < 20*time.Second; pts += 40 * ms {
		tr.Keep(pts)
	}
	if got := tr.At(pts); len(got) != 1 || got[0].ID != 1 || got[0].IoU(box) < 0.9 {
		t.Fatalf("after 19 s without motion: %+v", got)
	}
	if got := tr.Update(pts, []vision.Detection{person(box, 0.9)}); len(got) != 1 || got[0].ID != 1 {
		t.Fatalf("analysed again: %+v", got)
	}
}

func TestRareUpdatesDoNotBlink(t *testing.T) {
	tr := newTracker(t, Config{})
	for n := range 12 {
		at0 := time.Duration(n) * 500 * ms // two frames a second
		tr.Update(at0, []vision.Detection{person(at(300+20*float64(n), 300, 90, 200), 0.9)})
		for d := time.Duration(0); n > 2 && d < 500*ms; d += 40 * ms {
			if len(tr.At(at0+d)) != 1 {
				t.Fatalf("update %d: gone %v later", n, d)
			}
		}
	}
}

func TestFrameSizeChangeScalesTracks(t *testing.T) {
	tr := newTracker(t, Config{})
	for n := range 10 {
		tr.Update(time.Duration(n)*40*ms, []vision.Detection{person(at(400, 300, 60, 150), 0.9)})
	}
	tr.SetFrame(640, 360)
	got := tr.Update(400*ms, []vision.Detection{person(at(200, 150, 30, 75), 0.9)})
	if len(got) != 1 || got[0].ID != 1 || got[0].IoU(at(200, 150, 30, 75)) < 0.9 {
		t.Errorf("%+v", got)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []Config{{High: 2}, {High: nan}, {High: 0.3, Low: 0.5}, {Low: nan}, {Confirm: -1}, {Lost: -1}, {Hold: -1}, {MaxObjects: -1}, {MaxObjects: 1 << 20}, {Width: -1}} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestMovedBoxesAreNearer is the reason for At: on the frame after the one that
// was analysed, moved boxes lie better than those of the analysis.
func TestMovedBoxesAreNearer(t *testing.T) {
	for _, ahead := range []time.Duration{33 * ms, 66 * ms, 120 * ms} {
		tr := newTracker(t, Config{})
		rng := rand.New(rand.NewPCG(11, 7))
		world := func(pts time.Duration) []vision.Box {
			s := pts.Seconds()
			return []vision.Box{
				at(640+450*math.Sin(s*0.9), 200, 70, 170),             // turns back and forth
				at(640+300*math.Cos(s), 430+150*math.Sin(s), 60, 150), // in circles
				at(100+120*s, 600, 110, 60),                           // straight
				at(1100, 300+10*math.Sin(s), 60, 150),                 // stands
			}
		}
		var moved, still float64
		n := 0
		for pts := time.Duration(0); pts < 9*time.Second; pts += 66 * ms {
			var dets []vision.Detection
			for _, b := range world(pts) {
				dets = append(dets, person(jitter(rng, b, 0.02), 0.9))
			}
			now := tr.Update(pts, dets)
			if pts < time.Second {
				continue
			}
			later := tr.At(pts + ahead)
			for _, truth := range world(pts + ahead) {
				moved += nearest(later, truth)
				still += nearest(now, truth)
				n++
			}
		}
		moved, still = moved/float64(n), still/float64(n)
		t.Logf("%v ahead: mean IoU %.3f moved, %.3f not moved", ahead, moved, still)
		if moved <= still {
			t.Errorf("%v ahead: moving boxes makes them worse: %.3f < %.3f", ahead, moved, still)
		}
	}
}

func nearest(tracks []vision.Track, truth vision.Box) float64 {
	best := float32(0)
	for _, k := range tracks {
		best = max(best, k.IoU(truth))
	}
	return float64(best)
}

func TestAnythingGoesIn(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, -1e30, 1e30, 1e6, -5}
	num := func() float32 {
		if rng.IntN(12) == 0 {
			return odd[rng.IntN(len(odd))]
		}
		return rng.Float32()*1600 - 100
	}
	for range 30 {
		tr := newTracker(t, Config{MaxObjects: 1 + rng.IntN(60), Confirm: 1 + rng.IntN(3)})
		var pts time.Duration
		top := 0
		for range 80 {
			pts += time.Duration(rng.IntN(400)-40) * ms
			if rng.IntN(30) == 0 {
				pts = time.Duration(rng.IntN(5)) * time.Hour
			}
			dets := make([]vision.Detection, rng.IntN(90))
			for i := range dets {
				x, y := num(), num()
				dets[i] = vision.Detection{Box: vision.Box{X0: x, Y0: y, X1: x + num()/4, Y1: y + num()/4},
					Class: rng.IntN(7), Label: "thing", Score: rng.Float32() * 1.2}
				if rng.IntN(20) == 0 {
					dets[i].Score = num()
				}
			}
			if rng.IntN(10) == 0 {
				tr.Keep(pts)
			}
			sound(t, tr, tr.Update(pts, dets))
			consistent(t, tr)
			if tr.lastID < top {
				t.Fatal("ids went back")
			}
			top = tr.lastID
		}
	}
}

func TestAtWhileUpdating(t *testing.T) {
	tr := newTracker(t, Config{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		var buf []vision.Track
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				buf = tr.AppendAt(buf[:0], time.Duration(n%200)*10*ms)
			}
		}
	})
	for n := range 200 {
		tr.Update(time.Duration(n)*10*ms, []vision.Detection{person(at(300+float64(n), 300, 60, 150), 0.9)})
		tr.SetFrame(1280+n%2, 720)
	}
	close(stop)
	wg.Wait()
}

func TestNoGarbageWhileRunning(t *testing.T) {
	tr := newTracker(t, Config{})
	dets := make([]vision.Detection, 50)
	for i := range dets {
		dets[i] = person(at(60+float64(i%10)*120, 60+float64(i/10)*130, 50, 100), 0.9)
	}
	pts, buf := time.Duration(0), []vision.Track(nil)
	step := func() {
		pts += 40 * ms
		tr.Update(pts, dets)
		buf = tr.AppendAt(buf[:0], pts+33*ms)
	}
	step()
	// What is left is the result of Update itself.
	if n := testing.AllocsPerRun(100, step); n > 8 {
		t.Errorf("%v allocations per frame", n)
	}
}

func benchmark(b *testing.B, n int, spread float64) {
	tr := newTracker(b, Config{Width: 3840, Height: 2160, MaxObjects: 512})
	rng := rand.New(rand.NewPCG(1, 1))
	dets := make([]vision.Detection, n)
	pts := time.Duration(0)
	for b.Loop() {
		pts += 33 * ms
		for i := range dets {
			x, y := float64(i%25)*spread+100, float64(i/25)*spread/2+100
			dets[i] = person(jitter(rng, at(x+20*math.Sin(pts.Seconds()), y, 60, 120), 0.02), 0.9)
		}
		tr.Update(pts, dets)
	}
}

func BenchmarkUpdate20(b *testing.B)  { benchmark(b, 20, 140) }
func BenchmarkUpdate500(b *testing.B) { benchmark(b, 500, 140) }

// A crowd in which every box overlaps dozens of others.
func BenchmarkUpdate500Crowd(b *testing.B) { benchmark(b, 500, 12) }
