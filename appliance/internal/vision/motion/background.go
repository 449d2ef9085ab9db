package motion

import (
	"math"
	"slices"
)

// Thresholds, in grey levels of a cell's mean.
const (
	firstSigma = 3.0  // assumed noise before any was measured
	leastDelta = 7.0  // a smaller change is never motion (sensitivity 1)
	mostSigma  = 12.0 // cells that change all the time still see a large change
	sigmas     = 3.5  // how many standard deviations are motion
	strong     = 1.8  // a region needs cells that exceed their threshold by this
	restLevel  = 4.0  // a cell that changes by less from frame to frame is still

	// A region that has not changed for ghostRest seconds, and whose outline is
	// ghostEdge times as strong in the background as in the picture, is the place
	// that something has left.
	ghostRest = 1.0
	ghostEdge = 1.4

	// lightFraction is the part of the picture from which a change that no gain
	// and offset explain is a change of the light all the same.
	lightFraction = 0.7
	// settleTime is how long a new background is learnt quickly, in seconds.
	settleTime = 1.0
)

// adopt makes the present picture the background.
func (m *Model) adopt() {
	copy(m.mean, m.grid.cells)
	copy(m.prev, m.grid.cells)
	clear(m.still)
	for i := range m.vari {
		m.vari[i] = firstSigma * firstSigma
	}
	m.age, m.frames = 0, 1
}

// measureNoise takes the noise of a new background from how much most cells
// differ in the second frame: a dark, grainy picture is not all motion.
func (m *Model) measureNoise() {
	const bins = 4 // per grey level
	var hist [64 * bins]int
	shift := float32(m.medianChange())
	for i, x := range m.grid.cells {
		d := x - m.mean[i] - shift
		hist[min(int(max(d, -d)*bins), len(hist)-1)]++
	}
	left := len(m.mean) / 2
	for v, n := range hist {
		if left -= n; left < 0 {
			// Median of absolute differences to standard deviation.
			sigma := min(1.4826*(float32(v)+0.5)/bins, mostSigma)
			for i := range m.vari {
				m.vari[i] = max(m.vari[i], sigma*sigma)
			}
			return
		}
	}
}

// compare sets the level of each cell: its difference from the background in
// thresholds. It returns how many cells reach theirs.
func (m *Model) compare() int {
	s := float32(m.cfg.Sensitivity)
	least, k2 := leastDelta/s, sigmas*sigmas/(s*s)
	cells, mean, vari := m.grid.cells, m.mean, m.vari
	mean, vari, level := mean[:len(cells)], vari[:len(cells)], m.level[:len(cells)]
	n := 0
	for i, x := range cells {
		d := x - mean[i]
		if d < 0 {
			d = -d
		}
		if d < least { // by far the most frequent: no root needed
			level[i] = 0
			continue
		}
		t := max(least*least, k2*min(vari[i], mostSigma*mostSigma))
		if level[i] = d / float32(math.Sqrt(float64(t))); level[i] >= 1 {
			n++
		}
	}
	return n
}

// relight is asked when much of the picture has changed, n cells. A change of
// exposure or of a lamp is a gain and an offset over the whole picture: where
// such a pair, fitted to the cells that agree on it, explains most of the change,
// the background is changed alike, and what still differs is what moves. A
// change of nearly everything that no such pair explains (colour to infrared)
// begins a new background. It tells whether the light changed.
func (m *Model) relight(n int) bool {
	gain, offset, ok := m.fitLight()
	if ok && (math.Abs(gain-1) > 0.02 || math.Abs(offset) > 1.5) {
		g, o := float32(gain), float32(offset)
		for i := range m.mean {
			m.mean[i] = g*m.mean[i] + o
			m.prev[i] = g*m.prev[i] + o
		}
		left := m.compare()
		if 2*left < n && float64(left) < lightFraction*float64(len(m.mean)) {
			return true
		}
		for i := range m.mean {
			m.mean[i] = (m.mean[i] - o) / g
			m.prev[i] = (m.prev[i] - o) / g
		}
		m.compare()
	}
	if float64(n) < lightFraction*float64(len(m.mean)) {
		return false
	}
	m.adopt()
	clear(m.level)
	return true
}

