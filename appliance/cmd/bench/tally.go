package main

import (
	"math"

	dto "github.com/prometheus/client_model/go"
)

// tally adds up a histogram of every loop over several looks at /metrics, from the
// first on.
type tally struct {
	name, maxName string
	begun         bool
	loops         map[string]*loopTally
}

// loopTally is one loop's.
type loopTally struct {
	bounds []float64 // upper, seconds; +Inf last
	counts []uint64  // since the first look
	seen   []uint64  // at the last one
	// top is the exported maximum at the last look, most the longest since the first:
	// exact if it was a new maximum, else its bucket's upper bound.
	top, most float64
}

func newTally(name, maxName string) *tally {
	return &tally{name: name, maxName: maxName, loops: map[string]*loopTally{}}
}

func (t *tally) add(families map[string]*dto.MetricFamily) {
	tops := map[string]float64{}
	for _, m := range families[t.maxName].GetMetric() {
		tops[label(m, "loop")] = m.GetGauge().GetValue()
	}
	here := map[string]bool{}
	for _, m := range families[t.name].GetMetric() {
		name := label(m, "loop")
		here[name] = true
		l := t.loops[name]
		fresh := l == nil
		if fresh {
			l = &loopTally{}
			t.loops[name] = l
		}
		// What a loop did before the first look is not of this while; what one did that
		// came later is all of it.
		l.add(m.Histogram, tops[name], fresh && !t.begun)
	}
	for name, l := range t.loops {
		if !here[name] { // one of its name that comes later is another
			l.seen, l.top = nil, 0
		}
	}
	t.begun = true
}

func (l *loopTally) add(h *dto.Histogram, top float64, before bool) {
	now := make([]uint64, 0, len(h.Bucket)+1)
	bounds := make([]float64, 0, len(h.Bucket)+1)
	last := uint64(0)
	for _, b := range h.Bucket {
		if math.IsInf(b.GetUpperBound(), 1) {
			continue
		}
		now = append(now, b.GetCumulativeCount()-last)
		bounds = append(bounds, b.GetUpperBound())
		last = b.GetCumulativeCount()
	}
	now, bounds = append(now, h.GetSampleCount()-last), append(bounds, math.Inf(1))
	if l.counts == nil {
		l.counts, l.bounds = make([]uint64, len(now)), bounds
	}
	if len(l.seen) != len(now) || sum(now) < sum(l.seen) { // a new loop of an old name
		l.seen, l.top = make([]uint64, len(now)), 0
	}
	highest := -1
	for i, n := range now {
		if n > l.seen[i] && !before {
			l.counts[i] += n - l.seen[i]
			highest = i
		}
	}
	switch {
	case highest < 0:
	case top > l.top:
		l.most = max(l.most, top)
	default:
		l.most = max(l.most, min(top, l.bounds[highest]))
	}
	l.seen, l.top = now, top
}

func sum(v []uint64) (n uint64) {
	for _, k := range v {
		n += k
	}
	return n
}

func (l *loopTally) count() uint64 { return sum(l.counts) }

// quantile in seconds, linear within a bucket.
func (l *loopTally) quantile(q float64) float64 {
	rank, low, seen := q*float64(l.count()), 0.0, 0.0
	for i, n := range l.counts {
		if n > 0 && seen+float64(n) >= rank {
			return low + (min(l.bounds[i], max(l.most, low))-low)*(rank-seen)/float64(n)
		}
		low, seen = l.bounds[i], seen+float64(n)
	}
	return l.most
}

// all loops together.
func (t *tally) all() *loopTally {
	sum := &loopTally{}
	for _, l := range t.loops {
		if sum.counts == nil {
			sum.counts, sum.bounds = make([]uint64, len(l.counts)), l.bounds
		}
		for i, n := range l.counts {
			sum.counts[i] += n
		}
		sum.most = max(sum.most, l.most)
	}
	return sum
}

// worst is the loop with the highest quantile.
func (t *tally) worst(q float64) (name string) {
	for _, n := range t.names() {
		if name == "" || t.loops[n].quantile(q) > t.loops[name].quantile(q) {
			name = n
		}
	}
	return name
}

// longest is the loop with the longest of all.
func (t *tally) longest() (name string) {
	for _, n := range t.names() {
		if name == "" || t.loops[n].most > t.loops[name].most {
			name = n
		}
	}
	return name
}

func (t *tally) names() []string { return sortedKeys(t.loops) }
