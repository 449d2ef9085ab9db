package motion

import "github.com/watchpost/watchpost/appliance/internal/vision"

// Regions at most near cells apart are parts of one thing if their common box is
// filled by solid; spread-out ones (rain, leaves) swallow nothing.
const (
	near  = 2
	solid = 0.3
)

// region is a set of connected cells: its bounds [x0,x1) x [y0,y1), how many
// cells, the sum of their levels, and the highest.
type region struct {
	x0, y0, x1, y1 int
	cells          int
	sum, peak      float32
}

func (r *region) add(o region) {
	r.x0, r.y0 = min(r.x0, o.x0), min(r.y0, o.y0)
	r.x1, r.y1 = max(r.x1, o.x1), max(r.y1, o.y1)
	r.cells += o.cells
	r.sum += o.sum
	r.peak = max(r.peak, o.peak)
}

// fits says whether o and r look like parts of one thing.
func (r *region) fits(o *region) bool {
	if r.x0-near > o.x1 || o.x0-near > r.x1 || r.y0-near > o.y1 || o.y0-near > r.y1 {
		return false
	}
	w, h := max(r.x1, o.x1)-min(r.x0, o.x0), max(r.y1, o.y1)-min(r.y0, o.y0)
	return float64(r.cells+o.cells) >= solid*float64(w*h)
}

// labeller finds connected cells by union and find in one pass over the rows.
type labeller struct {
	cols, rows int
	ids        []int32 // of the cells of the row above and of this one
	parent     []int32
	found      []region
	empty      []uint8
}

func newLabeller(cols, rows int) labeller {
	return labeller{cols: cols, rows: rows, ids: make([]int32, 2*(cols+2)), empty: make([]uint8, cols)}
}

// root finds the representative of a label, shortening the way.
func (l *labeller) root(i int32) int32 {
	for l.parent[i] != i {
		l.parent[i] = l.parent[l.parent[i]]
		i = l.parent[i]
	}
	return i
}

// union joins two labels and returns the one that stays.
func (l *labeller) union(a, b int32) int32 {
	a, b = l.root(a), l.root(b)
	if a == b {
		return a
	}
	if b < a {
		a, b = b, a
	}
	l.parent[b] = a
	l.found[a].add(l.found[b])
	return a
}

// run returns the regions of the cells in mask that touch in wide, the same mask
// widened, corners included. The slice is valid until the next run.
func (l *labeller) run(wide, mask []uint8, level []float32) []region {
	l.parent, l.found = l.parent[:0], l.found[:0]
	above, here := l.ids[:l.cols+2], l.ids[l.cols+2:]
	for i := range above {
		above[i] = -1
	}
	for y := range l.rows {
		for i := range here {
			here[i] = -1
		}
		row, set, lev := wide[y*l.cols:][:l.cols], mask[y*l.cols:][:l.cols], level[y*l.cols:][:l.cols]
		for x, on := range row {
			if on == 0 {
				continue
			}
			one := region{x0: l.cols, y0: l.rows} // adds nothing
			if set[x] != 0 {
				one = region{x, y, x + 1, y + 1, 1, lev[x], lev[x]}
			}
			id := int32(-1)
			for _, n := range [...]int32{here[x], above[x], above[x+1], above[x+2]} {
				switch {
				case n < 0:
				case id < 0:
					id = l.root(n)
				default:
					id = l.union(id, n)
				}
			}
			if id < 0 {
				id = int32(len(l.parent))
				l.parent = append(l.parent, id)
				l.found = append(l.found, one)
			} else {
				l.found[id].add(one)
			}
			here[x+1] = id
		}
		above, here = here, above
	}
	kept := l.found[:0]
	for i, r := range l.found {
		if l.parent[i] == int32(i) {
			kept = append(kept, r)
		}
	}
	return kept
}

