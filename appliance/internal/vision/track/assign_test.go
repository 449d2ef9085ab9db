package track

import (
	"math"
	"math/rand/v2"
	"testing"
)

// bestByForce tries every assignment.
func bestByForce(cost [][]float64, limit float64, row int, used uint) float64 {
	if row == len(cost) {
		return 0
	}
	best := limit + bestByForce(cost, limit, row+1, used)
	for j, c := range cost[row] {
		if used&(1<<j) == 0 && c <= limit {
			best = math.Min(best, c+bestByForce(cost, limit, row+1, used|1<<j))
		}
	}
	return best
}

func TestAssignmentIsOptimal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a assigner
	for range 3000 {
		rows, cols, limit := rng.IntN(7), rng.IntN(7), rng.Float64()
		cost := make([][]float64, rows)
		a.reset()
		for i := range cost {
			cost[i] = make([]float64, cols)
			for j := range cost[i] {
				// Few distinct values: ties are the difficult case.
				if cost[i][j] = float64(rng.IntN(6)) / 5; cost[i][j] <= limit {
					a.pair(j, cost[i][j])
				}
			}
			a.endRow()
		}
		sum, used := 0.0, map[int32]bool{}
		for i, j := range a.solve(cols, limit) {
			if j < 0 {
				sum += limit
				continue
			}
			if used[j] {
				t.Fatalf("column %d given twice", j)
			}
			used[j] = true
			if cost[i][j] > limit {
				t.Fatalf("row %d was given a pair that is not allowed", i)
			}
			sum += cost[i][j]
		}
		if want := bestByForce(cost, limit, 0, 0); math.Abs(sum-want) > 1e-9 {
			t.Fatalf("sum %v, optimum %v, costs %v, limit %v", sum, want, cost, limit)
		}
	}
}

func BenchmarkAssignDense512(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a assigner
	for b.Loop() {
		a.reset()
		for range 512 {
			for j := range 512 {
				a.pair(j, rng.Float64())
			}
			a.endRow()
		}
		a.solve(512, 1)
	}
}
