package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

var allStatuses = []state.JobStatus{
	state.JobWaiting, state.JobQueued, state.JobRunning, state.JobPaused,
	state.JobDone, state.JobFailed, state.JobCanceled, state.JobSetAside,
}

// Every step from every status: where it leads, or that it is refused and
// changes nothing.
func TestSteps(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	steps := map[string]func(*state.Job) error{
		"begin":   func(j *state.Job) error { return begin(j, state.Attempt{Started: now}, false, "m") },
		"cancel":  func(j *state.Job) error { return cancel(j, "", "", now) },
		"retry":   retry,
		"arrived": func(j *state.Job) error { arrived(j); return nil },
	}
	const no = state.JobStatus("")
	want := map[string][]state.JobStatus{ // in the order of allStatuses
		"begin":   {no, "running", no, no, no, no, no, no},
		"cancel":  {"canceled", "canceled", "canceled", "canceled", no, no, "canceled", no},
		"retry":   {"queued", "queued", no, no, no, "queued", "queued", "queued"},
		"arrived": {"queued", "queued", "running", "paused", "done", "failed", "canceled", "set_aside"},
	}
	for name, step := range steps {
		for i, from := range allStatuses {
			j := state.Job{Status: from, Deaths: 1, Retries: 1, Restarts: 1, Reboots: 1, FaultKind: "x", Fault: "y"}
			err := step(&j)
			if want[name][i] == no {
				if !errors.Is(err, ErrConflict) || j.Status != from || j.Fault != "y" {
					t.Errorf("%s from %s: %v, and it is %+v", name, from, err, j)
				}
				continue
			}
			if err != nil || j.Status != want[name][i] {
				t.Errorf("%s from %s: %s, %v; want %s", name, from, j.Status, err, want[name][i])
			}
			if name == "retry" && (j.Deaths+j.Retries+j.Restarts+j.Reboots != 0 || j.Fault != "") {
				t.Errorf("a retry from %s leaves %+v", from, j)
			}
		}
	}
}

func TestSettle(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	c := Config{Retries: 2}.withDefaults()
	running := func() state.Job {
		return state.Job{Status: state.JobRunning, Attempt: &state.Attempt{}, Streamed: true, Restarts: 2, Reboots: 1}
	}
	j := running()
	c.settle(&j, verdict{end: endDone, outcome: json.RawMessage(`{}`)}, mark{seq: 7, bytes: 70, grew: true}, now)
	if j.Status != state.JobDone || j.Attempt != nil || j.Results != 7 || j.ResultsBytes != 70 || string(j.Outcome) != "{}" || j.Ended != now || j.Restarts+j.Reboots != 0 {
		t.Errorf("done: %+v", j)
	}
	j = running()
	for i, wait := range []time.Duration{5 * time.Second, 15 * time.Second} {
		j.Status = state.JobRunning
		c.settle(&j, passing(link.FaultOutput, "no space"), mark{}, now)
		if j.Status != state.JobQueued || j.Retries != i+1 || !j.NotBefore.Equal(now.Add(wait)) || j.Fault != "no space" || j.Restarts != 2 {
			t.Errorf("retry %d: %+v", i+1, j)
		}
	}
	j.Status = state.JobRunning
	if c.settle(&j, passing(link.FaultOutput, "no space"), mark{}, now); j.Status != state.JobFailed || j.FaultKind != "output" || j.Ended != now {
		t.Errorf("after the last retry: %+v", j)
	}
	j = running()
	c.settle(&j, verdict{end: endDied, kind: faultDied, fault: "SIGSEGV"}, mark{}, now)
	if j.Status != state.JobQueued || j.Deaths != 1 || !j.NotBefore.After(now) {
		t.Errorf("one death: %+v", j)
	}
	j.Status = state.JobRunning
	if c.settle(&j, verdict{end: endDied, kind: faultDied, fault: "SIGSEGV"}, mark{}, now); j.Status != state.JobSetAside || !strings.Contains(j.Fault, "SIGSEGV") || j.Ended != now {
		t.Errorf("two deaths: %+v", j)
	}
	j = running()
	if c.settle(&j, verdict{end: endStopped}, mark{seq: 3}, now); j.Status != state.JobQueued || j.Results != 3 || j.Deaths != 0 || !j.NotBefore.IsZero() {
		t.Errorf("the box went down in order: %+v", j)
	}
	j = running()
	if c.settle(&j, verdict{end: endWhole, fault: "why"}, mark{}, now); j.Status != state.JobWaiting || j.Streamed || j.Fault != "why" {
		t.Errorf("not as a stream: %+v", j)
	}
	j = running()
	j.Status, j.Fault = state.JobCanceled, "mine"
	if c.settle(&j, verdict{end: endDone}, mark{seq: 4}, now); j.Status != state.JobCanceled || j.Fault != "mine" || j.Results != 4 || j.Attempt != nil {
		t.Errorf("canceled while it ran: %+v", j)
	}
	if got := (Config{RetryMin: time.Second, RetryMax: time.Minute}).backoff(50); got != time.Minute {
		t.Errorf("the 50th pause is %v", got)
	}
}

