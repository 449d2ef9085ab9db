package worker

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"golang.org/x/sys/unix"
)

// drain is what is given to the last bytes of a dead worker's socket and stderr
// to be read; they are in the kernel already.
const drain = time.Second

// Worker is one running worker process. Its methods may be called from any
// goroutine; none but Wait blocks.
type Worker struct {
	owner  *Spawner
	cfg    Config
	cmd    *exec.Cmd
	conn   *link.Conn
	handle func(link.Message)
	out    outbox
	// The outbox's entries among the box's queues; from run to reap.
	commandMeter, mediaMeter *queue.Meter
	began                    time.Time
	tail                     *tail

	beats    chan struct{} // capacity 1: Hello or a Beat came
	handling atomic.Bool   // handle is running: silence is not the worker's
	cutOff   atomic.Bool   // the process is dead and drain is over: read no more
	stopping chan struct{} // closed by Stop
	stopOnce sync.Once
	readEnd  chan struct{} // closed when the socket has been read to its end
	exited   chan struct{} // closed when the process is dead, before it is reaped
	done     chan struct{} // closed when nothing of the worker is left

	mu     sync.Mutex
	live   bool  // the process can be signalled: started and not reaped
	ended  bool  // somebody here decided its end
	cause  error // why, nil: the owner wished it
	fault  *link.Fault
	said   bool // Hello
	killed bool // Kill came before the process did
	exit   link.Exit
}

func newWorker(s *Spawner, cmd *exec.Cmd, conn *link.Conn, handle func(link.Message)) *Worker {
	return &Worker{
		owner: s, cfg: s.cfg, cmd: cmd, conn: conn, handle: handle,
		out:   outbox{wake: make(chan struct{}, 1)},
		beats: make(chan struct{}, 1), stopping: make(chan struct{}),
		readEnd: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
	}
}

// run starts the goroutines of a worker whose process is running. They all end
// before done is closed.
func (w *Worker) run(began time.Time, start link.Start, t *tail) {
	w.began, w.tail = began, t
	w.mu.Lock()
	w.live = true
	if w.killed {
		w.signalGroup(unix.SIGKILL)
	}
	w.mu.Unlock()
	w.commandMeter = w.cfg.Queues.Register("worker commands", queue.Latest, slots, w.out.commands)
	w.mediaMeter = w.cfg.Queues.Register("worker media", queue.Refuse, mediaQueue, w.out.pictures)
	w.out.put(func(o *outbox) { o.start = &start })
	var others sync.WaitGroup
	others.Go(w.write)
	others.Go(w.watch)
	stderrEnd := make(chan struct{})
	go func() { defer close(stderrEnd); t.read() }()
	go func() { defer close(w.readEnd); w.read() }()
	go w.reap(&others, stderrEnd)
}

// PID is the process id, which is also the id of its process group.
func (w *Worker) PID() int { return w.cmd.Process.Pid }

// Done is closed when Wait would return at once.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Wait returns when the process is reaped, its descriptors are closed and no
// goroutine of the worker is left, and tells how it ended.
func (w *Worker) Wait() link.Exit {
	<-w.done
	return w.exit
}

// Kill ends the worker and its children at once, by the owner's wish.
func (w *Worker) Kill() { w.end(nil) }

// end kills the process group; the first cause stays. After a Stop the kill is
// what the owner asked for, whatever the cause.
func (w *Worker) end(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended, w.cause = true, cause
	}
	w.killed = true
	w.signalGroup(unix.SIGKILL)
}

// signalGroup needs mu. It does nothing once the process is reaped, when the
// number may already be somebody else's.
func (w *Worker) signalGroup(sig syscall.Signal) {
	if w.live {
		_ = unix.Kill(-w.cmd.Process.Pid, sig) // ESRCH: it is dead already
	}
}

