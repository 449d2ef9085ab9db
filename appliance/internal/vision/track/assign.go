package track

import "math"

// edge is one allowed pair of the row that it is listed under.
type edge struct {
	col  int32
	cost float64
}

// assigner solves the assignment problem by shortest augmenting paths (Jonker
// and Volgenant 1987) on sparse costs, with the choice of leaving a row without
// a partner at the price of limit. The result is optimal: no other set of pairs
// has a lower sum of costs and prices. Work is bounded by rows x cols^2; with
// objects that are spread over a frame it is nearly linear in the edges.
//
// An assigner keeps its memory between calls.
type assigner struct {
	start []int32 // edges of row i are edges[start[i]:start[i+1]]
	edges []edge

	u, v         []float64 // dual prices of rows and columns
	colOf, rowOf []int32   // the pairs; -1: none
	dist         []float64
	prev         []int32
	done         []bool
	touched      []int32
	scanned      []int32
}

// reset starts a new problem; rows are then added in order.
func (a *assigner) reset() {
	a.start = append(a.start[:0], 0)
	a.edges = a.edges[:0]
}

// pair allows the row being added to take col at a cost in [0, limit].
func (a *assigner) pair(col int, cost float64) {
	a.edges = append(a.edges, edge{int32(col), cost})
}

// endRow completes the row being added.
func (a *assigner) endRow() { a.start = append(a.start, int32(len(a.edges))) }

// solve returns the column of each row, -1 for none. The slice is valid until
// the next reset.
func (a *assigner) solve(cols int, limit float64) []int32 {
	rows := len(a.start) - 1
	a.u, a.v = grown(a.u, rows, 0.0), grown(a.v, cols, 0.0)
	a.colOf, a.rowOf = grown(a.colOf, rows, int32(-1)), grown(a.rowOf, cols, int32(-1))
	a.dist, a.prev = grown(a.dist, cols, math.Inf(1)), grown(a.prev, cols, int32(-1))
	a.done = grown(a.done, cols, false)
	for i := range rows {
		a.augment(int32(i), limit)
	}
	return a.colOf[:rows]
}

// augment gives row first a partner, or leaves one row of the shortest
// alternating path without.
func (a *assigner) augment(first int32, limit float64) {
	a.touched, a.scanned = a.touched[:0], a.scanned[:0]
	alone, aloneAt := int32(-1), math.Inf(1) // cheapest way to end at "no partner"
	row, far, end := first, 0.0, int32(-1)
	for {
		if d := far + limit - a.u[row]; d < aloneAt {
			alone, aloneAt = row, d
		}
		a.relax(row, far)
		next, near := int32(-1), math.Inf(1)
		for _, j := range a.touched {
			if !a.done[j] && a.dist[j] < near {
				next, near = j, a.dist[j]
			}
		}
		if next < 0 || aloneAt <= near {
			far = aloneAt
			break
		}
		far = near
		if a.rowOf[next] < 0 {
			end = next
			break
		}
		a.done[next] = true
		a.scanned = append(a.scanned, next)
		row = a.rowOf[next]
	}
	a.reprice(first, far)
	a.flip(first, alone, end)
	for _, j := range a.touched {
		a.dist[j], a.prev[j], a.done[j] = math.Inf(1), -1, false
	}
}

// relax looks whether the columns of row are nearer through it.
func (a *assigner) relax(row int32, far float64) {
	for _, e := range a.edges[a.start[row]:a.start[row+1]] {
		if a.done[e.col] {
			continue
		}
		d := far + e.cost - a.u[row] - a.v[e.col]
		if d < a.dist[e.col] {
			if math.IsInf(a.dist[e.col], 1) {
				a.touched = append(a.touched, e.col)
			}
			a.dist[e.col], a.prev[e.col] = d, row
		}
	}
}

// reprice keeps all reduced costs non-negative, and those of pairs zero.
func (a *assigner) reprice(first int32, far float64) {
	a.u[first] += far
	for _, j := range a.scanned {
		a.u[a.rowOf[j]] += far - a.dist[j]
		a.v[j] -= far - a.dist[j]
	}
}

// flip exchanges the pairs along the path that ends in the free column end, or,
// where that is -1, in row alone going without.
func (a *assigner) flip(first, alone, end int32) {
	if end < 0 {
		end = a.colOf[alone]
		a.colOf[alone] = -1
		if alone == first {
			return
		}
	}
	for {
		row := a.prev[end]
		a.rowOf[end] = row
		end, a.colOf[row] = a.colOf[row], end
		if row == first {
			return
		}
	}
}

// grown returns s with n elements that are all x.
func grown[T any](s []T, n int, x T) []T {
	if cap(s) < n {
		s = make([]T, n, n+n/2)
	}
	s = s[:n]
	for i := range s {
		s[i] = x
	}
	return s
}