// regions finds what moves: connected cells, the parts of one thing joined,
// small and faint ones left out. Afterwards the clean mask holds just the cells
// of the regions, so that the background learns from the rest.
func (m *Model) regions(res *Result) {
	m.widen()
	found := m.label.run(m.mask, m.clean, m.level)
	if len(found) == 0 {
		return
	}
	total := len(m.clean)
	least := max(int(m.cfg.MinArea*float64(total)+0.5), 1)
	sortRegions(found)
	if most := 4 * m.cfg.MaxRegions; len(found) > most { // bounds the joining below
		found = found[:most]
	}
	found = joined(found)
	found = drop(found, func(r *region) bool { return r.cells < least || r.peak < strong || m.ghost(r) })
	sortRegions(found)
	if len(found) > m.cfg.MaxRegions {
		found = found[:m.cfg.MaxRegions]
	}
	m.confine(found)
	if len(found) == 0 {
		return
	}
	res.Regions = make([]vision.Box, len(found))
	res.Strength = make([]float32, len(found))
	s, cells := float32(m.grid.size), 0
	for i, r := range found {
		res.Regions[i] = vision.Box{
			X0: float32(r.x0) * s, Y0: float32(r.y0) * s, X1: float32(r.x1) * s, Y1: float32(r.y1) * s,
		}.Clip(float32(m.grid.width), float32(m.grid.height))
		res.Strength[i] = r.sum / float32(r.cells)
		cells += r.cells
	}
	res.Fraction = float32(cells) / float32(total)
}

// ghost says whether a region is not a thing but the place that a thing has left:
// what the background has learnt there is gone. A thing has its outline in the
// picture, a ghost in the background. A ghost becomes background at once; it is
// only looked for once nothing has changed in the region for a while.
func (m *Model) ghost(r *region) bool {
	w, rested, cells := m.grid.cols, 0, 0
	var here, learnt float32 // contrast along the outline
	for y := r.y0; y < r.y1; y++ {
		for x := r.x0; x < r.x1; x++ {
			i := y*w + x
			if m.clean[i] == 0 {
				continue
			}
			cells++
			if m.still[i] >= ghostRest {
				rested++
			}
			edge := func(inside bool, j int) {
				if inside && m.clean[j] == 0 {
					here += abs(m.grid.cells[i] - m.grid.cells[j])
					learnt += abs(m.mean[i] - m.mean[j])
				}
			}
			edge(x > 0, i-1)
			edge(x+1 < w, i+1)
			edge(y > 0, i-w)
			edge(y+1 < m.grid.rows, i+w)
		}
	}
	if 10*rested < 9*cells || learnt < ghostEdge*here {
		return false
	}
	for y := r.y0; y < r.y1; y++ {
		for i := y*w + r.x0; i < y*w+r.x1; i++ {
			if m.clean[i] != 0 {
				m.mean[i], m.vari[i], m.still[i], m.clean[i] = m.grid.cells[i], firstSigma*firstSigma, 0, 0
			}
		}
	}
	return true
}

func abs(v float32) float32 { return max(v, -v) }

// confine clears the cells of the clean mask that are in no region.
func (m *Model) confine(rs []region) {
	clear(m.mask)
	w := m.grid.cols
	for _, r := range rs {
		for y := r.y0; y < r.y1; y++ {
			copy(m.mask[y*w+r.x0:y*w+r.x1], m.clean[y*w+r.x0:y*w+r.x1])
		}
	}
	m.mask, m.clean = m.clean, m.mask
}

func drop(rs []region, bad func(*region) bool) []region {
	kept := rs[:0]
	for i := range rs {
		if !bad(&rs[i]) {
			kept = append(kept, rs[i])
		}
	}
	return kept
}

// joined merges the parts of things until no two regions fit.
func joined(rs []region) []region {
	for again := true; again; {
		again = false
		for i := 0; i < len(rs); i++ {
			for j := len(rs) - 1; j > i; j-- {
				if rs[i].fits(&rs[j]) {
					rs[i].add(rs[j])
					rs = append(rs[:j], rs[j+1:]...)
					again = true
				}
			}
		}
	}
	return rs
}

// widen makes mask the clean mask grown by a cell on each side: parts that are
// two cells apart belong together.
func (m *Model) widen() {
	w, h := m.grid.cols, m.grid.rows
	clear(m.mask)
	for y := range h {
		for x, on := range m.clean[y*w : y*w+w] {
			if on == 0 {
				continue
			}
			x0, x1 := max(x-1, 0), min(x+2, w)
			for k := max(y-1, 0); k < min(y+2, h); k++ {
				for i := k*w + x0; i < k*w+x1; i++ {
					m.mask[i] = 1
				}
			}
		}
	}
}
