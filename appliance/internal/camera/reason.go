package camera

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// What the operator reads: what is the matter, and what to do if anything.
const (
	reasonStarting = "opening the source"
	reasonEnded    = "the file has been played to its end; set loop to play it again"
	reasonHungUp   = "the camera ended the stream; it is being called again"
	reasonRestart  = "being started anew, as asked"
	reasonStopped  = "the camera was stopped"
	reasonWaiting  = "waiting for a publisher"
	reasonSilent   = "the publisher sends no pictures; it goes on when they come"
)

func reasonStalled(d time.Duration) string {
	return fmt.Sprintf("no new frame for %v; the connection is being made anew", d)
}

func reasonNoPicture(d time.Duration) string {
	return fmt.Sprintf("no picture within %v; check that the camera is sending video", d)
}

func reasonCrashing(times int, stderr []string) string {
	s := fmt.Sprintf("the media worker died %d times in a row and is started only now and then", times)
	if last := link.LastWord(stderr); last != "" {
		return s + "; it last said: " + last
	}
	return s + "; the log may say more"
}

// classify tells what a live run's end means, and in which words.
func (k *control) classify(r *run, m mail) (event, string) {
	exit := m.exit
	switch {
	case r.verdict != "":
		return r.verdict, r.reason
	case exit.Fault != nil:
		return failed, k.c.scrub.line(exit.Fault.Message)
	case m.status.State == link.Offline:
		return failed, k.c.scrub.line(m.status.Reason)
	case errors.Is(exit.Err, link.ErrStalled), errors.Is(exit.Err, link.ErrSilent) && exit.Signal != 0, errors.Is(exit.Err, link.ErrDeaf):
		return stalled, exit.Err.Error() + "; it is started anew"
	case r.publication != nil && exit.Err == nil:
		return failed, reasonStarting
	case exit.Err == nil && (m.done || m.status.State == link.Ended):
		if finite(k.c.cfg.Start.Source) {
			return ended, reasonEnded
		}
		return failed, reasonHungUp
	case exit.Signal == syscall.SIGKILL && errors.Is(exit.Err, link.ErrDied):
		return died, "the media worker was killed from outside, perhaps for want of memory; it is started anew"
	case exit.Err == nil:
		return died, "the media worker ended without a reason; it is started anew"
	}
	return died, k.c.scrub.line(exit.Err.Error()) + "; it is started anew"
}

// finite tells whether a source has an end: a file that does not loop.
func finite(s link.Source) bool {
	if s.Loop {
		return false
	}
	if strings.HasPrefix(s.URL, "file:") {
		return true
	}
	for _, endless := range []string{"/dev/", "test:", "demo:", "whip:"} {
		if strings.HasPrefix(s.URL, endless) {
			return false
		}
	}
	return !strings.Contains(s.URL, "://")
}

func (k *control) exitReport(now time.Time, r *run, exit *link.Exit, reason string) *LastExit {
	e := &LastExit{At: now, Reason: reason, Code: exit.Code, Runtime: now.Sub(r.began), Stderr: make([]string, len(exit.Stderr))}
	if exit.Signal != 0 {
		e.Signal = exit.Signal.String()
	}
	for i, l := range exit.Stderr {
		e.Stderr[i] = k.c.scrub.line(l)
	}
	return e
}

// log reports the end of a run: once for each end, which back-off keeps rare.
func (k *control) log(now time.Time, e event, reason string, exit *link.Exit) {
	args := []any{"state", k.state, "reason", reason, "retry_in", max(0, k.retryAt.Sub(now)).Round(time.Millisecond), "restarts", k.restarts}
	switch e {
	case ended:
		k.c.log.Info("camera source ended", "reason", reason)
	case failed:
		k.c.log.Warn("camera source failed", args...)
	default:
		k.c.log.Warn("camera worker ended", append(args, "stderr", k.lastExit.Stderr, "lines", exit.StderrLines)...)
	}
}
