package health

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestCellsCoverAllDurationsWithoutGap(t *testing.T) {
	last := -1
	for us := uint64(0); us < 1<<33; us = us + 1 + us/50 {
		d := time.Duration(us) * time.Microsecond
		c := cell(d)
		if c < last || c >= cells {
			t.Fatalf("%s: cell %d after %d of %d", d, c, last, cells)
		}
		if us < 1<<32 {
			if d >= upper(c) || c > 0 && d < upper(c-1) {
				t.Fatalf("%s: cell %d ends at %s, the one before at %s", d, c, upper(c), upper(c-1))
			}
			if w := upper(c) - max(d, time.Microsecond); float64(w) > max(0.032*float64(d), 1000) {
				t.Fatalf("%s: cell %d ends at %s: too wide", d, c, upper(c))
			}
		}
		last = c
	}
	if c := cell(math.MaxInt64); c != cells-1 {
		t.Errorf("the longest duration is in cell %d of %d", c, cells)
	}
}

func TestQuantilesAgreeWithSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("a quantile of nothing is not 0")
	}
	all := make([]time.Duration, 20_000)
	for i := range all {
		all[i] = time.Duration(math.Exp(rng.Float64()*14) * 1000) // 1 µs to 1.2 s
		h.record(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
		got := h.quantile(q)
		if got < want.Truncate(time.Microsecond) || float64(got) > float64(want)*1.035+1000 {
			t.Errorf("p%g is %s, by sorting %s", q*100, got, want)
		}
	}
	count, sum, buckets := h.export()
	var total float64
	below := make(map[float64]uint64)
	for _, d := range all {
		total += d.Seconds()
		for _, b := range bounds {
			if d <= b {
				below[b.Seconds()]++
			}
		}
	}
	if count != uint64(len(all)) || math.Abs(sum-total) > 1e-6*total {
		t.Errorf("count %d, sum %f; want %d, %f", count, sum, len(all), total)
	}
	for b, n := range buckets {
		if n != below[b] {
			t.Errorf("%d up to %g s, want %d", n, b, below[b])
		}
	}
}

func TestNegativeDurationCountsAsNone(t *testing.T) {
	var h histogram
	h.record(-time.Second) // a clock that steps
	if h.quantile(1) != 0 || h.sum.Load() != 0 {
		t.Errorf("p100 %s, sum %d", h.quantile(1), h.sum.Load())
	}
}