// read hands on the worker's reports until the socket ends.
func (w *Worker) read() {
	for !w.cutOff.Load() {
		m, err := w.conn.Receive()
		if err != nil {
			if errors.Is(err, link.ErrProtocol) {
				w.end(err)
			}
			return
		}
		if err := w.admit(m); err != nil {
			w.end(err)
			return
		}
		w.handling.Store(true)
		w.handle(m)
		w.handling.Store(false)
		if m.Kind == link.KindHello || m.Kind == link.KindBeat {
			select {
			case w.beats <- struct{}{}:
			default:
			}
		}
	}
}

// admit refuses messages out of order and notes what the end will be told with.
func (w *Worker) admit(m link.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !m.Kind.Report():
		return fmt.Errorf("%w: a worker sent the command %q", link.ErrProtocol, m.Kind)
	case w.said == (m.Kind == link.KindHello):
		return fmt.Errorf("%w: %q came where it may not", link.ErrProtocol, m.Kind)
	}
	w.said = true
	if f, ok := m.Value.(link.Fault); ok {
		w.fault = &f
	}
	return nil
}

// watch kills a worker that does not come up, does not beat, or does not go.
func (w *Worker) watch() {
	limit, cause := w.cfg.HelloTimeout, link.ErrSilent
	t := time.NewTimer(limit)
	defer t.Stop()
	stopping, readEnd := w.stopping, w.readEnd
	for {
		select {
		case <-w.exited:
			return
		case <-w.beats:
			if stopping != nil && readEnd != nil {
				limit, cause = w.cfg.BeatTimeout, link.ErrStalled
				t.Reset(limit)
			}
		case <-stopping:
			stopping = nil // beats no longer help it
			w.mu.Lock()
			w.ended = true // from here on its end is the owner's wish
			w.mu.Unlock()
			t.Reset(w.cfg.Grace)
		case <-readEnd:
			// It closed its end: it must be on its way out.
			readEnd = nil
			cause = fmt.Errorf("%w: it closed the link but did not exit", link.ErrStalled)
			t.Reset(w.cfg.Grace)
		case <-t.C:
			if w.handling.Load() && stopping != nil && readEnd != nil {
				t.Reset(limit) // the owner is slow, not the worker
				continue
			}
			w.end(cause)
		}
	}
}

// reap waits for the process's end and then takes everything down, in the order
// that loses nothing it said.
func (w *Worker) reap(others *sync.WaitGroup, stderrEnd <-chan struct{}) {
	waitDead(w.cmd.Process.Pid)
	runtime := time.Since(w.began)
	w.mu.Lock()
	w.signalGroup(unix.SIGKILL) // its children, while the zombie keeps the number ours
	w.live = false
	w.mu.Unlock()
	close(w.exited)

	within(w.readEnd, drain)
	w.cutOff.Store(true)
	w.conn.Close()
	<-w.readEnd
	others.Wait()
	within(stderrEnd, drain)
	w.tail.file.Close()
	<-stderrEnd
	err := w.cmd.Wait()

	w.commandMeter.Close()
	w.mediaMeter.Close()
	w.exit = w.verdict(err, runtime)
	w.owner.forget(w)
	close(w.done)
}

// waitDead returns when the process is dead, and leaves it a zombie.
func waitDead(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// within waits for ch, but no longer than d: a grandchild that left the group
// may hold the other end open for ever.
func within(ch <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch:
	case <-t.C:
	}
}

func (w *Worker) verdict(waitErr error, runtime time.Duration) link.Exit {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := link.Exit{Code: w.cmd.ProcessState.ExitCode(), Fault: w.fault, Runtime: runtime}
	if ws, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	e.Stderr, e.StderrLines = w.tail.last()
	switch {
	case w.fault != nil && (!w.ended || w.cause != nil):
		e.Err = *w.fault
	case w.ended:
		e.Err = w.cause
	case waitErr != nil:
		e.Err = fmt.Errorf("%w: %w", link.ErrDied, waitErr)
	case !w.said:
		e.Err = fmt.Errorf("%w: it exited without a word", link.ErrSilent)
	}
	return e
}
