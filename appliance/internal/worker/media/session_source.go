package media

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// A source on the network that was lost is asked again, first after retryFirst, then
// after twice as long each time, and no more rarely than retryLast.
const (
	retryFirst = 500 * time.Millisecond
	retryLast  = 5 * time.Second
)

// play plays the source to its end. One on the network has none: when it is lost it
// is played again, frames going on from where they were, until ctx is done.
func (s *sessionRun) play(ctx context.Context) error {
	src := s.w.planSource()
	pause, ever := retryFirst, false
	for {
		s.line.restart()
		err := s.w.play(ctx, src, engine.Handlers{
			Info:    s.info,
			Frame:   func(f *engine.Frame) { s.enter(ctx, f) },
			Warning: s.warning,
		})
		if ctx.Err() != nil || !s.pulled() {
			return err
		}
		if err == nil {
			err = link.Fault{Kind: link.FaultUnreachable, Message: "The source ended its stream."}
		}
		fault := faultOf(err)
		if s.played.Swap(false) {
			pause, ever = retryFirst, true
		}
		if !ever && final(fault.Kind) {
			return err
		}
		s.w.log.Info("the source is tried again", "reason", fault.Message, "in", pause)
		s.w.setStatus(func(st *link.Status) { st.State, st.Reason = link.Offline, fault.Message })
		if !sleep(ctx, pause, nil) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, retryLast)
	}
}

// final tells of faults that trying again does not mend.
func final(k link.FaultKind) bool {
	switch k {
	case link.FaultNotFound, link.FaultRefused, link.FaultNoVideo, link.FaultUnsupported:
		return true
	}
	return false
}

func (s *sessionRun) info(i engine.Info) {
	s.w.rate.declare(i.FPS)
	s.fps.Store(nil)
	if i.FPS > 0 && i.FPS <= 1000 {
		s.fps.Store(&i.FPS)
	}
	s.duration.Store(int64(i.Duration))
	s.w.playing(i)
}

func (s *sessionRun) warning(text string) {
	s.w.ledger.decoderError()
	s.w.decodeWarning(text)
	s.w.warnings.add(text)
}
