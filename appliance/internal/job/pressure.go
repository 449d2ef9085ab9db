package job

import (
	"fmt"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Camera is one live camera at one moment, as far as its want of the machine
// goes. The counters only grow.
type Camera struct {
	ID      string
	Playing bool
	// Decoded frames, and those of them that analysis or encoder had no time for.
	Decoded, Dropped, Late uint64
	// FPS is what the source announces; 0: not known.
	FPS float64
}

// PressureConfig says when live cameras suffer. The zero value of a field is the
// default named.
type PressureConfig struct {
	// Suffer is the share of frames lost beyond what a camera loses without jobs,
	// from which on it suffers (0.10), Calm the one below which it does not (0.03).
	Suffer, Calm float64
	// After is how many looks in a row must say so (3).
	After int
	// RestMin is how long jobs rest at least (10 s); each rest that was of no
	// lasting help is followed by one twice as long, up to RestMax (5 min).
	RestMin, RestMax time.Duration
	// Relapse is how soon after a rest a camera must suffer again for that (30 s).
	Relapse time.Duration
}

func (c PressureConfig) withDefaults() PressureConfig {
	if c.Suffer <= 0 {
		c.Suffer = 0.10
	}
	if c.Calm <= 0 {
		c.Calm = 0.03
	}
	if c.After <= 0 {
		c.After = 3
	}
	if c.RestMin <= 0 {
		c.RestMin = 10 * time.Second
	}
	if c.RestMax < c.RestMin {
		c.RestMax = max(5*time.Minute, c.RestMin)
	}
	if c.Relapse <= 0 {
		c.Relapse = 30 * time.Second
	}
	return c
}

// Pressed says whether jobs rest for the live cameras' sake, and for whose.
type Pressed struct {
	On     bool
	Reason string
}

// settling is how long after jobs began to rest a camera's losses are still
// theirs: what they had in hand is finished first.
const settling = 3 * time.Second

// gauge decides when jobs rest. That cameras lose frames is not enough: many
// models are slower than a camera, jobs or not. So it learns from the time when
// no job works what each camera loses anyway, and counts what is lost beyond.
type gauge struct {
	cfg     PressureConfig
	cameras map[string]*strain
	pressed Pressed
	row     int           // looks in a row that speak against the present state
	since   time.Time     // of the present state
	rest    time.Duration // of the next rest
	quiet   time.Time     // since when no job works; zero: one does
}

// strain is what is known of one camera.
type strain struct {
	last   Camera
	at     time.Time
	usual  float64 // share lost while no job works
	known  bool
	excess float64
}

func newGauge(c PressureConfig) *gauge {
	return &gauge{cfg: c, cameras: map[string]*strain{}, rest: c.RestMin}
}

// sample takes one look and says what is to be done. working: a job is at work.
func (g *gauge) sample(now time.Time, cameras []Camera, working bool) Pressed {
	switch {
	case working:
		g.quiet = time.Time{}
	case g.quiet.IsZero():
		g.quiet = now
	}
	learn := !g.quiet.IsZero() && now.Sub(g.quiet) >= settling
	worst, who := 0.0, ""
	for _, c := range cameras {
		if x := g.weigh(now, c, learn); x > worst {
			worst, who = x, c.ID
		}
	}
	g.forget(cameras)
	if g.pressed.On {
		g.ease(now, worst)
	} else {
		g.press(now, worst, who, working)
	}
	return g.pressed
}

// weigh returns the share of a camera's frames lost beyond the usual since the
// look before.
func (g *gauge) weigh(now time.Time, c Camera, learn bool) float64 {
	s := g.cameras[c.ID]
	if s == nil || !c.Playing || !s.last.Playing || c.Decoded < s.last.Decoded || now.Sub(s.at) <= 0 {
		// New, away, or begun anew: there is nothing to compare with.
		next := &strain{last: c, at: now}
		if s != nil {
			next.usual, next.known = s.usual, s.known
		}
		g.cameras[c.ID] = next
		return 0
	}
	share := lost(s.last, c, now.Sub(s.at))
	s.last, s.at = c, now
	if learn {
		if !s.known {
			s.usual, s.known = share, true
		}
		s.usual += (share - s.usual) / 4
	}
	// Smoothed, and bounded, so that one bad second is none.
	s.excess += (min(max(0, share-s.usual), 0.5) - s.excess) / 3
	return s.excess
}

// lost is the share of the frames between two looks that did not come through.
func lost(a, b Camera, took time.Duration) float64 {
	decoded := float64(b.Decoded - a.Decoded)
	missed := float64(b.Dropped-a.Dropped) + float64(b.Late-a.Late)
	if b.Dropped < a.Dropped || b.Late < a.Late {
		missed = 0
	}
	due := decoded
	if b.FPS > 0 {
		// A decoder that falls behind loses frames before they can be counted.
		due = max(decoded, b.FPS*took.Seconds())
	}
	if due < 1 {
		return 0
	}
	return min(1, (missed+due-decoded)/due)
}

func (g *gauge) press(now time.Time, worst float64, who string, working bool) {
	if !working || worst < g.cfg.Suffer {
		g.row = 0
		if g.rest > g.cfg.RestMin && now.Sub(g.since) > 4*g.cfg.Relapse {
			g.rest = g.cfg.RestMin // it went well for long
		}
		return
	}
	// After a long rest jobs work for a while in any case: they must get through
	// some day.
	if g.row++; g.row < g.cfg.After || !g.since.IsZero() && now.Sub(g.since) < g.rest/20 {
		return
	}
	if !g.since.IsZero() && now.Sub(g.since) <= g.cfg.Relapse {
		g.rest = min(2*g.rest, g.cfg.RestMax)
	}
	g.pressed = Pressed{On: true, Reason: fmt.Sprintf("making room for camera %s, which lost %.0f %% of its frames beyond the usual", who, 100*worst)}
	g.since, g.row = now, 0
}

func (g *gauge) ease(now time.Time, worst float64) {
	if worst > g.cfg.Calm && now.Sub(g.since) < 2*g.rest {
		g.row = 0
		return
	}
	// Past twice the rest it goes on all the same: what is lost with no job at
	// work is not the jobs' doing.
	if g.row++; g.row < g.cfg.After || now.Sub(g.since) < g.rest {
		return
	}
	g.pressed, g.since, g.row = Pressed{}, now, 0
}

// forget drops the cameras that are gone.
func (g *gauge) forget(cameras []Camera) {
	if len(g.cameras) <= len(cameras) {
		return
	}
	there := map[string]bool{}
	for _, c := range cameras {
		there[c.ID] = true
	}
	for id := range g.cameras {
		if !there[id] {
			delete(g.cameras, id)
		}
	}
}

// rest has a worker rest or go on; mu is held.
func (q *Jobs) rest(r *run, p Pressed) {
	r.paused = p.On
	if !p.On {
		r.lastBytes, r.lastFrames, r.weighed = time.Now(), time.Now(), time.Now()
	}
	if r.proc != nil {
		r.proc.Pause(link.Pause{On: p.On, Reason: p.Reason})
	}
}
