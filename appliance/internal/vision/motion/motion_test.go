package motion

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

const ms = time.Millisecond

// stage is a synthetic view: a fixed textured wall, things on it, light, noise.
type stage struct {
	w, h, stride int
	gain, offset float64
	noise        float64
	things       []vision.Box
	rng          *rand.Rand
	wall         []float64
	luma         []byte
}

func newStage(w, h int) *stage {
	s := &stage{w: w, h: h, stride: w + 13, gain: 1, noise: 4,
		rng: rand.New(rand.NewPCG(4, uint64(w))), luma: make([]byte, (w+13)*h)}
	for y := range h {
		for x := range w {
			s.wall = append(s.wall, 70+40*math.Sin(float64(x)/37)*math.Cos(float64(y)/23)+float64(x*30/w))
		}
	}
	return s
}

func (s *stage) paint() []byte {
	// The noise is the same few thousand values, from another place each row.
	var grain [4096]float64
	for i := range grain {
		grain[i] = s.rng.NormFloat64() * s.noise
	}
	for y := range s.h {
		row, wall, from := s.luma[y*s.stride:], s.wall[y*s.w:], s.rng.IntN(4096)
		for x := range s.w {
			v := wall[x]
			for _, b := range s.things {
				if float32(x) >= b.X0 && float32(x) < b.X1 && float32(y) >= b.Y0 && float32(y) < b.Y1 {
					v += 70
				}
			}
			v = v*s.gain + s.offset + grain[(x+from)&4095]
			row[x] = byte(min(max(v, 0), 255))
		}
	}
	return s.luma
}

func newModel(t testing.TB, cfg Config) *Model {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consistent(t, m) })
	return m
}

// consistent checks what must hold between two frames.
func consistent(t testing.TB, m *Model) {
	t.Helper()
	for i, v := range m.vari {
		if f := float64(v); math.IsNaN(f) || v < 0 || v > 1e5 || m.mean[i] < -1 || m.mean[i] > 256 {
			t.Fatalf("cell %d: mean %v, variance %v", i, m.mean[i], v)
		}
	}
}

func (s *stage) show(t testing.TB, m *Model, pts time.Duration) Result {
	t.Helper()
	r := m.Update(s.paint(), s.stride, s.w, s.h, pts)
	if len(r.Regions) != len(r.Strength) || r.Fraction < 0 || r.Fraction > 1 || (len(r.Regions) > 0 && !r.Moving) {
		t.Fatalf("inconsistent result %+v", r)
	}
	for _, b := range r.Regions {
		if b.Area() <= 0 || b != b.Clip(float32(s.w), float32(s.h)) {
			t.Fatalf("region %v in a %dx%d frame", b, s.w, s.h)
		}
	}
	return r
}

// settle shows the stage as it is for a while.
func (s *stage) settle(t testing.TB, m *Model, from, until, step time.Duration) {
	t.Helper()
	for ; from < until; from += step {
		if r := s.show(t, m, from); len(r.Regions) != 0 {
			t.Fatalf("at %v: motion in a still view: %+v", from, r)
		}
	}
}

func TestNoiseIsNotMotion(t *testing.T) {
	for _, noise := range []float64{0, 4, 12, 25} {
		s, m := newStage(640, 360), newModel(t, Config{})
		s.noise = noise
		s.settle(t, m, 0, 4*time.Second, 40*ms)
	}
}

func TestMovingThingIsFoundAtAnyRate(t *testing.T) {
	for _, step := range []time.Duration{33 * ms, 100 * ms, 400 * ms} {
		for _, size := range [][2]int{{1280, 720}, {641, 359}, {161, 121}} {
			s, m := newStage(size[0], size[1]), newModel(t, Config{})
			s.settle(t, m, 0, time.Second, step)
			found, shown := 0, 0
			w, h := float32(s.w), float32(s.h)
			for pts := time.Second; pts < 4*time.Second; pts += step {
				x := w * float32(0.1+0.2*(pts.Seconds()-1))
				s.things = []vision.Box{{X0: x, Y0: 0.3 * h, X1: x + 0.08*w, Y1: 0.75 * h}}
				r := s.show(t, m, pts)
				shown++
				if len(r.Regions) == 1 && r.Regions[0].IoU(s.things[0]) > 0.6 {
					found++
				}
			}
			if found < shown*9/10 {
				t.Errorf("%v at %v: found in %d of %d frames", size, step, found, shown)
			}
		}
	}
}

