package camera_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/camera"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"go.uber.org/goleak"
)

// These tests run real worker processes under the real supervisor: this test
// binary, started again, is the worker. What it plays is made up; the processes,
// sockets, signals and times are not.

const (
	stubEnv   = "WATCHPOST_TEST_WORKER" // how the stub misbehaves
	markerEnv = "WATCHPOST_TEST_MARKER" // a file; once it is there the stub behaves
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(stubEnv); mode != "" {
		os.Exit(stub(mode))
	}
	goleak.VerifyTestMain(m)
}

func stub(mode string) int {
	raw, err := syscall.Dup(link.FD)
	if err != nil {
		return 9
	}
	conn, err := link.Inherited()
	if err != nil {
		return 9
	}
	m, err := conn.Receive()
	if err != nil {
		return 9
	}
	start := m.Value.(link.Start)
	conn.Send(link.KindHello, link.Hello{Version: "stub", PID: os.Getpid()})
	if start.Mode == "slate" {
		mode = "slate"
	} else if marker := os.Getenv(markerEnv); marker != "" {
		if _, err := os.Stat(marker); err == nil {
			mode = "good"
		} else if f, err := os.Create(marker); err == nil {
			f.Close()
		}
	}
	if mode == "crash" {
		fmt.Fprintln(os.Stderr, "no decoder likes this stream")
		fmt.Fprintln(os.Stderr, "giving up on", start.Source.URL)
		return 3
	}
	gone := make(chan int, 1)
	go func() {
		for mode != "deaf" {
			m, err := conn.Receive()
			if err != nil || m.Kind == link.KindStop {
				if err == io.EOF || err == nil {
					gone <- 0
				} else {
					gone <- 8
				}
				return
			}
		}
	}()
	if mode != "slate" {
		conn.Send(link.KindStatus, link.Status{State: link.Playing, Analyser: "motion"})
	}
	tick := time.NewTicker(33 * time.Millisecond)
	began := time.Now()
	for n := uint64(1); ; n++ {
		select {
		case code := <-gone:
			return code
		case <-tick.C:
		}
		conn.SendUnit(link.AccessUnit{Codec: link.H264, Keyframe: n%10 == 1, Slate: mode == "slate", PTS: time.Since(began), Data: fmt.Appendf(nil, "%d", os.Getpid())})
		if n%3 == 0 {
			conn.Send(link.KindBeat, link.Beat{RSS: 1, Ledger: link.Ledger{Decoded: n, Inferred: n - 1, Pending: 1}})
		}
		if n < 15 {
			continue
		}
		switch mode {
		case "hang":
			time.Sleep(time.Hour)
		case "garbage":
			os.NewFile(uintptr(raw), "").Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100))
			mode = "good" // it is killed
		}
	}
}

// viewer is an Output that notes when pictures came and of which process.
type viewer struct {
	mu    sync.Mutex
	units []link.AccessUnit
	at    []time.Time
}

func (v *viewer) Publish(u link.AccessUnit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.units, v.at = append(v.units, u), append(v.at, time.Now())
}

// gap is the longest time without a picture, and the pids in order of appearance.
func (v *viewer) gap() (time.Duration, []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var longest time.Duration
	var pids []string
	for i, u := range v.units {
		if pid := string(u.Data); !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		} else if pid != pids[len(pids)-1] {
			pids = append(pids, "interleaved "+pid)
		}
		if i > 0 {
			longest = max(longest, v.at[i].Sub(v.at[i-1]))
		}
	}
	return longest, pids
}

// await waits for ten pictures of a process.
func (v *viewer) await(t *testing.T, pid int) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		v.mu.Lock()
		n := 0
		for _, u := range v.units {
			if string(u.Data) == fmt.Sprint(pid) {
				n++
			}
		}
		v.mu.Unlock()
		if n >= 10 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("worker %d showed %d pictures", pid, n)
		}
	}
}

// check looks over all pictures at the end.
func (v *viewer) check(t *testing.T) {
	t.Helper()
	for i := 1; i < len(v.units); i++ {
		a, b := v.units[i-1], v.units[i]
		if b.PTS <= a.PTS {
			t.Errorf("picture %d is at %v after %v", i, b.PTS, a.PTS)
		}
		if string(a.Data) != string(b.Data) && !b.Keyframe {
			t.Errorf("picture %d of another worker is no keyframe", i)
		}
	}
}

type rig struct {
	*camera.Camera
	view *viewer
}

