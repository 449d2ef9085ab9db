package hw

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Runner proves candidates, in order, and tells of each. It never fails: a
// candidate that could not be run is an outcome like others.
type Runner interface {
	Run(ctx context.Context, jobs []Job, done func(Outcome))
}

// Job is one candidate to prove, and for an encoder the decoder that judges it.
type Job struct {
	Candidate Candidate `json:"candidate"`
	Judge     string    `json:"judge,omitempty"`
}

// Direct proves in this process.
type Direct struct{ Prover Prover }

// Run implements Runner.
func (d Direct) Run(ctx context.Context, jobs []Job, done func(Outcome)) {
	for _, j := range jobs {
		done(Prove(ctx, d.Prover, j.Candidate, j.Judge))
	}
}

// Children proves in processes of their own: one for each hardware candidate, one for
// all software, started anew after each candidate that took it down.
type Children struct {
	// Exe and Args start a process that calls ServeProofs with the argument that
	// follows Args.
	Exe  string
	Args []string
	// Env is the processes' environment; nil: this one's.
	Env []string
	// Grace is what a process has beyond a candidate's own limit, for its start and its
	// end; 0: ten seconds.
	Grace time.Duration
}

// ServeProofs is the whole of a proving process: it proves the jobs in the
// argument that Children gave it, and writes one outcome a line.
func ServeProofs(ctx context.Context, p Prover, argument string, w io.Writer) error {
	var jobs []Job
	if err := json.Unmarshal([]byte(argument), &jobs); err != nil {
		return fmt.Errorf("read what to prove: %w", err)
	}
	out := json.NewEncoder(w)
	for _, j := range jobs {
		// A line before the work begins: whoever reads knows whom to blame for a crash.
		if err := out.Encode(line{Begins: &j.Candidate}); err != nil {
			return fmt.Errorf("tell what begins: %w", err)
		}
		o := Prove(ctx, p, j.Candidate, j.Judge)
		if err := out.Encode(line{Outcome: &o}); err != nil {
			return fmt.Errorf("tell an outcome: %w", err)
		}
	}
	return nil
}

// line is what a proving process says.
type line struct {
	Begins  *Candidate `json:"begins,omitempty"`
	Outcome *Outcome   `json:"outcome,omitempty"`
}

// Run implements Runner.
func (c Children) Run(ctx context.Context, jobs []Job, done func(Outcome)) {
	for len(jobs) > 0 {
		n := 1
		if !jobs[0].Candidate.Kind.Hardware() {
			for n < len(jobs) && !jobs[n].Candidate.Kind.Hardware() {
				n++
			}
		}
		n = c.batch(ctx, jobs[:n], done)
		jobs = jobs[n:]
	}
}

// batch runs one process for jobs and returns how many are settled, at least one:
// the one that it died of, or did not end in time, is settled by that.
func (c Children) batch(ctx context.Context, jobs []Job, done func(Outcome)) (settled int) {
	argument, err := json.Marshal(jobs)
	if err != nil {
		done(Outcome{Candidate: jobs[0].Candidate, Reason: oneLine(err.Error())})
		return 1
	}
	grace := c.Grace
	if grace <= 0 {
		grace = 10 * time.Second
	}
	// The parent-death signal is tied to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	late := time.AfterFunc(jobs[0].Candidate.limit()+grace, func() { cancel(errLate) })
	defer late.Stop()

	cmd := isolated(ctx, c.Exe, append(append([]string{}, c.Args...), string(argument)), c.Env)
	says := &tail{most: maxStderr}
	cmd.Stderr = says
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		done(Outcome{Candidate: jobs[0].Candidate, Reason: oneLine("cannot be proven: " + err.Error())})
		return 1
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil || l.Outcome == nil || settled == len(jobs) ||
			l.Outcome.Candidate != jobs[settled].Candidate {
			continue // an element that prints to the standard output
		}
		done(*l.Outcome)
		settled++
		start = time.Now()
		if settled < len(jobs) {
			late.Reset(jobs[settled].Candidate.limit() + grace)
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line too long for the scanner
	err = cmd.Wait()
	if settled == len(jobs) {
		return settled
	}
	o := Outcome{Candidate: jobs[settled].Candidate, Took: time.Since(start)}
	switch {
	case errors.Is(context.Cause(ctx), errLate):
		o.Reason = timedOut(o.Candidate)
	case ctx.Err() != nil:
		o.Reason = "the survey was interrupted"
	default:
		o.Reason = died(err, says.String())
	}
	done(o)
	return settled + 1
}

// maxStderr bounds what is kept of a process's last words, in bytes: a crash's
// stacks are in it.
const maxStderr = 64 << 10

var errLate = errors.New("a proving process took too long")

// isolated is a command in a process group of its own, killed with the whole group
// when ctx ends, and dead when its parent dies.
func isolated(ctx context.Context, exe string, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// died says how a process ended that should have said more. A crash inside a C library
// mostly reaches Go's runtime first, which writes down the signal, then the stacks, and
// exits; the signal is the news.
func died(err error, stderr string) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return "crashed: " + status.Signal().String()
		}
	}
	last := ""
	for said := range strings.Lines(stderr) {
		said = strings.TrimSpace(said)
		for _, crash := range [...]string{"SIG", "fatal error: ", "panic: "} {
			if strings.HasPrefix(said, crash) && strings.Contains(said, ": ") {
				return oneLine("crashed: " + said)
			}
		}
		if said != "" {
			last = ": " + said
		}
	}
	if err == nil {
		err = errors.New("it ended early")
	}
	return oneLine("the process failed: " + err.Error() + last)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	most int
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.most; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