// A box that goes down is not the file's doing, until it is too often and always
// on the same one without progress.
func TestInterrupted(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	j := state.Job{}
	down := func(boot string, bytes int64) {
		j.Status, j.Attempt = state.JobRunning, &state.Attempt{Boot: "b0", Bytes: 100}
		interrupted(&j, boot, bytes, now)
	}
	for i := range maxReboots - 1 {
		if down(fmt.Sprint("b", i+1), 100); j.Status != state.JobQueued || j.Reboots != i+1 || j.Deaths != 0 {
			t.Fatalf("reboot %d: %+v", i+1, j)
		}
	}
	if down("b7", 101); j.Reboots != 0 || j.Status != state.JobQueued {
		t.Fatalf("with progress: %+v", j)
	}
	for i := range maxRestarts - 1 {
		down("b0", 100)
		if waits := j.NotBefore.After(now); j.Status != state.JobQueued || waits != (i+1 >= fewRestarts) {
			t.Fatalf("restart %d: %+v", i+1, j)
		}
	}
	if down("b0", 100); j.Status != state.JobSetAside || !strings.Contains(j.Fault, "10 times") {
		t.Fatalf("restarts without end: %+v", j)
	}
	j = state.Job{}
	for range maxReboots {
		down("b1", 0)
	}
	if j.Status != state.JobSetAside || !strings.Contains(j.Fault, "whole machine went down 3 times") {
		t.Fatalf("reboots without end: %+v", j)
	}
	j = state.Job{Status: state.JobCanceled, Attempt: &state.Attempt{Boot: "b0"}, Results: 5}
	if interrupted(&j, "b1", 0, now); j.Status != state.JobCanceled || j.Attempt != nil || j.Reboots != 0 || j.Results != 0 {
		t.Errorf("canceled: %+v", j)
	}
}

func TestJudge(t *testing.T) {
	const path = "/var/lib/box/uploads/u1"
	fault := func(k link.FaultKind) link.Exit {
		f := link.Fault{Kind: k, Message: path + ": what happened"}
		return link.Exit{Err: f, Fault: &f, Code: 1}
	}
	died := link.Exit{Err: fmt.Errorf("%w: signal: segmentation fault", link.ErrDied), Signal: syscall.SIGSEGV, Stderr: []string{"first", "SIGSEGV: segmentation violation", "goroutine 1", "open " + path}}
	for _, c := range []struct {
		name string
		a    attempt
		end  end
		kind string
		text string
	}{
		{"done", attempt{done: true, outcome: json.RawMessage("{}")}, endDone, "", ""},
		{"done while stopping", attempt{done: true, asked: stopClosing}, endDone, "", ""},
		{"no summary", attempt{done: true, outErr: errors.New("no such file")}, endPassing, "internal", "without a summary: no such file"},
		{"stopped", attempt{asked: stopClosing, said: true}, endStopped, "", ""},
		{"starved", attempt{asked: stopStarved, said: true}, endStarved, "", "waiting for more"},
		{"damaged", attempt{exit: fault(link.FaultDamaged)}, endFailed, "damaged", "what happened"},
		{"damaged stream", attempt{exit: fault(link.FaultDamaged), stream: true}, endWhole, "", "after the last byte"},
		{"damaged stream with results", attempt{exit: fault(link.FaultDamaged), stream: true, lines: 1}, endFailed, "damaged", ""},
		{"no video", attempt{exit: fault(link.FaultNoVideo)}, endFailed, "no_video", ""},
		{"unsupported", attempt{exit: fault(link.FaultUnsupported)}, endFailed, "unsupported", ""},
		{"model", attempt{exit: fault(link.FaultModel)}, endFailed, "model", ""},
		{"disk full", attempt{exit: fault(link.FaultOutput)}, endPassing, "output", ""},
		{"internal", attempt{exit: fault(link.FaultInternal)}, endPassing, "internal", ""},
		{"wordless end", attempt{said: true}, endPassing, "internal", "without a reason"},
		{"died early", attempt{exit: died}, endPassing, "internal", "SIGSEGV"},
		{"silent", attempt{exit: link.Exit{Err: link.ErrSilent}, said: true}, endPassing, "internal", ""},
		{"died", attempt{exit: died, said: true}, endDied, "died", "SIGSEGV: segmentation violation"},
		{"stalled", attempt{exit: link.Exit{Err: link.ErrStalled}, said: true}, endDied, "died", "hung"},
		{"killed", attempt{exit: link.Exit{Err: fmt.Errorf("%w: signal: killed", link.ErrDied), Signal: syscall.SIGKILL, Stderr: []string{"at " + path}}, said: true}, endDied, "died", "want of memory: at clip.mp4"},
	} {
		c.a.path, c.a.name = path, "clip.mp4"
		v := judge(c.a)
		if v.end != c.end || v.kind != c.kind || !strings.Contains(v.fault, c.text) || strings.Contains(v.fault, path) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	if got := line("a\n\tb\x00" + strings.Repeat("é", 400)); len(got) > maxFault+4 || strings.ContainsAny(got, "\n\t") {
		t.Errorf("%q", got)
	}
}