// newRig runs a camera whose workers misbehave as mode says, the first time or always.
func newRig(t *testing.T, mode string, once bool) *rig {
	t.Helper()
	env := []string{stubEnv + "=" + mode}
	if once {
		env = append(env, markerEnv+"="+t.TempDir()+"/ran")
	}
	s, err := worker.New(worker.Config{Env: env, BeatTimeout: 500 * time.Millisecond, Grace: time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	spawn := func(ctx context.Context, start link.Start, handle func(link.Message), redact func(string) string) (camera.Process, error) {
		w, err := s.Start(ctx, start, handle, redact)
		if err != nil {
			return nil, err
		}
		return w, nil
	}
	v := &viewer{}
	c, err := camera.New(camera.Deps{Spawn: spawn, Output: v, Log: slog.New(slog.DiscardHandler)}, camera.Config{
		ID: mode, Start: link.Start{Source: link.Source{URL: "rtsp://me:hunter2@cam"}},
		Redact: func(s string) string { return strings.ReplaceAll(s, "me:hunter2@", "") },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Want(true, false)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
		v.check(t)
	})
	return &rig{c, v}
}

func (r *rig) await(t *testing.T, what string, ok func(camera.Snapshot) bool) camera.Snapshot {
	t.Helper()
	sub := r.Subscribe()
	defer sub.Close()
	limit := time.After(20 * time.Second)
	for {
		select {
		case s := <-sub.C:
			if ok(s) {
				return s
			}
		case <-limit:
			t.Fatalf("waiting for %s: %+v", what, r.Snapshot())
		}
	}
}

func playing(s camera.Snapshot) bool {
	return s.State == camera.Playing && s.Worker != nil && s.Worker.PID != 0 && s.Ledger.Decoded > 0
}

func TestKillNine(t *testing.T) {
	r := newRig(t, "good", false)
	for i := range uint64(3) {
		s := r.await(t, "pictures", func(s camera.Snapshot) bool { return playing(s) && s.Restarts == i })
		r.view.await(t, s.Worker.PID)
		if err := syscall.Kill(s.Worker.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	s := r.await(t, "pictures after the last kill", func(s camera.Snapshot) bool { return playing(s) && s.Restarts == 3 })
	r.view.await(t, s.Worker.PID)
	gap, pids := r.view.gap()
	t.Logf("longest time without a picture: %v, over %d workers", gap.Round(time.Millisecond), len(pids))
	if gap > 2*time.Second {
		t.Errorf("viewers saw nothing for %v, 2 s are allowed", gap)
	}
	if !s.Ledger.Balanced() || s.Ledger.Failed < 3 {
		t.Errorf("the ledger over four runs: %+v", s.Ledger)
	}
	if e := s.LastExit; e == nil || e.Signal != "killed" || !strings.Contains(e.Reason, "killed from outside") {
		t.Errorf("last exit %+v", e)
	}
}

func TestHangingWorker(t *testing.T) {
	r := newRig(t, "hang", true)
	s := r.await(t, "a second worker's pictures", func(s camera.Snapshot) bool { return playing(s) && s.Restarts == 1 })
	if e := s.LastExit; e == nil || !strings.Contains(e.Reason, "hung") {
		t.Errorf("last exit %+v", e)
	}
}

func TestGarbageOnTheSocket(t *testing.T) {
	r := newRig(t, "garbage", true)
	s := r.await(t, "a second worker's pictures", func(s camera.Snapshot) bool { return playing(s) && s.Restarts == 1 })
	if e := s.LastExit; e == nil || !strings.Contains(e.Reason, "protocol") {
		t.Errorf("last exit %+v", e)
	}
}

// A worker that does not read its commands is replaced; whoever gives them never
// waits for it.
func TestWorkerThatDoesNotRead(t *testing.T) {
	r := newRig(t, "deaf", true)
	r.await(t, "pictures", playing)
	var slowest time.Duration
	for limit := time.Now().Add(15 * time.Second); r.Snapshot().Restarts == 0; time.Sleep(200 * time.Microsecond) {
		if time.Now().After(limit) {
			t.Fatal("the worker was not replaced")
		}
		began := time.Now()
		r.Want(true, time.Now().UnixMilli()%2 == 0)
		slowest = max(slowest, time.Since(began))
	}
	r.Want(true, false)
	s := r.await(t, "a second worker's pictures", func(s camera.Snapshot) bool { return playing(s) && s.Restarts == 1 })
	if e := s.LastExit; e == nil || !strings.Contains(e.Reason, "did not read its commands") {
		t.Errorf("last exit %+v", e)
	}
	t.Logf("slowest command: %v", slowest)
	if slowest > 100*time.Millisecond {
		t.Errorf("a command took %v", slowest)
	}
}

// One camera's worker dies at once, again and again; it is told, its viewers see
// the slate, and another camera does not notice.
func TestCrashLoopDisturbsNobody(t *testing.T) {
	good, bad := newRig(t, "good", false), newRig(t, "crash", false)
	good.await(t, "pictures", playing)
	s := bad.await(t, "the crash loop", func(s camera.Snapshot) bool { return s.State == camera.Crashing && s.Slate })
	if want := []string{"no decoder likes this stream", "giving up on rtsp://cam"}; s.LastExit == nil || !slices.Equal(s.LastExit.Stderr, want) || s.LastExit.Code != 3 {
		t.Errorf("last exit %+v", s.LastExit)
	}
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, pids := bad.view.gap(); len(pids) > 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("no slate came")
		}
	}
	if gap, pids := good.view.gap(); gap > time.Second || len(pids) != 1 {
		t.Errorf("the other camera: %v without a picture, workers %v", gap, pids)
	}
	if s := good.Snapshot(); s.Restarts != 0 {
		t.Errorf("the other camera was restarted %d times", s.Restarts)
	}
}
