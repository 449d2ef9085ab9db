package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"golang.org/x/sys/unix"
)

// rig is a Spawner of stubs and what the last worker reported.
type rig struct {
	*Spawner
	mu  sync.Mutex
	got []link.Message
	new chan struct{}
}

func newRig(t *testing.T, mode string, cfg Config) *rig {
	t.Helper()
	before := openFiles(t)
	cfg.Env = append(cfg.Env, stubEnv+"="+mode)
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Spawner: s, new: make(chan struct{}, 1)}
	t.Cleanup(func() {
		s.Close()
		if after := openFiles(t); after > before {
			t.Errorf("%d descriptors were open before, %d after", before, after)
		}
	})
	return r
}

func (r *rig) start(t *testing.T) *Worker {
	t.Helper()
	w, err := r.Start(context.Background(), link.Start{Mode: "live", Camera: "door", Source: link.Source{URL: "rtsp://me:secret@cam"}},
		r.handle, func(s string) string { return strings.ReplaceAll(s, "secret", "***") })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (r *rig) handle(m link.Message) {
	r.mu.Lock()
	r.got = append(r.got, m)
	r.mu.Unlock()
	select {
	case r.new <- struct{}{}:
	default:
	}
}

// await waits for a report that ok likes.
func (r *rig) await(t *testing.T, what string, ok func(link.Message) bool) link.Message {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		for _, m := range r.got {
			if ok(m) {
				r.mu.Unlock()
				return m
			}
		}
		r.mu.Unlock()
		select {
		case <-r.new:
		case <-limit:
			t.Fatalf("no %s came", what)
		}
	}
}

func isKind(k link.Kind) func(link.Message) bool {
	return func(m link.Message) bool { return m.Kind == k }
}

func openFiles(t *testing.T) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// gone tells whether no process, not even a zombie, has that id.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func wait(t *testing.T, w *Worker, limit time.Duration) link.Exit {
	t.Helper()
	select {
	case <-w.Done():
	case <-time.After(limit):
		t.Fatalf("the worker did not end within %v", limit)
	}
	if !gone(w.PID()) {
		t.Errorf("process %d is still there after Wait", w.PID())
	}
	return w.Wait()
}

func TestCommandsReachTheWorkerAndItStops(t *testing.T) {
	r := newRig(t, "obedient", Config{})
	w := r.start(t)
	w.Want(link.Want{H264: true})
	w.Throttle(link.Throttle{MaxFPS: 2, Reason: "heat"})
	w.Keyframe(link.VP8)
	for _, want := range []string{"want {H264:true VP8:false}", "throttle {MaxFPS:2 Reason:heat}", "keyframe {Codec:vp8}"} {
		r.await(t, want, func(m link.Message) bool {
			s, ok := m.Value.(link.Status)
			return ok && s.Reason == want
		})
	}
	w.Stop()
	w.Stop()
	e := wait(t, w, 5*time.Second)
	if e.Err != nil || e.Code != 0 || e.Signal != 0 || e.Runtime <= 0 {
		t.Errorf("an orderly end was reported as %+v", e)
	}
	r.await(t, "done", isKind(link.KindDone))
}

func TestEnds(t *testing.T) {
	quick := Config{HelloTimeout: 5 * time.Second, BeatTimeout: 200 * time.Millisecond, Grace: 200 * time.Millisecond}
	for _, tc := range []struct {
		mode  string
		cfg   Config
		want  error
		check func(*testing.T, link.Exit)
	}{
		{"silent", Config{HelloTimeout: 300 * time.Millisecond}, link.ErrSilent, nil},
		{"hang", quick, link.ErrStalled, func(t *testing.T, e link.Exit) {
			if e.Signal != syscall.SIGKILL || e.Code != -1 {
				t.Errorf("got %+v, want SIGKILL", e)
			}
		}},
		{"garbage", quick, link.ErrProtocol, nil},
		{"command", quick, link.ErrProtocol, nil},
		{"closes", quick, link.ErrStalled, nil},
		{"segv", quick, link.ErrDied, func(t *testing.T, e link.Exit) {
			if e.Signal != syscall.SIGSEGV && e.Code != 2 { // Go's runtime turns it into a panic
				t.Errorf("got %+v", e)
			}
		}},
		{"crash", quick, link.ErrDied, func(t *testing.T, e link.Exit) {
			if e.Code != 3 || e.StderrLines != 30 || len(e.Stderr) != tailLines {
				t.Fatalf("got code %d, %d lines, %d kept", e.Code, e.StderrLines, len(e.Stderr))
			}
			for i, l := range e.Stderr {
				if !strings.HasPrefix(l, fmt.Sprintf("line %d of rtsp://me:***@cam", 10+i)) || len(l) > tailLineLen {
					t.Errorf("kept line %d is %q", i, l)
				}
			}
		}},
		{"fault", quick, link.Fault{Kind: link.FaultNotFound, Message: "there is no such file"}, func(t *testing.T, e link.Exit) {
			if e.Fault == nil || e.Code != 1 {
				t.Errorf("got %+v", e)
			}
		}},
	} {
		t.Run(tc.mode, func(t *testing.T) {
			r := newRig(t, tc.mode, tc.cfg)
			e := wait(t, r.start(t), 10*time.Second)
			if !errors.Is(e.Err, tc.want) {
				t.Errorf("ended with %v, want %v", e.Err, tc.want)
			}
			if tc.check != nil {
				tc.check(t, e)
			}
		})
	}
}

