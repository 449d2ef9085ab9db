package health

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of the exported buckets.
var bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second,
}

const (
	subBits = 5 // 32 steps per octave: quantiles are exact to 3.2 %
	subs    = 1 << subBits
	maxBits = 32 // microseconds: 71 minutes, longer counts as that
	cells   = subs * (maxBits - subBits + 1)
)

// histogram counts durations in bounded memory (7 KB). It is safe for use by
// several goroutines and never blocks; a reader sees a moment's approximation.
type histogram struct {
	fine   [cells]atomic.Uint64           // log-linear, in microseconds, for quantiles
	coarse [len(bounds) + 1]atomic.Uint64 // by bounds, the last one is beyond them
	sum    atomic.Int64                   // nanoseconds
	max    atomic.Int64                   // nanoseconds
}

func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.fine[cell(d)].Add(1)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.coarse[i].Add(1)
	h.sum.Add(int64(d))
	for {
		seen := h.max.Load()
		if int64(d) <= seen || h.max.CompareAndSwap(seen, int64(d)) {
			return
		}
	}
}

// cell is the index of a duration in fine.
func cell(d time.Duration) int {
	us := min(uint64(d/time.Microsecond), 1<<maxBits-1)
	if us < subs {
		return int(us)
	}
	exp := bits.Len64(us) - subBits - 1
	return subs*exp + int(us>>exp)
}

// upper is the least duration above those of a cell.
func upper(i int) time.Duration {
	exp := max(0, i/subs-1)
	return time.Duration((i-subs*exp+1)<<exp) * time.Microsecond
}

// quantile is the duration that a share q of all stays below or at, 0 when
// nothing was counted. It errs upwards, by at most a step.
func (h *histogram) quantile(q float64) time.Duration {
	var total uint64
	for i := range h.coarse {
		total += h.coarse[i].Load()
	}
	if total == 0 {
		return 0
	}
	q = min(max(q, 0), 1)
	rank := uint64(q * float64(total))
	if float64(rank) < q*float64(total) || rank == 0 {
		rank++
	}
	longest := time.Duration(h.max.Load())
	var below uint64
	for i := range h.fine {
		if below += h.fine[i].Load(); below >= rank {
			return min(upper(i), longest)
		}
	}
	return longest
}

// export is what Prometheus wants: the count, the sum in seconds, and the
// cumulative buckets by upper bound in seconds.
func (h *histogram) export() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(bounds))
	for i := range bounds {
		count += h.coarse[i].Load()
		buckets[bounds[i].Seconds()] = count
	}
	count += h.coarse[len(bounds)].Load()
	return count, time.Duration(h.sum.Load()).Seconds(), buckets
}
