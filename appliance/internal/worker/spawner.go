package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"golang.org/x/sys/unix"
)

// ErrClosed is returned by Start once the Spawner is closed.
var ErrClosed = errors.New("no worker is started any more: the box is going down")

// Config says how workers are started and when they are given up. The zero
// value is usable: this program's own binary and the times named below.
type Config struct {
	// Executable is the program; empty: this very binary, even if its file was
	// replaced on disk since, so that both ends of the link are of one version.
	Executable string
	// Args of the program; nil: "worker".
	Args []string
	// Env is added to this process's environment.
	Env []string
	// HelloTimeout is for the process to come up and say Hello (10 s).
	HelloTimeout time.Duration
	// BeatTimeout is the longest silence between two Beats (5 s), and the longest
	// that a command may wait in the socket for a worker that does not read.
	BeatTimeout time.Duration
	// Grace is what a worker has between Stop and being killed (2 s).
	Grace time.Duration
	// Nice is added to the worker's niceness: with 5, the control process's
	// timers win over decoding on a busy board. Less than 0 needs a privilege.
	// With more than 0 workers are batch processes (SCHED_BATCH, sched(7)) too: one
	// that wakes up interrupts nobody.
	Nice int
	// MemoryLimit is the most bytes of private writable memory that a worker
	// may map (RLIMIT_DATA); 0: none.
	MemoryLimit uint64
	// Expendable workers are the first that the kernel ends when memory runs out
	// (oom_score_adj), before cameras and long before the control process.
	Expendable bool
	// FileLimit is the most bytes of any file that a worker may write
	// (RLIMIT_FSIZE); 0: none. Beyond it a confined worker's write fails with EFBIG,
	// which it reports; any other worker dies of SIGXFSZ.
	FileLimit uint64
	// Queues takes the queues of what workers are told; nil: they are not metered.
	Queues *queue.Registry
}

func (c Config) withDefaults() Config {
	if c.Args == nil {
		c.Args = []string{"worker"}
	}
	if c.HelloTimeout <= 0 {
		c.HelloTimeout = 10 * time.Second
	}
	if c.BeatTimeout <= 0 {
		c.BeatTimeout = 5 * time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 2 * time.Second
	}
	return c
}

// Spawner starts workers. Close ends it and every worker that is left.
type Spawner struct {
	cfg      Config
	log      *slog.Logger
	requests chan spawnRequest
	quit     chan struct{} // closed by Close
	gone     chan struct{} // closed when the spawning thread's goroutine ended

	mu      sync.Mutex
	closed  bool
	workers map[*Worker]struct{}
}

type spawnRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

// New returns a Spawner; it holds one OS thread until Close.
func New(cfg Config, log *slog.Logger) (*Spawner, error) {
	cfg.Queues.Declare("worker commands", queue.Latest)
	cfg.Queues.Declare("worker media", queue.Refuse)
	s := &Spawner{
		cfg: cfg.withDefaults(), log: log,
		requests: make(chan spawnRequest), quit: make(chan struct{}), gone: make(chan struct{}),
		workers: make(map[*Worker]struct{}),
	}
	ready := make(chan error, 1)
	go s.thread(ready)
	if err := <-ready; err != nil {
		<-s.gone
		return nil, err
	}
	return s, nil
}

// thread forks all workers from one OS thread that lives as long as the Spawner.
// It must be one such thread because the kernel sends the parent-death signal
// when the *thread* that forked ends, not its process, and Go ends threads as it
// likes; because a child inherits niceness from the forking thread, which thus
// can be set without a race; and it is never unlocked, so that the thread, with
// its changed niceness, is not reused for anything else.
func (s *Spawner) thread(ready chan<- error) {
	defer close(s.gone)
	runtime.LockOSThread()
	if s.cfg.Nice != 0 {
		if err := giveWay(s.cfg.Nice); err != nil {
			ready <- fmt.Errorf("set the niceness of media workers to %+d: %w", s.cfg.Nice, err)
			return
		}
	}
	ready <- nil
	for {
		select {
		case r := <-s.requests:
			r.done <- r.cmd.Start()
		case <-s.quit:
			return
		}
	}
}

// giveWay adds to the niceness of the calling thread (on Linux, 0 means it), and where
// that is more than 0 makes it a batch one; its time slice is the kernel's own again,
// which the control process has shortened for itself.
//
// Four processes that compute and hand work to and fro on two cores, against timers of
// 1 ms in a process like the control process (Linux 6.18, variants in turns, 14 rounds): later than
// 5 ms came 1.4 % of the timers with niceness 5 alone, 1.0 % with batch workers, 0.9 %
// with the short slice, 0.9 % with both; p99 6.5, 5.1, 4.7 and 4.6 ms. Beyond p99.9 what
// else ran on that machine decided.
func giveWay(n int) error {
	have, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	// The raw system call gives 20-nice, so that it is never negative.
	nice := 20 - have + n
	if n > 0 {
		batch := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH, Nice: int32(nice)}
		if unix.SchedSetAttr(0, &batch, 0) == nil {
			return nil
		}
		// A container may forbid it: then niceness has to do.
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
}