func TestStubbornWorkerIsKilledAfterGrace(t *testing.T) {
	r := newRig(t, "stubborn", Config{Grace: 150 * time.Millisecond})
	w := r.start(t)
	r.await(t, "beat", isKind(link.KindBeat))
	began := time.Now()
	w.Stop()
	e := wait(t, w, 5*time.Second)
	if took := time.Since(began); took < 150*time.Millisecond || e.Signal != syscall.SIGKILL || e.Err != nil {
		t.Errorf("after %v: %+v; want SIGKILL after the grace, as the owner's wish", took, e)
	}
}

func TestKill(t *testing.T) {
	r := newRig(t, "obedient", Config{})
	w := r.start(t)
	w.Kill()
	if e := wait(t, w, 5*time.Second); e.Err != nil || e.Signal != syscall.SIGKILL {
		t.Errorf("got %+v", e)
	}
	w.Kill() // of a process long gone: the number may be another's
	w.Want(link.Want{})
}

// A kill from outside is a death, not the owner's wish.
func TestKillFromOutside(t *testing.T) {
	r := newRig(t, "obedient", Config{})
	w := r.start(t)
	r.await(t, "beat", isKind(link.KindBeat))
	syscall.Kill(w.PID(), syscall.SIGKILL)
	if e := wait(t, w, 5*time.Second); !errors.Is(e.Err, link.ErrDied) || e.Signal != syscall.SIGKILL {
		t.Errorf("got %+v", e)
	}
}

// A worker that does not read fills its socket; whoever commands it never waits.
func TestDeafWorkerIsKilled(t *testing.T) {
	r := newRig(t, "deaf", Config{BeatTimeout: 300 * time.Millisecond})
	w := r.start(t)
	r.await(t, "beat", isKind(link.KindBeat))
	reason := strings.Repeat("x", 100_000)
	limit := time.After(10 * time.Second)
	for {
		began := time.Now()
		w.Throttle(link.Throttle{Reason: reason})
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Fatalf("a command took %v", took)
		}
		select {
		case <-w.Done():
			if e := wait(t, w, time.Second); !errors.Is(e.Err, link.ErrDeaf) {
				t.Errorf("ended with %v, want ErrDeaf", e.Err)
			}
			return
		case <-limit:
			t.Fatal("the worker was not killed")
		case <-time.After(time.Millisecond):
		}
	}
}

// A slow owner is not a stalled worker.
func TestSlowHandlerIsNotAStall(t *testing.T) {
	r := newRig(t, "obedient", Config{BeatTimeout: 100 * time.Millisecond})
	slow := make(chan struct{}, 1)
	w, err := r.Start(context.Background(), link.Start{Mode: "live"}, func(m link.Message) {
		if m.Kind == link.KindBeat {
			time.Sleep(400 * time.Millisecond)
			select {
			case slow <- struct{}{}:
			default:
			}
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-slow:
		case <-w.Done():
			t.Fatalf("ended with %v", w.Wait().Err)
		}
	}
	w.Kill()
	wait(t, w, 5*time.Second)
}

// What a worker started itself goes with it, even when it holds its stderr.
func TestGrandchildrenDieToo(t *testing.T) {
	r := newRig(t, "grandchild", Config{})
	w := r.start(t)
	m := r.await(t, "status", isKind(link.KindStatus))
	if e := wait(t, w, 5*time.Second); e.Err != nil {
		t.Errorf("ended with %v", e.Err)
	}
	pid, err := strconv.Atoi(m.Value.(link.Status).Reason)
	if err != nil {
		t.Fatal(err)
	}
	// It is now the child of whoever adopts orphans, who may be slow to reap.
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		if time.Now().After(limit) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the grandchild lives on")
		}
	}
}

