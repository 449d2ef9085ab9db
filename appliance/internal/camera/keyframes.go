package camera

import "time"

// keyframeEvery is the least time between two keyframe requests of a codec: a
// keyframe costs as much as many other pictures, and ten viewers that lose a
// packet at once need one, not ten.
const keyframeEvery = time.Second

// limiter lets one request of a codec through at once, and those that follow
// within keyframeEvery as one at its end.
type limiter struct {
	pending bool
	next    time.Time // not before
}

// due tells whether a request is to be made now.
func (l *limiter) due(now time.Time) bool {
	if !l.pending || now.Before(l.next) {
		return false
	}
	l.pending, l.next = false, now.Add(keyframeEvery)
	return true
}
