package rtcworker

import (
	"time"
)

// ended is how a session came to its end.
type ended struct {
	reason string // one of the reasons below
	words  string
}

// The reasons for the end of a session. Those of the first group are told to the peer,
// who is there to be told; the others are for the log and the metrics.
const (
	reasonDone     = "" // the source came to its end
	reasonTimeout  = "timeout_reached"
	reasonSilent   = "silent"
	reasonSource   = "source_failed"
	reasonUpload   = "upload_failed"
	reasonWorker   = "worker_failed"
	reasonStopping = "box_stopping"
	reasonOperator = "ended_by_operator"

	reasonLost         = "peer_lost"     // no sign of the peer: ICE failed
	reasonLeft         = "peer_left"     // it closed the connection
	reasonNotConnected = "not_connected" // it never came
)

// end begins the session's end; the first reason stays.
func (l *life) end(reason, words string) {
	if l.finished != nil {
		return
	}
	l.finished = &ended{reason: reason, words: words}
	l.show(func(i *Info) { i.State = StateEnding })
	l.camera.stop()
	silent := false // nobody is there to be told
	switch reason {
	case reasonLost, reasonLeft, reasonNotConnected:
		silent = true
	}
	var errors []string
	if words != "" {
		errors = []string{words}
	}
	if reason != reasonDone {
		l.kill()
	}
	if silent || l.connected.IsZero() || !l.read() && (l.track == nil || reason != reasonDone) {
		l.hangUp()
		return
	}
	l.spoken = !l.read()
	deliver := deliverTime
	if reason == reasonStopping {
		deliver = deliverTimeStopping
	}
	l.deadline = time.Now().Add(deliver)
	l.took() // from now on the peer has to
	// At the source's end everything is delivered that came before. Otherwise the peer
	// has waited, or is to wait, for something else.
	id := uint32(l.lastResult.Load() + 1)
	l.sender.finish(lastWord(reason, errors), id, reason != reasonDone, len(l.outlets) == 0)
}

// deliver says how long a session whose source came to its end may go on delivering what
// came of it: a slow reader gets all of it, one that takes nothing does not hold its place
// with signs of life. The client's own limit holds here, too.
func (l *life) deliver(now time.Time) {
	if l.track != nil {
		if n := l.track.Sent(); n > l.filmedTo {
			l.filmedTo = n
			l.took()
		}
	}
	l.deadline = l.began.Add(time.Duration(l.lastTaken.Load())).Add(l.s.c.Silence)
	if !now.Before(l.deadline) {
		l.finished = &ended{reasonSilent, "The peer took nothing of what was left for " + l.s.c.Silence.String() + "."}
		return
	}
	if l.req.timeout <= 0 {
		return
	}
	limit := l.connected.Add(l.req.timeout)
	if now.Before(limit) {
		l.deadline = earlier(l.deadline, limit)
		return
	}
	words := l.timedOut()
	l.finished = &ended{reasonTimeout, words}
	l.deadline = now.Add(deliverTime)
	l.sender.cutShort(lastWord(reasonTimeout, []string{words}))
}

// timedOut says that the client's own limit is reached.
func (l *life) timedOut() string {
	return "The session's processing_timeout of " + l.req.timeout.String() + " is over."
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// filmed tells whether pictures still wait for the peer, in a session whose source came
// to its end.
func (l *life) filmed() bool {
	if l.track == nil || l.finished == nil || l.finished.reason != reasonDone {
		return false
	}
	pictures, _ := l.track.Queued()
	return pictures > 0
}

// leave gives the peer time to close the connection itself, so that nothing of what
// it was sent is lost in closing, and lost packets can be asked for again.
func (l *life) leave(now time.Time) {
	leave := leaveTime
	if l.finished.reason == reasonStopping {
		leave = leaveTimeStopping
	}
	l.leaving, l.deadline = true, now.Add(leave)
}

// hangUp has the control loop return.
func (l *life) hangUp() { l.cancel(errOver) }

// kill ends the worker, if there is one. It is reaped by the goroutine that started it.
func (l *life) kill() {
	l.mu.Lock()
	proc := l.proc
	l.mu.Unlock()
	if proc != nil {
		proc.Kill()
	}
}

// takeDown ends everything of the session and waits for it.
func (l *life) takeDown() {
	l.cancel(errOver)
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.camera.stop()
	l.kill()
	l.hold = make(chan struct{})
	go func() {
		defer close(l.hold)
		if l.conn == nil { // it was never made
			return
		}
		if err := l.conn.Close(); err != nil {
			l.log.Debug("close connection", "err", err)
		}
	}()
	l.work.Wait() // what reads from the connection ends with it
	l.sender.release()
	for _, m := range l.queues {
		m.Close()
	}
	for id, announced := range l.uploads {
		l.s.use(id, -1)
		if !announced {
			l.s.d.Discard(id)
		}
	}
	reason, words := reasonLeft, ""
	if l.finished != nil {
		reason, words = l.finished.reason, l.finished.words
	}
	i := l.info()
	l.s.metrics.ended(reason, i)
	l.log.Info("session ended", "reason", reasonName(reason), "why", words, "source", i.Source,
		"frames", i.Frames, "documents", i.Documents, "left_out", i.LeftOut, "bytes", i.Bytes, "after", time.Since(l.began).Round(time.Millisecond))
}

// abandon takes down a session that never ran.
func (l *life) abandon() {
	close(l.over)
	l.finished = &ended{reason: reasonStopping}
	l.takeDown()
	<-l.hold
}

// reasonName is a reason as logs and metrics have it.
func reasonName(reason string) string {
	if reason == reasonDone {
		return "complete"
	}
	return reason
}