// kill -9 of the control process takes its workers along, at once and by the
// kernel: this worker never looks at its socket.
func TestWorkerDiesWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), stubEnv+"=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent said %q", line)
	}
	time.Sleep(100 * time.Millisecond)
	if gone(pid) {
		t.Fatal("the worker died before its parent")
	}
	parent.Process.Kill()
	parent.Wait()
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		if time.Now().After(limit) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the worker outlives its parent")
		}
	}
}

// What this process is told by its environment is not a stranger's file's business.
func TestConfinedWorkerGetsNoSecrets(t *testing.T) {
	t.Setenv("API_TOKEN", "secret")
	t.Setenv("WATCHPOST_PASSWORD", "secret")
	t.Setenv("GST_DEBUG_NO_COLOR", "1")
	for _, confine := range []bool{false, true} {
		r := newRig(t, "env", Config{})
		w, err := r.Start(t.Context(), link.Start{Mode: "file", Confine: confine}, r.handle, nil)
		if err != nil {
			t.Fatal(err)
		}
		env := r.await(t, "status", isKind(link.KindStatus)).Value.(link.Status).Reason
		wait(t, w, 5*time.Second)
		if strings.Contains(env, "API_TOKEN") == confine || strings.Contains(env, "WATCHPOST_PASSWORD") == confine {
			t.Errorf("confined %v: its environment is\n%s", confine, env)
		}
		if !strings.Contains(env, "GST_DEBUG_NO_COLOR=1") || !strings.Contains(env, "PATH=") {
			t.Errorf("confined %v: it lacks what it needs:\n%s", confine, env)
		}
	}
}

func TestNicenessAndLimits(t *testing.T) {
	r := newRig(t, "obedient", Config{Nice: 3, MemoryLimit: 1 << 30, FileLimit: 1 << 20, Expendable: true})
	w := r.start(t)
	r.await(t, "beat", isKind(link.KindBeat))
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads(t, w.PID()) {
		if got, err := syscall.Getpriority(syscall.PRIO_PROCESS, tid); err != nil || got != own-3 { // 20-nice
			t.Errorf("thread %d: 20-nice is %d, want %d (%v)", tid, got, own-3, err)
		}
		if a, err := unix.SchedGetAttr(tid, 0); err != nil || a.Policy != unix.SCHED_BATCH || a.Runtime == uint64(100*time.Microsecond) {
			t.Errorf("thread %d: %+v, %v; want a batch one with the kernel's slice", tid, a, err)
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.PID()))
	if err != nil || !strings.Contains(string(b), "Max data size             1073741824") || !strings.Contains(string(b), "Max file size             1048576") {
		t.Errorf("no memory or file limit in\n%s (%v)", b, err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", w.PID())); err != nil || strings.TrimSpace(string(b)) != "800" {
		t.Errorf("when memory runs out its score is %s (%v)", b, err)
	}
}

func threads(t *testing.T, pid int) []int {
	t.Helper()
	l, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, e := range l {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

func TestCloseEndsWhatIsLeft(t *testing.T) {
	r := newRig(t, "obedient", Config{})
	a, b := r.start(t), r.start(t)
	r.Close()
	for _, w := range []*Worker{a, b} {
		if e := wait(t, w, time.Second); e.Err != nil {
			t.Errorf("ended with %v", e.Err)
		}
	}
	if _, err := r.Start(context.Background(), link.Start{Mode: "live"}, r.handle, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
	r.Close()
}

func TestStartThatCannotWork(t *testing.T) {
	r := newRig(t, "obedient", Config{Executable: "/does/not/exist"})
	if _, err := r.Start(context.Background(), link.Start{Mode: "live"}, r.handle, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Start(ctx, link.Start{Mode: "live"}, r.handle, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
