package spool

import (
	"slices"
	"sort"

	"github.com/watchpost/watchpost/state"
)

// Extent is the range [From, To) of a file, in bytes. Lists of them are sorted,
// not empty, and neither overlap nor touch.
type Extent = state.Extent

// search returns the index of the first extent that ends at or after at.
func search(have []Extent, at int64) int {
	return sort.Search(len(have), func(i int) bool { return have[i].To >= at })
}

// Insert adds e to have, in place where there is room.
func Insert(have []Extent, e Extent) []Extent {
	if e.From >= e.To {
		return have
	}
	i := search(have, e.From)
	j := i
	for j < len(have) && have[j].From <= e.To {
		e.From, e.To = min(e.From, have[j].From), max(e.To, have[j].To)
		j++
	}
	return slices.Replace(have, i, j, e)
}

// Union returns what is in a or b, in memory of its own.
func Union(a, b []Extent) []Extent {
	out := make([]Extent, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].From < a[0].From {
			from = &b
		}
		e := (*from)[0]
		*from = (*from)[1:]
		if n := len(out); n > 0 && out[n-1].To >= e.From {
			out[n-1].To = max(out[n-1].To, e.To)
			continue
		}
		out = append(out, e)
	}
	return out
}

// Remove takes [from, to) out of have. The result may use have's memory.
func Remove(have []Extent, from, to int64) []Extent {
	if from >= to {
		return have
	}
	i := sort.Search(len(have), func(i int) bool { return have[i].To > from })
	j := i
	var rest []Extent
	for ; j < len(have) && have[j].From < to; j++ {
		if have[j].From < from {
			rest = append(rest, Extent{From: have[j].From, To: from})
		}
		if have[j].To > to {
			rest = append(rest, Extent{From: to, To: have[j].To})
		}
	}
	return slices.Replace(have, i, j, rest...)
}

// Reach returns how far have goes from at on without a gap: at itself if it is not covered.
func Reach(have []Extent, at int64) int64 {
	i := sort.Search(len(have), func(i int) bool { return have[i].To > at })
	if i < len(have) && have[i].From <= at {
		return have[i].To
	}
	return at
}

// Next returns the first part of [from, to), and whether have covers it; the
// part ends where that changes, or at to.
func Next(have []Extent, from, to int64) (end int64, covered bool) {
	i := sort.Search(len(have), func(i int) bool { return have[i].To > from })
	switch {
	case i == len(have) || have[i].From >= to:
		return to, false
	case have[i].From > from:
		return have[i].From, false
	}
	return min(have[i].To, to), true
}

// Overlaps reports whether have and [from, to) share a byte.
func Overlaps(have []Extent, from, to int64) bool {
	end, covered := Next(have, from, to)
	return from < to && (covered || end < to)
}

// Total returns the sum of the lengths.
func Total(have []Extent) (n int64) {
	for _, e := range have {
		n += e.To - e.From
	}
	return n
}

// Valid reports whether have is sorted, merged and not negative.
func Valid(have []Extent) bool {
	last := int64(-1)
	for _, e := range have {
		if e.From <= last || e.From >= e.To {
			return false
		}
		last = e.To
	}
	return true
}
