package camera

import "time"

// Backoff says how long to wait between attempts.
type Backoff struct {
	// Min is the first pause (250 ms); each further one is twice as long, up
	// to Max (30 s).
	Min, Max time.Duration
	// Jitter is the part of a pause that is left to chance (0.2 is ±20 %), so
	// that the cameras of a box, or the boxes of a site, do not all knock at
	// the moment a switch is back; 0: 0.2, less than 0: none.
	Jitter float64
}

func (b Backoff) withDefaults() Backoff {
	if b.Min <= 0 {
		b.Min = 250 * time.Millisecond
	}
	if b.Max < b.Min {
		b.Max = max(30*time.Second, b.Min)
	}
	if b.Jitter == 0 {
		b.Jitter = 0.2
	}
	b.Jitter = min(max(b.Jitter, 0), 1)
	return b
}

// pause is the wait before the n-th attempt in a row since one that went well,
// from 0: at once. chance is from 0 up to 1.
func (b Backoff) pause(n int, chance float64) time.Duration {
	if n <= 0 {
		return 0
	}
	d := b.Max
	if n <= 30 { // beyond, the shift would overflow, and Max is long reached
		d = min(b.Min<<(n-1), b.Max)
	}
	return b.spread(d, chance)
}

// spread applies the jitter.
func (b Backoff) spread(d time.Duration, chance float64) time.Duration {
	return time.Duration(float64(d) * (1 + b.Jitter*(2*chance-1)))
}
