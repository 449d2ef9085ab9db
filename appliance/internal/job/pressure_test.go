package job

import (
	"strings"
	"testing"
	"time"
)

// stage is a camera of 30 frames a second, on a clock of its own, that loses a
// share of them with jobs at work and a share without.
type stage struct {
	g            *gauge
	now          time.Time
	camera       Camera
	idle, busy   float64 // shares lost
	undecoded    bool    // lost before they are decoded
	flips        int
	worked       time.Duration
	pressed      Pressed
	longestRest  time.Duration
	restingSince time.Time
}

func newStage(idle, busy float64) *stage {
	return &stage{
		g: newGauge(PressureConfig{}.withDefaults()), now: time.Unix(1e9, 0), idle: idle, busy: busy,
		camera: Camera{ID: "yard", Playing: true, FPS: 30},
	}
}

// run lets time pass, a look a second; jobs: there are some, which work unless
// they rest.
func (s *stage) run(d time.Duration, jobs bool) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(time.Second)
		working := jobs && !s.pressed.On
		share := s.idle
		if working {
			share = s.busy
			s.worked += time.Second
		}
		lost := uint64(30*share + 0.5)
		if s.undecoded {
			s.camera.Decoded += 30 - lost
		} else {
			s.camera.Decoded += 30
			s.camera.Dropped += lost
		}
		p := s.g.sample(s.now, []Camera{s.camera}, working)
		if p.On != s.pressed.On {
			s.flips++
			if p.On {
				s.restingSince = s.now
			} else {
				s.longestRest = max(s.longestRest, s.now.Sub(s.restingSince))
			}
		}
		s.pressed = p
	}
}

func TestNoPressureWithoutLosses(t *testing.T) {
	for _, s := range []*stage{newStage(0, 0), newStage(0, 0.05), newStage(0.4, 0.4)} {
		s.run(time.Minute, false) // what it loses anyway is known then
		if s.run(10*time.Minute, true); s.flips != 0 {
			t.Errorf("a camera that loses %v and with jobs %v had them rest", s.idle, s.busy)
		}
	}
}

func TestJobsRestWhileACameraSuffers(t *testing.T) {
	for _, undecoded := range []bool{false, true} {
		s := newStage(0, 0.5)
		s.undecoded = undecoded
		s.run(5*time.Second, true)
		if !s.pressed.On || !strings.Contains(s.pressed.Reason, "camera yard") {
			t.Fatalf("after 5 s: %+v", s.pressed)
		}
		if s.run(8*time.Second, true); s.flips != 1 {
			t.Error("the rest was shorter than 10 s")
		}
		s.run(time.Hour, true)
		t.Logf("in an hour: %d changes, %v of work, longest rest %v", s.flips, s.worked, s.longestRest)
		if s.flips > 60 || s.longestRest < 5*time.Minute || s.longestRest > 6*time.Minute {
			t.Errorf("it flaps: %d changes, longest rest %v", s.flips, s.longestRest)
		}
		if s.worked < 2*time.Minute {
			t.Errorf("jobs starve: %v of work in an hour", s.worked)
		}
	}
}

// Where the model is slower than the camera with or without jobs, jobs rest once
// to find that out.
func TestLossesThatAreNotTheJobs(t *testing.T) {
	s := newStage(0.5, 0.55)
	if s.run(time.Hour, true); s.flips != 2 || s.pressed.On {
		t.Errorf("%d changes, now %+v", s.flips, s.pressed)
	}
	s = newStage(0.3, 0.3)
	s.run(5*time.Second, true)
	s.idle = 0.9 // it gets worse though nothing works: a rest ends all the same
	if s.run(2*time.Minute, true); s.pressed.On {
		t.Errorf("it rests for good: %+v", s.pressed)
	}
}

// Long rests are forgotten when the machine has had room for a while.
func TestRestsGetShorterAgain(t *testing.T) {
	s := newStage(0, 0.5)
	s.run(20*time.Minute, true)
	for s.pressed.On {
		s.run(time.Second, true)
	}
	s.busy = 0
	s.run(10*time.Minute, true)
	if s.pressed.On {
		t.Fatal("it rests without losses")
	}
	s.busy, s.longestRest = 0.5, 0
	s.run(6*time.Second, true)
	if !s.pressed.On {
		t.Fatal("it does not rest")
	}
	for s.pressed.On {
		s.run(time.Second, true)
	}
	if s.longestRest > 12*time.Second {
		t.Errorf("the rest took %v", s.longestRest)
	}
}

// A camera that comes, goes or begins anew says nothing about the machine, nor
// does a single bad second.
func TestPressureNeedsSomethingToCompare(t *testing.T) {
	s := newStage(0, 0)
	s.run(10*time.Second, true)
	s.busy = 0.9
	s.run(time.Second, true)
	s.busy = 0
	s.run(20*time.Second, true)
	if s.flips != 0 {
		t.Errorf("a bad second: %d changes", s.flips)
	}
	for range 10 {
		s.camera.Decoded, s.camera.Dropped = 0, 0 // its worker was started anew
		s.run(2*time.Second, true)
	}
	s.camera.Playing = false
	s.busy = 1
	s.run(time.Minute, true)
	if s.flips != 0 {
		t.Errorf("anew and away: %d changes", s.flips)
	}
	s.g.sample(s.now, nil, true)
	if len(s.g.cameras) != 0 {
		t.Error("a camera that is gone is remembered")
	}
}
