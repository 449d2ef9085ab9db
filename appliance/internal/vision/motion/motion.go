package motion

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Config of a Model. The zero value of a field means its default.
type Config struct {
	// Sensitivity scales all thresholds: 2 reports half as strong changes.
	// Default 1, from 0.1 to 10.
	Sensitivity float64
	// MinArea is the least part of the picture that a region covers. Default
	// 0.0005: at 720p about 21 x 21 pixels.
	MinArea float64
	// Adapt is the time constant of the background where nothing moves.
	// Default 6 s.
	Adapt time.Duration
	// Absorb is how long something that moved must stand still before it is
	// background. Default 15 s.
	Absorb time.Duration
	// Hold is how long the gate stays open after the last motion. Default 2 s.
	Hold time.Duration
	// MaxRegions bounds the regions of one frame; the largest stay. Default 64.
	MaxRegions int
}

// ErrConfig is returned by New for values that cannot work.
var ErrConfig = errors.New("motion settings")

// Result is what one frame shows. It is the caller's to keep.
type Result struct {
	// Regions are what moves, in pixels of the frame, largest first.
	Regions []vision.Box
	// Strength of each region: by how much it differs from the background, in
	// multiples of what is just noticed.
	Strength []float32
	// Fraction of the picture that moves, in [0,1].
	Fraction float32
	// Moving is the gate: true from the first region until Hold after the last.
	Moving bool
	// Light tells that the light of the whole picture changed (exposure, lamp,
	// infrared switch) and was taken into the background.
	Light bool
}

// Model is the background of one camera. It is used by one goroutine.
type Model struct {
	cfg  Config
	grid *grid

	mean  []float32 // background
	vari  []float32 // its variance
	prev  []float32 // the last frame that still is compared with
	still []float32 // seconds that a moving cell has not changed
	level []float32 // difference in thresholds, this frame
	mask  []uint8
	clean []uint8
	label labeller

	frames int           // since the background began
	age    float64       // seconds since then
	last   time.Duration // of the last frame
	moved  time.Duration // of the last frame with motion
	open   bool
}

// New returns a model that has seen nothing, or an error that wraps ErrConfig.
func New(cfg Config) (*Model, error) {
	def(&cfg.Sensitivity, 1)
	def(&cfg.MinArea, 0.0005)
	def(&cfg.Adapt, 6*time.Second)
	def(&cfg.Absorb, 15*time.Second)
	def(&cfg.Hold, 2*time.Second)
	def(&cfg.MaxRegions, 64)
	switch {
	case !(cfg.Sensitivity >= 0.1 && cfg.Sensitivity <= 10):
		return nil, fmt.Errorf("%w: sensitivity %v is not in [0.1,10]", ErrConfig, cfg.Sensitivity)
	case !(cfg.MinArea > 0 && cfg.MinArea < 1):
		return nil, fmt.Errorf("%w: least area %v is not in (0,1)", ErrConfig, cfg.MinArea)
	case cfg.Adapt < 0 || cfg.Absorb < 0 || cfg.Hold < 0:
		return nil, fmt.Errorf("%w: a negative time", ErrConfig)
	case cfg.MaxRegions < 0:
		return nil, fmt.Errorf("%w: at most %d regions", ErrConfig, cfg.MaxRegions)
	}
	return &Model{cfg: cfg}, nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Update takes the luma plane of the frame at pts: height rows of width bytes,
// stride bytes apart. The first frame, and the first of another size, becomes
// the background and never moves. A plane that is too short for its size is
// nothing to look at and gives an empty result. luma is not kept.
func (m *Model) Update(luma []byte, stride, width, height int, pts time.Duration) Result {
	if width < 1 || height < 1 || stride < width || len(luma) < stride*(height-1)+width {
		return Result{}
	}
	if m.grid == nil || m.grid.width != width || m.grid.height != height {
		m.restart(width, height)
	}
	m.grid.shrink(luma, stride)
	if m.frames == 0 {
		m.adopt()
		m.last = pts
		return Result{Moving: m.gate(false, pts)}
	}
	dt := step(pts - m.last)
	m.last = pts
	if m.frames == 1 {
		m.measureNoise()
	}
	m.frames++
	m.age += dt

	var res Result
	if n := m.compare(); 10*n > len(m.mean) {
		res.Light = m.relight(n)
	}
	m.filter()
	m.regions(&res)
	m.learn(dt)
	res.Moving = m.gate(len(res.Regions) > 0, pts)
	return res
}

// step is the time between two frames in seconds, with a sane value where
// clocks jump or go back.
func step(d time.Duration) float64 {
	if s := d.Seconds(); s > 0 {
		return min(s, 1)
	}
	return 0.04
}

// restart forgets the background and fits the memory to a picture size. The
// gate's state stays: a camera that changes its resolution is still the same.
func (m *Model) restart(width, height int) {
	m.grid = newGrid(width, height)
	n := len(m.grid.cells)
	m.mean, m.vari, m.prev = make([]float32, n), make([]float32, n), make([]float32, n)
	m.still, m.level = make([]float32, n), make([]float32, n)
	m.mask, m.clean = make([]uint8, n), make([]uint8, n)
	m.label = newLabeller(m.grid.cols, m.grid.rows)
	m.frames, m.age = 0, 0
}

// gate opens at once and closes after the hold time.
func (m *Model) gate(moving bool, pts time.Duration) bool {
	switch {
	case moving:
		m.open, m.moved = true, pts
	case m.open && (pts-m.moved > m.cfg.Hold || pts < m.moved):
		if pts < m.moved { // the clock went back: hold from here
			m.moved = pts
			break
		}
		m.open = false
	}
	return m.open
}

// Detections are a result's regions as detections of class 0, "motion", for a
// camera that has no model. The score is 0.5 for what is just noticed and nears
// 1 for what stands out.
func Detections(r Result) []vision.Detection {
	if len(r.Regions) == 0 {
		return nil
	}
	out := make([]vision.Detection, len(r.Regions))
	for i, b := range r.Regions {
		s := float32(1)
		if i < len(r.Strength) {
			s = max(r.Strength[i], 1)
		}
		out[i] = vision.Detection{Box: b, Class: 0, Label: "motion",
			Score: min(1-float32(math.Exp2(-float64(s))), 0.99)}
	}
	return out
}
