package live

import "time"

// demand decides which renditions the producer is asked for: those with
// viewers at once, those without a while longer.
type demand struct {
	linger time.Duration
	wanted [len(codecs)]bool
	until  [len(codecs)]time.Time // when a rendition without viewers is given up; zero: it has some
}

// update takes the numbers of viewers at a time. It returns whether the producer
// is to be told, and after how long to call again; 0: not before a change.
func (d *demand) update(now time.Time, viewers [len(codecs)]int) (changed bool, again time.Duration) {
	for i, n := range viewers {
		switch {
		case n > 0:
			changed = changed || !d.wanted[i]
			d.wanted[i], d.until[i] = true, time.Time{}
		case !d.wanted[i]:
		case d.until[i].IsZero():
			d.until[i] = now.Add(d.linger)
			again = soonest(again, d.linger)
		case now.Before(d.until[i]):
			again = soonest(again, d.until[i].Sub(now))
		default:
			d.wanted[i], changed = false, true
		}
	}
	return changed, again
}

// soonest is the smaller of two waits, where 0 is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