// fitLight finds gain and offset from background to picture by least squares,
// three times, each time without the cells that fit worst: those that moved.
func (m *Model) fitLight() (gain, offset float64, ok bool) {
	gain, offset = 1, m.medianChange()
	limit := 30.0
	for range 4 {
		var n, sx, sy, sxx, sxy float64
		for i, y := range m.grid.cells {
			x, y := float64(m.mean[i]), float64(y)
			// Clipped cells follow no line.
			if y < 18 || y > 233 || math.Abs(gain*x+offset-y) > limit {
				continue
			}
			n++
			sx += x
			sy += y
			sxx += x * x
			sxy += x * y
		}
		if n < float64(len(m.mean))/5 {
			return 1, 0, false
		}
		if d := n*sxx - sx*sx; d > 4*n*n {
			gain = (n*sxy - sx*sy) / d
		} else { // one grey wall: any gain would do
			gain = 1
		}
		offset = (sy - gain*sx) / n
		limit = max(limit/2, 6)
	}
	return gain, offset, gain > 0.2 && gain < 5
}

// medianChange is the median difference between picture and background.
func (m *Model) medianChange() float64 {
	var hist [512]int32
	for i, x := range m.grid.cells {
		hist[min(max(int(x-m.mean[i])+256, 0), 511)]++
	}
	half := int32(len(m.mean) / 2)
	for v, n := range hist {
		if half -= n; half < 0 {
			return float64(v - 256)
		}
	}
	return 0
}

// learn moves the background towards the picture: with the adaptation time
// where nothing moves, not at all where something does, at once where it has
// stood still for long enough. Young models learn as a plain average does.
func (m *Model) learn(dt float64) {
	alpha := 1 - math.Exp(-dt/m.cfg.Adapt.Seconds())
	moving := 0.0
	if m.age < settleTime {
		alpha = max(alpha, dt/(m.age+dt))
		moving = alpha / 2
	}
	a, am, av, t := float32(alpha), float32(moving), float32(alpha/8), float32(dt)
	absorb := float32(m.cfg.Absorb.Seconds())
	cells, mean, vari, mask := m.grid.cells, m.mean, m.vari, m.clean
	mean, vari, mask = mean[:len(cells)], vari[:len(cells)], mask[:len(cells)]
	for i, x := range cells {
		d := x - mean[i]
		if mask[i] == 0 {
			mean[i] += a * d
			// What is no motion but large is capped, or a passing shadow would
			// make a cell blind.
			vari[i] += a * (min(d*d, mostSigma*mostSigma) - vari[i])
			m.still[i], m.prev[i] = 0, x
			continue
		}
		mean[i] += am * d
		// Leaves and shaking fences come and go: what is often different needs a
		// larger difference.
		vari[i] += av * (min(d*d, mostSigma*mostSigma) - vari[i])
		if c := x - m.prev[i]; c > restLevel || c < -restLevel {
			m.still[i], m.prev[i] = 0, x
			continue
		}
		if m.still[i] += t; m.still[i] >= absorb {
			mean[i], vari[i], m.still[i] = x, firstSigma*firstSigma, 0
		}
	}
}

// filter makes the mask of moving cells from the levels: a cell counts with two
// neighbours, and a hole between six is filled. Lone noisy cells go.
func (m *Model) filter() {
	w, h := m.grid.cols, m.grid.rows
	clear(m.mask)
	any := false
	for i, l := range m.level {
		if l >= 1 {
			m.mask[i], any = 1, true
		}
	}
	clear(m.clean)
	if !any {
		return
	}
	if w < 3 || h < 3 {
		copy(m.clean, m.mask)
		return
	}
	for y := range h {
		up, at, down := m.mask[max(y-1, 0)*w:][:w], m.mask[y*w:][:w], m.mask[min(y+1, h-1)*w:][:w]
		if y == 0 || y == h-1 { // beyond the edge is nothing
			if y == 0 {
				up = m.label.empty
			} else {
				down = m.label.empty
			}
		}
		out := m.clean[y*w:][:w]
		var left uint8
		mid := up[0] + at[0] + down[0]
		for x := range w {
			var right uint8
			if x+1 < w {
				right = up[x+1] + at[x+1] + down[x+1]
			}
			if n := left + mid + right; n >= 6 || n >= 3 && at[x] != 0 {
				out[x] = 1
			}
			left, mid = mid, right
		}
	}
}

// sortRegions orders regions largest first.
func sortRegions(rs []region) {
	slices.SortStableFunc(rs, func(a, b region) int { return b.cells - a.cells })
}
