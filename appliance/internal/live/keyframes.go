package live

import "time"

// keyframeInterval is the least time between two requests for a keyframe of one
// rendition, and between a keyframe and the next request.
const keyframeInterval = time.Second

// keyframes decides when the encoder is asked. Requests that come too early are
// kept, and answered by whatever keyframe comes first.
type keyframes struct {
	wanted bool
	last   time.Time // of the last request or keyframe
}

// want notes that a viewer needs a keyframe.
func (k *keyframes) want() { k.wanted = true }

// passed notes that a keyframe went by at the given time.
func (k *keyframes) passed(at time.Time) {
	k.wanted = false
	if at.After(k.last) {
		k.last = at
	}
}

// due tells whether to ask the encoder now, and if not, after how long to
// call again; 0: nothing is wanted.
func (k *keyframes) due(now time.Time) (ask bool, again time.Duration) {
	if !k.wanted {
		return false, 0
	}
	if wait := k.last.Add(keyframeInterval).Sub(now); wait > 0 && !k.last.IsZero() {
		return false, wait
	}
	// wanted stays set until a keyframe passes: a request that is lost with
	// a worker that dies is repeated.
	k.last = now
	return true, keyframeInterval
}
