package camera

import (
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// quickDeath: a worker that dies within this time and never played died "at
	// once"; quickDeaths of them in a row are a crash loop.
	quickDeath  = 2 * time.Second
	quickDeaths = 3
	// anyDeaths in a row without a healthy run are one too, however far each got:
	// a decoder that crashes at the same frame every time does.
	anyDeaths = 6
	// crashPause is the least pause in a crash loop: each attempt costs the
	// other cameras processor time.
	crashPause = 10 * time.Second
)

// history is what the last attempts came to.
type history struct {
	failures int // since the last healthy run; pause(failures-1) comes next
	deaths   int // of these, deaths without a reason of the source
	quick    int // deaths at once, in a row
}

// healthy notes that they kept coming.
func (h *history) healthy() { *h = history{} }

// ends notes the end of a run, and tells whether the worker is in a crash loop.
func (h *history) ends(e event, didPlay bool, runtime time.Duration) bool {
	if h.failures == 0 && !didPlay {
		h.failures = 1 // only a hiccup after playing is tried again at once
	}
	h.failures++
	if didPlay || e != died {
		h.quick = 0
	}
	if e != died {
		return false
	}
	h.deaths++
	if !didPlay && runtime < quickDeath {
		h.quick++
	}
	return h.quick >= quickDeaths || h.deaths >= anyDeaths
}

// pause is the wait after a run that ended with e.
func (h *history) pause(b Backoff, e event, exit *link.Exit, chance float64) time.Duration {
	d := b.pause(h.failures-1, chance)
	switch {
	case e == crashed:
		d = max(d, b.spread(min(crashPause, b.Max), chance))
	case exit.Fault != nil && exit.Fault.Kind == link.FaultRefused:
		// Cameras lock an account after a few wrong passwords.
		d = b.spread(b.Max, chance)
	}
	return d
}
