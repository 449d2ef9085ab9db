package camera

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// shortPause is a pause too short for a slate worker to come up in.
	shortPause = 100 * time.Millisecond
	// slatePause is before a slate worker that died is started anew.
	slatePause = 5 * time.Second
	// exitGrace is for a worker whose source failed to exit by itself.
	exitGrace = 2 * time.Second
)

// control is the camera's control loop: all that only it touches.
type control struct {
	c       *Camera
	workers sync.WaitGroup
	lastRun uint64
	live    *run
	slate   *run
	slateAt time.Time // no slate worker before

	state   State
	reason  string
	since   time.Time
	offline time.Time // no picture since; zero while playing
	retryAt time.Time
	history history

	status   link.Status // of the last live run that said anything
	finished link.Ledger // sum over the live runs that are over
	restarts uint64
	lastExit *LastExit
	keys     [2]limiter
	want     link.Want
	changed  bool

	publication *Publication
}

// Run is the camera's life, until ctx ends; then its workers are stopped and
// waited for, and nil is returned. It can be called once.
func (c *Camera) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("camera: Run was called twice")
	}
	defer c.changes.close()
	defer c.detections.close()
	now := time.Now()
	k := &control{c: c, state: Starting, reason: reasonStarting, since: now, offline: now, retryAt: now, changed: true}
	var tick <-chan time.Time
	ticked, enter := func() {}, func() func() { return func() {} }
	if l := c.deps.Loop; l != nil {
		tick, ticked, enter = l.Tick(), l.Ticked, l.Enter
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-tick:
			ticked()
			continue
		case <-c.wake:
		case <-timer.C:
		}
		leave := enter()
		now := time.Now()
		k.step(ctx, now)
		timer.Reset(time.Until(k.next(now)))
		leave()
	}
	k.end()
	return nil
}

// end stops the workers and waits for them; Process promises that this is soon.
func (k *control) end() {
	ended := make(chan struct{})
	go func() { k.workers.Wait(); close(ended) }()
	for waiting := true; waiting; {
		for _, r := range []*run{k.live, k.slate} {
			if r == nil {
				continue
			}
			m := k.take(r)
			r.proc = m.proc
			k.stop(r)
		}
		select {
		case <-ended:
			waiting = false
		case <-k.c.wake: // perhaps a process that was only just started
		}
	}
	if k.live != nil {
		m := k.take(k.live)
		k.finished = add(k.finished, closed(m.beat.Ledger))
		k.live = nil
	}
	k.slate = nil
	k.move(time.Now(), stopped, reasonStopped)
	k.publish(time.Now())
}

// step brings everything up to date with what came and what the clock says.
func (k *control) step(ctx context.Context, now time.Time) {
	if k.live != nil {
		k.watch(now, k.live)
	}
	if k.slate != nil {
		k.watchSlate(now, k.slate)
	}
	want := k.takeDemand(now)
	k.takePublication(now)
	if k.live == nil && k.state != Ended && !now.Before(k.retryAt) && !k.waits() {
		k.attempt(ctx)
	}
	k.tendSlate(ctx, now, want)
	k.command(now, want)
	if k.changed {
		k.changed = false
		k.publish(now)
	}
}

// take copies a run's mail.
func (k *control) take(r *run) mail {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if r.seen != r.mail.rev {
		r.seen, k.changed = r.mail.rev, true
	}
	return r.mail
}

// takeDemand reads what was asked of the camera.
func (k *control) takeDemand(now time.Time) link.Want {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.keys {
		k.keys[i].pending = k.keys[i].pending || c.keys[i].pending
		c.keys[i].pending = false
	}
	if c.retry {
		c.retry, k.retryAt = false, time.Time{}
		if k.state == Ended && k.live == nil {
			k.history.healthy()
			k.move(now, again, reasonStarting)
		}
	}
	if c.restart {
		c.restart = false
		if r := k.live; r != nil && r.verdict == "" && !r.stopping {
			r.wished = true
			k.giveUp(r, died, reasonRestart)
			if r.proc != nil {
				r.proc.Kill()
			}
		}
	}
	if k.want != c.want {
		k.want, k.changed = c.want, true
	}
	return c.want
}

// attempt starts a live worker.
func (k *control) attempt(ctx context.Context) {
	start := k.c.cfg.Start
	start.Mode, start.Since = "live", k.offline
	if k.history.failures > 1 {
		// Known to be away: the slate says so from the first picture on. After a
		// mere hiccup it would only flash up; the last picture stands instead.
		start.Slate = k.slateText()
	}
	if k.lastRun > 0 && k.publication == nil {
		k.restarts++
	}
	if k.publication != nil {
		start.Source.URL = k.publication.source()
	}
	k.live = k.spawn(ctx, start, false)
	k.changed = true
}

