package media

import (
	"strings"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

const (
	// passedUnits is how many units may be on their way through the decoder; one
	// that fails at the beginning is replaced, and all are decoded again.
	passedUnits = 512
	// longestGroup is how long a source may go without a keyframe before its own
	// pictures are given up: nobody could begin to watch them.
	longestGroup = time.Minute
	// reordering is how far back a picture's time may lie behind the one before
	// it to be taken for one that is shown in another order; more is a clock that
	// was set.
	reordering = time.Second
	// remindAfter is how often boxes are told again while the motion gate spares
	// the model: who draws them must know that they still hold.
	remindAfter = 250 * time.Millisecond
)

// passage hands the source's own pictures to the viewers, beside the analysis,
// and keeps pictures and analysis on one time line. Units come from the source's
// reading side, frames from its decoding side.
type passage struct {
	out    *renditions
	send   func(link.AccessUnit) error
	ledger *ledger
	report func(boxes, reason string)

	mu      sync.Mutex
	line    timeline
	times   [passedUnits]struct{ source, run time.Duration }
	n       int // times noted
	begun   bool
	waiting bool // for a keyframe
	refused bool
	key     time.Duration // of the last keyframe, in the run's time
}

// newPassage returns nil where boxes are to be burned in anyway.
func (w *worker) newPassage(line timeline) *passage {
	if w.start.Picture.Boxes != link.BoxesClient {
		return nil
	}
	p := &passage{out: w.out, send: w.conn.SendUnit, ledger: &w.ledger, line: line, waiting: true,
		report: func(boxes, reason string) {
			if boxes == link.BoxesBurned {
				w.log.Info("boxes are drawn on the picture after all", "reason", reason)
			}
			w.setStatus(func(s *link.Status) { s.Boxes, s.BoxesReason = boxes, reason })
		}}
	if strings.HasPrefix(w.start.Source.URL, "demo:") {
		p.refuse("it comes uncompressed")
	}
	return p
}

// unit sends one on.
func (p *passage) unit(u engine.Unit) {
	run, ok, missed := p.admit(u)
	if missed {
		p.ledger.pictureLate()
	}
	if !ok {
		return
	}
	// A failed send means that the control process is gone; the link's reader
	// sees the same and ends the worker.
	_ = p.send(link.AccessUnit{
		Codec: link.H264, Keyframe: u.Keyframe, Own: true, PTS: run, Captured: u.Captured, Data: u.Data,
	})
	p.ledger.pictureSent()
}

// admit notes a unit's time and tells whether viewers can use it; missed: they
// could, had they those before it.
func (p *passage) admit(u engine.Unit) (run time.Duration, ok, missed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n > 0 {
		if back := p.times[(p.n-1)%passedUnits].source - u.PTS; back > 0 && back < reordering {
			p.refuse("its pictures come in another order than they are shown in")
		}
	}
	run = p.line.at(u.PTS)
	p.times[p.n%passedUnits] = struct{ source, run time.Duration }{u.PTS, run}
	p.n++
	if p.refused {
		return 0, false, false
	}
	if !p.begun {
		p.begun, p.key = true, run
		p.out.own.Store(true)
		p.report(link.BoxesClient, "")
	}
	// A viewer would show, and keep, whatever its decoder makes of a hole. And
	// after a slate its decoder has the slate's pictures.
	if p.out.interrupted.Swap(false) || u.Gap {
		p.waiting = true
	}
	if u.Keyframe {
		p.waiting, p.key = false, run
	} else if run-p.key > longestGroup {
		p.refuse("its keyframes are more than a minute apart")
		return 0, false, false
	}
	return run, !p.waiting, p.waiting
}

// noUnits takes note that the source's pictures cannot be handed on.
func (p *passage) noUnits(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse(reason)
}

// refuse needs mu, but before the passage is used.
func (p *passage) refuse(reason string) {
	if p.refused {
		return
	}
	p.refused = true
	p.out.own.Store(false)
	p.report(link.BoxesBurned, "The camera's own picture cannot be shown: "+reason)
}

// at is the run's time of a decoded frame: that of the unit which it was.
func (p *passage) at(pts time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := p.n - 1; i >= max(0, p.n-passedUnits); i-- {
		if t := p.times[i%passedUnits]; t.source == pts {
			return t.run
		}
	}
	return p.line.at(pts)
}
