package packet

import "time"

// Bucket bounds how many packets a peer can have sent again: a token bucket that is
// full at first. It is for one goroutine.
type Bucket struct {
	Rate, Burst float64 // packets a second, and at once
	tokens      float64
	at          time.Time
}

// Take removes one token if there is one.
func (b *Bucket) Take(now time.Time) bool {
	if b.at.IsZero() {
		b.tokens = b.Burst
	} else {
		b.tokens = min(b.Burst, b.tokens+now.Sub(b.at).Seconds()*b.Rate)
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