func TestFirstFrameNeverMoves(t *testing.T) {
	s, m := newStage(640, 360), newModel(t, Config{})
	s.things = []vision.Box{{X0: 100, Y0: 100, X1: 300, Y1: 300}}
	if r := s.show(t, m, 0); r.Moving || r.Fraction != 0 || len(r.Regions) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestLightIsNotMotion(t *testing.T) {
	for name, change := range map[string]func(*stage){
		"lamp":     func(s *stage) { s.offset = 45 },
		"exposure": func(s *stage) { s.gain = 1.6 },
		"dark":     func(s *stage) { s.gain, s.offset = 0.4, 10 },
		"infrared": func(s *stage) { s.gain, s.offset = -0.9, 190 }, // no gain explains that
	} {
		s, m := newStage(640, 360), newModel(t, Config{})
		s.settle(t, m, 0, 2*time.Second, 40*ms)
		change(s)
		if r := s.show(t, m, 2*time.Second); !r.Light || r.Moving {
			t.Errorf("%s: light %v, regions %v", name, r.Light, r.Regions)
		}
		s.settle(t, m, 2040*ms, 4*time.Second, 40*ms)
	}
}

func TestExposureRampIsNotMotion(t *testing.T) {
	s, m := newStage(640, 360), newModel(t, Config{})
	s.settle(t, m, 0, time.Second, 40*ms)
	for n := range 25 { // a camera settles its exposure within a second
		s.gain = 1 - 0.5*float64(n)/25
		if r := s.show(t, m, time.Second+time.Duration(n)*40*ms); r.Moving {
			t.Fatalf("step %d: %+v", n, r)
		}
	}
}

func TestSlowDriftIsNotMotion(t *testing.T) {
	s, m := newStage(320, 180), newModel(t, Config{})
	for pts := time.Duration(0); pts < 60*time.Second; pts += 200 * ms {
		s.offset = 40 * math.Sin(pts.Seconds()/20) // dusk in a minute
		if r := s.show(t, m, pts); r.Moving {
			t.Fatalf("at %v: %+v", pts, r)
		}
	}
}

func TestThingIsFoundWhileTheLightChanges(t *testing.T) {
	s, m := newStage(640, 360), newModel(t, Config{})
	s.settle(t, m, 0, 2*time.Second, 40*ms)
	s.gain, s.offset = 1.3, 5
	s.things = []vision.Box{{X0: 200, Y0: 80, X1: 280, Y1: 280}}
	r := s.show(t, m, 2*time.Second)
	if !r.Light || len(r.Regions) != 1 || r.Regions[0].IoU(s.things[0]) < 0.6 {
		t.Errorf("%+v", r)
	}
}

func TestStoppedThingIsAbsorbedAndItsGoingIsSeen(t *testing.T) {
	s, m := newStage(640, 360), newModel(t, Config{Absorb: 5 * time.Second, Hold: time.Second})
	s.settle(t, m, 0, 2*time.Second, 100*ms)
	s.things = []vision.Box{{X0: 200, Y0: 80, X1: 280, Y1: 280}}
	for pts := 2 * time.Second; pts < 12*time.Second; pts += 100 * ms {
		r := s.show(t, m, pts)
		if stood := pts - 2*time.Second; stood < 4800*ms && len(r.Regions) != 1 {
			t.Fatalf("gone after standing for %v", stood)
		} else if stood > 6300*ms && r.Moving {
			t.Fatalf("still motion after standing for %v", stood)
		}
	}
	s.things = nil
	if r := s.show(t, m, 12*time.Second); len(r.Regions) != 1 {
		t.Errorf("it left unseen: %+v", r)
	}
}

func TestPlaceThatAThingHasLeftIsSoonBackground(t *testing.T) {
	s, m := newStage(640, 360), newModel(t, Config{})
	s.things = []vision.Box{{X0: 200, Y0: 80, X1: 280, Y1: 280}} // there from the start
	s.settle(t, m, 0, 2*time.Second, 100*ms)
	s.things = nil
	for pts := 2 * time.Second; pts < 6*time.Second; pts += 100 * ms {
		if r := s.show(t, m, pts); (len(r.Regions) != 0) != (pts < 3100*ms) {
			t.Fatalf("%v after it left: %+v", pts-2*time.Second, r)
		}
	}
}

func TestGateHolds(t *testing.T) {
	s, m := newStage(320, 180), newModel(t, Config{Hold: time.Second})
	s.settle(t, m, 0, 2*time.Second, 100*ms)
	s.things = []vision.Box{{X0: 100, Y0: 40, X1: 140, Y1: 140}}
	s.show(t, m, 2*time.Second)
	s.things = nil
	for pts := 2100 * ms; pts < 4*time.Second; pts += 100 * ms {
		if r := s.show(t, m, pts); r.Moving != (pts <= 3*time.Second) {
			t.Fatalf("at %v, last motion at 2s: moving %v", pts, r.Moving)
		}
	}
}

func TestResolutionChangeStartsAnew(t *testing.T) {
	m := newModel(t, Config{})
	a, b := newStage(640, 360), newStage(352, 288)
	a.settle(t, m, 0, time.Second, 40*ms)
	b.settle(t, m, time.Second, 2*time.Second, 40*ms)
	a.settle(t, m, 2*time.Second, 3*time.Second, 40*ms)
}

func TestLoopBackInTime(t *testing.T) {
	s, m := newStage(320, 180), newModel(t, Config{Hold: time.Second})
	s.settle(t, m, 10*time.Second, 11*time.Second, 40*ms)
	s.things = []vision.Box{{X0: 100, Y0: 40, X1: 140, Y1: 140}}
	s.show(t, m, 11*time.Second)
	s.things = nil
	for pts := time.Duration(0); pts < 2*time.Second; pts += 40 * ms {
		if r := s.show(t, m, pts); pts > 1100*ms && r.Moving {
			t.Fatalf("gate open %v after the loop", pts)
		}
	}
}

func TestSeveralThingsStayApart(t *testing.T) {
	s, m := newStage(1280, 720), newModel(t, Config{})
	s.settle(t, m, 0, 500*ms, 40*ms)
	s.things = []vision.Box{{X0: 100, Y0: 300, X1: 160, Y1: 480}, {X0: 240, Y0: 300, X1: 300, Y1: 480}, {X0: 900, Y0: 100, X1: 1100, Y1: 200}}
	r := s.show(t, m, time.Second)
	if len(r.Regions) != 3 {
		t.Fatalf("%+v", r)
	}
	for _, want := range s.things {
		best := float32(0)
		for _, b := range r.Regions {
			best = max(best, b.IoU(want))
		}
		if best < 0.7 {
			t.Errorf("%v: best IoU %v", want, best)
		}
	}
	ds := Detections(r)
	for _, d := range ds {
		if d.Label != "motion" || d.Class != 0 || d.Score < 0.5 || d.Score > 1 {
			t.Errorf("%+v", d)
		}
	}
}

func TestShrinkIsTheMean(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, size := range [][2]int{{1, 1}, {7, 5}, {161, 121}, {320, 240}, {641, 359}, {1277, 717}, {1280, 720}, {1080, 1920}} {
		w, h := size[0], size[1]
		luma := make([]byte, w*h)
		for i := range luma {
			luma[i] = byte(rng.UintN(256))
		}
		g := newGrid(w, h)
		g.shrink(luma, w)
		for cy := range g.rows {
			for cx := range g.cols {
				have := min(g.size, h-cy*g.size)
				take := min(have, maxRows)
				sum, n := 0.0, 0.0
				for k := range take {
					for x := cx * g.size; x < min((cx+1)*g.size, w); x++ {
						sum += float64(luma[(cy*g.size+k*have/take)*w+x])
						n++
					}
				}
				if got := float64(g.cells[cy*g.cols+cx]); math.Abs(got-sum/n) > 0.01 {
					t.Fatalf("%v cell %d,%d: %v, want %v", size, cx, cy, got, sum/n)
				}
			}
		}
	}
}

func TestPlanesThatDoNotFit(t *testing.T) {
	m := newModel(t, Config{})
	for _, c := range []struct{ n, stride, w, h int }{{0, 0, 0, 0}, {10, 4, 4, 4}, {100, 2, 4, 4}, {100, 10, -1, 5}, {15, 4, 4, 4}, {16, 4, 4, 4}, {1, 1, 1, 1}, {6, 2, 2, 3}} {
		m.Update(make([]byte, c.n), c.stride, c.w, c.h, 0)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for _, c := range []Config{{Sensitivity: -1}, {Sensitivity: math.NaN()}, {MinArea: 2}, {Adapt: -1}, {Absorb: -1}, {Hold: -1}, {MaxRegions: -1}} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func benchmark(b *testing.B, w, h int, moving bool) {
	s, m := newStage(w, h), newModel(b, Config{})
	still := append([]byte(nil), s.paint()...)
	s.things = []vision.Box{{X0: float32(w / 5), Y0: float32(h / 4), X1: float32(w / 3), Y1: float32(h / 2)}}
	other := append([]byte(nil), s.paint()...)
	if !moving {
		other = still
	}
	m.Update(still, s.stride, w, h, 0)
	pts := time.Duration(0)
	for b.Loop() {
		pts += 33 * ms
		m.Update(other, s.stride, w, h, pts)
		other, still = still, other
	}
}

func Benchmark720pStill(b *testing.B)   { benchmark(b, 1280, 720, false) }
func Benchmark720pMoving(b *testing.B)  { benchmark(b, 1280, 720, true) }
func Benchmark1080pMoving(b *testing.B) { benchmark(b, 1920, 1080, true) }
func Benchmark4KMoving(b *testing.B)    { benchmark(b, 3840, 2160, true) }

// TestFlickerIsLearnt: leaves, a shaking fence. What comes and goes all the time
// in the same place must not stay motion, nor hide what moves elsewhere.
func TestFlickerIsLearnt(t *testing.T) {
	s, m := newStage(320, 180), newModel(t, Config{})
	leaf := func(n int) []vision.Box {
		x := float32(50 + n*n*7%5*6)
		return []vision.Box{{X0: x, Y0: 50, X1: x + 24, Y1: 74}, {X0: x + 40, Y0: 70, X1: x + 60, Y1: 90}}
	}
	early, late, found := 0, 0, 0
	const frames = 900
	for n := range frames {
		s.things = leaf(n)
		s.gain = 0.45 // of little contrast, as leaves at dusk
		car := vision.Box{X0: float32(175 + n%100), Y0: 100, X1: float32(215 + n%100), Y1: 130}
		if n >= frames-50 {
			s.things = append(s.things, car)
		}
		r := s.show(t, m, time.Duration(n)*40*ms)
		for _, b := range r.Regions {
			switch {
			case b.IoU(car) > 0.6 && n >= frames-50:
				found++
			case n < 100:
				early++
			case n >= frames-100:
				late++
			}
		}
	}
	t.Logf("%d regions of flicker in the first 100 frames, %d in the last; car found in %d of 50", early, late, found)
	// 20 without the variance of moving cells being learnt.
	if late > 0 || early > 14 {
		t.Errorf("%d regions of flicker in the first 100 frames, still %d in the last", early, late)
	}
	if found < 45 {
		t.Errorf("the car was found in %d of 50 frames", found)
	}
}
