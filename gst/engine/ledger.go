package engine

import "time"

// ledger knows the frames that an encoder has, and which of them a unit is of.
type ledger struct {
	inside  []inside
	skipped int
	last    inside    // of the unit that came out last
	moved   time.Time // when a unit came out
	full    time.Time // since when nothing came out though a frame waits to go in
}

// inside is a frame that the encoder has.
type inside struct {
	at       time.Duration // as the encoder was told
	pts      time.Duration
	captured int64
	since    time.Time
}

// near is how far an encoder's time may be off the one it was told: kernels
// count microseconds.
const near = time.Microsecond / 2

func (l *ledger) in(f inside) { l.inside = append(l.inside, f) }

// out finds the frame of a unit that the encoder dated at, or none. Units come
// in the order of frames (there are no B-frames): frames before it were
// skipped. A unit that is of no frame here belongs to the one before, and keeps
// its times. work is how long the encoder worked on it, waiting not counted.
func (l *ledger) out(at time.Duration, now time.Time) (f inside, work time.Duration) {
	n := 0
	if at != none {
		for n < len(l.inside) && l.inside[n].at < at-near {
			n++
		}
		if n == len(l.inside) || l.inside[n].at > at+near {
			n = -1
		}
	}
	before := l.moved
	l.moved, l.full = now, time.Time{}
	if n < 0 || len(l.inside) == 0 {
		return l.last, 0
	}
	f = l.inside[n]
	l.skipped += n
	l.inside = append(l.inside[:0], l.inside[n+1:]...)
	l.last = f
	if f.since.After(before) {
		before = f.since
	}
	return f, now.Sub(before)
}
