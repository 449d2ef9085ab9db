package job

import (
	"cmp"
	"fmt"
	"time"

	"github.com/watchpost/watchpost/state"
)

// The life of a job, as functions of its record: each makes one step or says why
// it cannot be made. They know neither clock nor disk.

// maxDeaths is how many workers a file may kill.
const maxDeaths = 2

// A box that goes down in the middle of an attempt is rarely the file's doing:
// power fails, people update. But a file that makes the machine crash must not
// do so for ever, nor one that makes the control process crash, which is the
// less likely, and happens more often for other reasons.
const (
	maxReboots  = 3
	maxRestarts = 10
	// fewRestarts are forgiven; then each further attempt waits twice as long.
	fewRestarts   = 3
	restartsPause = 2 * time.Second
)

// The kinds of a record's fault beside the worker's own.
const (
	faultDied   = "died"   // the worker died without a word
	faultUpload = "upload" // the upload is gone or was refused
	faultBox    = "box"    // the box went down during it, again and again
	faultWait   = "wait"   // no fault: what the job waits for
)

// over tells whether a job has come to an end, from which only a user's retry
// brings it back.
func over(s state.JobStatus) bool {
	switch s {
	case state.JobDone, state.JobFailed, state.JobCanceled, state.JobSetAside:
		return true
	}
	return false
}

// refuse is an ErrConflict that says what is in the way.
func refuse(j *state.Job, wish, do string) error {
	return explain(ErrConflict, fmt.Sprintf("The job is %s and cannot be %s: %s.", word(j.Status), wish, do))
}

func word(s state.JobStatus) string {
	if s == state.JobSetAside {
		return "set aside"
	}
	return string(s)
}

// begin notes that a worker is about to start.
func begin(j *state.Job, a state.Attempt, stream bool, model string) error {
	if j.Status != state.JobQueued {
		return refuse(j, "started", "it must be queued")
	}
	if j.Attempts == 0 {
		j.Streamed, j.Started = stream, a.Started
		j.Settings.Model = cmp.Or(j.Settings.Model, model)
	}
	j.Status, j.Attempt, j.NotBefore = state.JobRunning, &a, time.Time{}
	j.Attempts++
	j.FaultKind, j.Fault = "", ""
	return nil
}

// cancel ends a job by somebody's wish or for its upload's sake; what it found
// stays.
func cancel(j *state.Job, kind, why string, now time.Time) error {
	if j.Status == state.JobCanceled {
		return nil
	}
	if over(j.Status) {
		return refuse(j, "canceled", "it has ended already")
	}
	j.Status, j.FaultKind, j.Fault, j.Ended, j.NotBefore = state.JobCanceled, kind, why, now, time.Time{}
	return nil
}

// retry has a job tried again from a clean slate, but for its results.
func retry(j *state.Job) error {
	switch j.Status {
	case state.JobDone:
		return refuse(j, "tried again", "make another job for the same upload")
	case state.JobRunning, state.JobPaused:
		return refuse(j, "tried again", "cancel it first")
	}
	j.Status, j.FaultKind, j.Fault = state.JobQueued, "", ""
	j.NotBefore, j.Ended = time.Time{}, time.Time{}
	j.Retries, j.Deaths, j.Restarts, j.Reboots = 0, 0, 0, 0
	return nil
}

// await has a job wait for its upload's bytes.
func await(j *state.Job, remark string) {
	j.Status, j.FaultKind, j.Fault = state.JobWaiting, faultWait, remark
}

// arrived ends that wait.
func arrived(j *state.Job) {
	if j.Status == state.JobWaiting {
		j.Status, j.FaultKind, j.Fault = state.JobQueued, "", ""
	}
}

// interrupted settles an attempt that the box went down in. whole is how many
// bytes of whole lines its log has now.
func interrupted(j *state.Job, boot string, whole int64, now time.Time) {
	a := j.Attempt
	if a == nil {
		return
	}
	j.Attempt = nil
	j.Results, j.ResultsBytes = 0, 0 // to be counted in the file
	if over(j.Status) {
		return // canceled while its worker was on its way out
	}
	j.Status = state.JobQueued
	switch {
	case whole > a.Bytes:
		j.Restarts, j.Reboots = 0, 0
	case boot != a.Boot:
		j.Reboots++
	default:
		j.Restarts++
	}
	if j.Reboots >= maxReboots || j.Restarts >= maxRestarts {
		what, n := "box", j.Restarts
		if j.Reboots >= maxReboots {
			what, n = "whole machine", j.Reboots
		}
		setAside(j, faultBox, fmt.Sprintf("the %s went down %d times in a row while it analysed this file, which got no further; it is not tried again unless you ask for it", what, n), now)
		return
	}
	if n := j.Restarts - fewRestarts; n >= 0 {
		j.NotBefore = now.Add(restartsPause << n)
	}
}

func setAside(j *state.Job, kind, why string, now time.Time) {
	j.Status, j.FaultKind, j.Fault, j.Ended = state.JobSetAside, kind, why, now
}

// backoff is the pause before the n-th retry, from 1.
func (c Config) backoff(n int) time.Duration {
	d := c.RetryMin
	for range n - 1 {
		if d *= 3; d >= c.RetryMax {
			return c.RetryMax
		}
	}
	return min(d, c.RetryMax)
}

// settle notes how an attempt ended.
func (c Config) settle(j *state.Job, v verdict, m mark, now time.Time) {
	j.Attempt = nil
	j.Results, j.ResultsBytes = m.seq, m.bytes
	if m.grew {
		j.Restarts, j.Reboots = 0, 0
	}
	if over(j.Status) { // canceled while it ran
		return
	}
	switch v.end {
	case endDone:
		j.Status, j.Outcome, j.Ended = state.JobDone, v.outcome, now
		j.FaultKind, j.Fault = "", ""
	case endStopped:
		j.Status = state.JobQueued
	case endStarved:
		await(j, v.fault)
	case endWhole:
		j.Streamed = false
		await(j, v.fault)
	case endDied:
		j.Deaths++
		if j.Deaths >= maxDeaths {
			setAside(j, faultDied, fmt.Sprintf("its worker died %d times: %s; it is not tried again unless you ask for it", j.Deaths, v.fault), now)
			return
		}
		j.Status, j.FaultKind, j.Fault = state.JobQueued, faultDied, v.fault
		j.NotBefore = now.Add(c.backoff(1))
	case endPassing:
		if j.Retries < c.Retries {
			j.Retries++
			j.Status, j.FaultKind, j.Fault = state.JobQueued, v.kind, v.fault
			j.NotBefore = now.Add(c.backoff(j.Retries))
			return
		}
		fallthrough
	default:
		j.Status, j.FaultKind, j.Fault, j.Ended = state.JobFailed, v.kind, v.fault, now
	}
}