// watch looks at the live run.
func (k *control) watch(now time.Time, r *run) {
	m := k.take(r)
	r.proc = m.proc
	if m.status.State != "" {
		k.status = m.status
	}
	if m.exit != nil {
		k.over(now, r, m)
		return
	}
	if m.beat.Ledger.Decoded != r.decoded {
		r.decoded, r.progress = m.beat.Ledger.Decoded, now
	}
	switch {
	case r.stopping || r.verdict != "":
	case m.status.State == link.Offline:
		if !r.leftBehind {
			r.leftBehind, r.killAt = true, now.Add(exitGrace)
			k.move(now, failed, k.c.scrub.line(m.status.Reason))
		}
		k.killDue(now, r)
	case m.status.State == link.Ended:
		// It may go on showing its own slate; it is stopped when that is due.
		if k.state != Ended {
			k.move(now, ended, reasonEnded)
		}
	case m.played:
		if r.playing.IsZero() {
			r.playing, r.progress = now, now
			k.move(now, played, "")
		}
		if now.Sub(r.playing) >= k.c.cfg.HealthyAfter {
			k.history.healthy()
		}
		if now.Sub(r.progress) >= k.c.cfg.StallAfter {
			k.giveUp(r, stalled, reasonStalled(k.c.cfg.StallAfter))
		}
	case now.Sub(r.began) >= k.c.cfg.ConnectAfter:
		k.giveUp(r, failed, reasonNoPicture(k.c.cfg.ConnectAfter))
	}
	if r.verdict != "" && r.proc != nil {
		r.proc.Kill() // again and again: it may only just have come up
	}
}

func (k *control) giveUp(r *run, e event, reason string) { r.verdict, r.reason = e, reason }

func (k *control) killDue(now time.Time, r *run) {
	if !now.Before(r.killAt) && r.proc != nil {
		r.proc.Kill()
	}
}

func (k *control) stop(r *run) {
	if r.proc != nil && !r.stopping {
		r.stopping = true
		r.proc.Stop()
	}
}

// over takes leave of a live run and decides about the next attempt.
func (k *control) over(now time.Time, r *run, m mail) {
	k.live = nil
	k.finished = add(k.finished, closed(m.beat.Ledger))
	k.c.out.forget(r.id)
	k.c.undetect()
	if r.publication != nil {
		r.publication.feed(nil)
	}
	if r.publication != k.publication {
		// Its publisher has left: that is no failure, and the next may come at once.
		k.history.healthy()
		k.retryAt = now
		k.move(now, failed, k.awaiting())
		return
	}
	e, reason := k.classify(r, m)
	if r.publication != nil && e == stalled {
		r.publication.rest()
		k.publication = nil
		k.history.healthy()
		k.retryAt = now
		k.move(now, e, reasonSilent)
		return
	}
	k.lastExit = k.exitReport(now, r, m.exit, reason)
	if k.state == Ended {
		return
	}
	if r.wished {
		k.history.healthy()
		k.retryAt = now
		k.move(now, e, reason)
		k.log(now, e, reason, m.exit)
		return
	}
	looping := k.history.ends(e, m.played, m.exit.Runtime)
	if looping && e == died {
		e, reason = crashed, reasonCrashing(k.history.deaths, k.lastExit.Stderr)
	}
	if e != ended {
		k.retryAt = now.Add(k.history.pause(k.c.cfg.Backoff, e, m.exit, rand.Float64()))
	}
	k.move(now, e, reason)
	k.log(now, e, reason, m.exit)
}

// move enters the state that e leads to.
func (k *control) move(now time.Time, e event, reason string) {
	s, err := k.state.next(e)
	if err != nil {
		k.c.log.Error("camera: an event out of place was ignored", "err", err)
		return
	}
	if s != k.state {
		k.state, k.since = s, now
	}
	k.reason, k.changed = reason, true
	switch {
	case s == Playing:
		k.offline = time.Time{}
	case k.offline.IsZero():
		k.offline = now
	}
	if e == played {
		k.c.log.Info("camera plays", "codec", k.status.Stream.Codec, "width", k.status.Stream.Width, "height", k.status.Stream.Height, "analyser", k.status.Analyser)
	}
}

// next is when step has something to do by the clock.
func (k *control) next(now time.Time) time.Time {
	at := now.Add(time.Hour)
	by := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if k.live == nil && k.state != Ended && !k.waits() {
		by(k.retryAt)
	}
	if r := k.live; r != nil {
		switch {
		case r.verdict != "" || r.stopping:
		case r.leftBehind:
			if now.Before(r.killAt) {
				by(r.killAt)
			}
		case k.state == Ended:
		case r.playing.IsZero():
			by(r.began.Add(k.c.cfg.ConnectAfter))
		default:
			by(r.progress.Add(k.c.cfg.StallAfter))
			if t := r.playing.Add(k.c.cfg.HealthyAfter); now.Before(t) {
				by(t)
			}
		}
	}
	if k.slate == nil && k.slateAt.After(now) {
		by(k.slateAt)
	}
	for _, l := range k.keys {
		if l.pending && l.next.After(now) {
			by(l.next)
		}
	}
	return at
}