// Start starts a worker on what start says. handle is called with each of its
// reports, one at a time and in order, on a goroutine of the worker; while it
// has not returned nothing more is read. redact takes secrets out of what the
// worker writes on stderr before anybody sees it; nil: there are none. ctx is
// for the start alone: Stop or Kill ends the worker, and the caller must Wait.
func (s *Spawner) Start(ctx context.Context, start link.Start, handle func(link.Message), redact func(string) string) (*Worker, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start media worker: %w", err)
	}
	conn, childEnd, err := link.Pair()
	if err != nil {
		return nil, fmt.Errorf("start media worker: %w", err)
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start media worker: %w", err), conn.Close(), childEnd.Close())
	}
	cmd := s.command(childEnd, errWrite, start.Confine)
	w := newWorker(s, cmd, conn, handle)
	began := time.Now()
	err = s.launch(ctx, w)
	childEnd.Close() // the child has its own; ours would hide its death
	errWrite.Close()
	if err != nil {
		conn.Close()
		errRead.Close()
		return nil, fmt.Errorf("start media worker: %w", err)
	}
	// The worker does nothing before its Start, so this is in time.
	s.limit(cmd.Process.Pid, unix.RLIMIT_DATA, s.cfg.MemoryLimit, "memory")
	s.expend(cmd.Process.Pid)
	s.limit(cmd.Process.Pid, unix.RLIMIT_FSIZE, s.cfg.FileLimit, "file size")
	w.run(began, start, newTail(errRead, redact, s.log.With("camera", start.Camera, "worker", cmd.Process.Pid)))
	return w, nil
}

// limit sets one of a worker's resource limits, which it cannot raise again.
func (s *Spawner) limit(pid, resource int, most uint64, what string) {
	if most == 0 {
		return
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
		s.log.Warn("media worker runs without a limit", "of", what, "err", err)
	}
}

// expend has the kernel prefer a worker over the control process when memory runs out.
// Raising the score needs no privilege (proc(5)).
func (s *Spawner) expend(pid int) {
	score := "300"
	if s.cfg.Expendable {
		score = "800"
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(score), 0); err != nil {
		s.log.Debug("media worker keeps the score of its parent", "err", err)
	}
}

// launch has the spawning thread start w's process and registers w.
func (s *Spawner) launch(ctx context.Context, w *Worker) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.workers[w] = struct{}{} // Close waits for it from here on
	s.mu.Unlock()
	done := make(chan error, 1)
	var err error
	select {
	case s.requests <- spawnRequest{cmd: w.cmd, done: done}:
		err = <-done // exec is quick; it cannot be taken back
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.quit:
		err = ErrClosed
	}
	if err != nil {
		s.forget(w)
		close(w.done)
	}
	return err
}

// self is this program's own binary: its file, so that ps shows its name, unless
// that was replaced since (an upgrade), when only the kernel still has it.
func self() string {
	const running = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return running
	}
	a, errA := os.Stat(path)
	b, errB := os.Stat(running)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return running
	}
	return path
}

func (s *Spawner) command(childEnd, stderr *os.File, confine bool) *exec.Cmd {
	program := s.cfg.Executable
	if program == "" {
		program = self()
	}
	cmd := exec.Command(program, s.cfg.Args...)
	for _, kv := range os.Environ() {
		// A worker must not speak to systemd in the service's name.
		if strings.HasPrefix(kv, "NOTIFY_SOCKET=") || strings.HasPrefix(kv, "WATCHDOG_") || strings.HasPrefix(kv, "LISTEN_") {
			continue
		}
		if confine && !harmless(kv) {
			continue
		}
		cmd.Env = append(cmd.Env, kv)
	}
	cmd.Env = append(cmd.Env, s.cfg.Env...)
	cmd.ExtraFiles = []*os.File{childEnd} // becomes link.FD
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// A group of its own: a terminal's Ctrl-C is for the control process
		// alone, and a kill reaches the worker's own children too.
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// harmless tells whether a variable of this process's environment is for whoever
// plays media. A worker that handles a stranger's file gets no other: what a service
// is told this way may be secret, and the results go to the stranger.
func harmless(kv string) bool {
	if strings.HasPrefix(kv, "WATCHPOST_PASSWORD=") {
		return false
	}
	for _, prefix := range []string{
		"PATH=", "HOME=", "LANG=", "LC_", "TZ=", "LD_", "GODEBUG=", "GOGC=", "GOMAXPROCS=", "GOMEMLIMIT=", "GOTRACEBACK=", "GOCOVERDIR=", "G_", "GST_", "ORC_", "OMP_", "MALLOC_",
		"LIBVA_", "MESA_", "CUDA_", "NVIDIA_", "WATCHPOST_",
	} {
		if strings.HasPrefix(kv, prefix) {
			return true
		}
	}
	return false
}

func (s *Spawner) forget(w *Worker) {
	s.mu.Lock()
	delete(s.workers, w)
	s.mu.Unlock()
}

// Close kills every worker that is left, waits for them, and lets the spawning
// thread go. Start fails with ErrClosed from then on.
func (s *Spawner) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	left := make([]*Worker, 0, len(s.workers))
	for w := range s.workers {
		left = append(left, w)
	}
	s.mu.Unlock()
	for _, w := range left {
		w.Kill()
	}
	for _, w := range left {
		<-w.done
	}
	if first {
		close(s.quit)
	}
	<-s.gone
}
