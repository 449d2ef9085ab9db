package job_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/job"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// These tests run real processes: this test binary, started again, is the worker,
// and in one of them the whole box. What the worker finds is made up; processes,
// signals, files, syncs and the database are not.

const (
	workerEnv = "WATCHPOST_TEST_WORKER" // lines to write, and perhaps ":crash" at which
	boxEnv    = "WATCHPOST_TEST_BOX"    // the box's folder
)

func TestMain(m *testing.M) {
	if v := os.Getenv(workerEnv); v != "" && os.Getenv(boxEnv) == "" {
		os.Exit(stub(v))
	}
	if v := os.Getenv(boxEnv); v != "" {
		os.Exit(box(v))
	}
	goleak.VerifyTestMain(m)
}

func textLine(n uint64) string {
	return fmt.Sprintf(`{"seq":%d,"frame":%d,"objects":[%s]}`+"\n", n, n, strings.Repeat("0,", int(n*7919%97))+"0")
}

// stub is a worker's process: it writes a log as workers do, goes on with what is
// there, and perhaps crashes at a line.
func stub(v string) int {
	count, crash, _ := strings.Cut(v, ":")
	total, err1 := strconv.ParseUint(count, 10, 64)
	crashAt, _ := strconv.ParseUint(crash, 10, 64)
	conn, err2 := link.Inherited()
	if err1 != nil || err2 != nil {
		return 9
	}
	m, err := conn.Receive()
	if err != nil {
		return 9
	}
	start := m.Value.(link.Start)
	conn.Send(link.KindHello, link.Hello{Version: "stub", PID: os.Getpid()})
	var stopped, paused atomic.Bool
	go func() {
		for {
			m, err := conn.Receive()
			if err != nil || m.Kind == link.KindStop {
				stopped.Store(true)
				return
			}
			if p, ok := m.Value.(link.Pause); ok {
				paused.Store(p.On)
			}
		}
	}()
	path := filepath.Join(start.OutDir, "detections.jsonl")
	if _, err := os.Stat(filepath.Join(start.OutDir, "summary.json")); err == nil {
		fmt.Fprintln(os.Stderr, "it was complete already")
		return 9
	}
	f, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		f, err = os.OpenFile(path, os.O_RDWR, 0o600)
	}
	if err != nil {
		return 9
	}
	seq, size := whole(f)
	if !start.Resume && seq > 0 {
		fmt.Fprintln(os.Stderr, "there are results, but nobody said to go on with them")
		return 9
	}
	f.Truncate(size)
	f.Seek(size, io.SeekStart)
	f.Sync()
	conn.Send(link.KindCommitted, link.Committed{Seq: seq, Bytes: size})
	beat := time.Now()
	for seq < total {
		for range 1 + rand.IntN(40) {
			if seq == total {
				break
			}
			if seq+1 == crashAt {
				fmt.Fprintln(os.Stderr, "SIGSEGV: segmentation violation in a decoder")
				syscall.Kill(os.Getpid(), syscall.SIGSEGV)
				time.Sleep(time.Hour)
			}
			seq++
			n, err := f.WriteString(textLine(seq))
			if err != nil {
				return 9
			}
			size += int64(n)
		}
		f.Sync()
		conn.Send(link.KindCommitted, link.Committed{Seq: seq, Bytes: size})
		f.WriteString(textLine(seq + 1)[:7]) // a torn line, as a kill leaves
		f.Seek(size, io.SeekStart)
		if time.Since(beat) > 100*time.Millisecond || stopped.Load() {
			beat = time.Now()
			conn.Send(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: seq, Inferred: seq}})
		}
		for paused.Load() && !stopped.Load() {
			time.Sleep(time.Millisecond)
		}
		if stopped.Load() {
			return 0
		}
		time.Sleep(time.Millisecond)
	}
	f.Truncate(size)
	f.Sync()
	os.Rename(path+".part", path)
	os.WriteFile(filepath.Join(start.OutDir, "summary.json"), fmt.Appendf(nil, `{"results":%d}`, seq), 0o600)
	conn.Send(link.KindDone, link.Done{Ledger: link.Ledger{Decoded: seq, Inferred: seq}})
	return 0
}

func whole(f *os.File) (seq uint64, size int64) {
	r := bufio.NewReader(io.NewSectionReader(f, 0, 1<<40))
	for {
		l, err := r.ReadString('\n')
		if err != nil || l != textLine(seq+1) {
			return seq, size
		}
		seq++
		size += int64(len(l))
	}
}

// oneFile is a single upload, complete.
type oneFile struct {
	path string
	file job.File
}

func (o oneFile) Path(string) (string, error)                { return o.path, nil }
func (o oneFile) Watch(deliver func(job.File)) (stop func()) { deliver(o.file); return func() {} }

// rig is jobs with real workers in this process.
type rig struct {
	*job.Jobs
	id   string
	stop func() error
}

const upload = "u00000000000000000000000000"

func newRig(dir, lines string, log *slog.Logger) (*rig, error) {
	db, _, err := state.Open(state.Options{Path: filepath.Join(dir, "state.db"), Log: log})
	if err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("film"), 0o600); err != nil {
		return nil, err
	}
	spawner, err := worker.New(worker.Config{Args: []string{}, Env: []string{workerEnv + "=" + lines, boxEnv + "="}, BeatTimeout: 20 * time.Second}, log)
	if err != nil {
		return nil, err
	}
	id := "j" + upload[1:]
	u := state.Upload{ID: upload[:26], Name: "clip.mp4", Size: 4, Status: state.UploadComplete, SHA256: "x"}
	id = id[:26]
	q, err := job.Open(job.Deps{
		Log: log, DB: db, Files: oneFile{source, job.FileOf(u)},
		Spawn: func(ctx context.Context, start link.Start, _ state.Settings, handle func(link.Message)) (job.Process, error) {
			w, err := spawner.Start(ctx, start, handle, nil)
			if err != nil {
				return nil, err
			}
			return w, nil
		},
		Sniff:        func(io.ReaderAt, int64, int64) (job.Layout, error) { return job.Layout{}, errors.New("no") },
		DefaultModel: func() string { return "motion" },
	}, job.Config{Dir: filepath.Join(dir, "jobs"), RetryMin: 10 * time.Millisecond, Retries: 3})
	if err != nil {
		return nil, err
	}
	if err := db.Update(func(tx state.Tx) error { return q.Completed(tx, u) }); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	return &rig{q, id, sync.OnceValue(func() error {
		cancel()
		err := <-done
		spawner.Close()
		return errors.Join(err, db.Close())
	})}, nil
}

func startRig(t *testing.T, dir, lines string) *rig {
	t.Helper()
	r, err := newRig(dir, lines, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) await(t *testing.T, what string, ok func(job.Job) bool) job.Job {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		j, err := r.Get(r.id)
		if err == nil && ok(j) {
			return j
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s: %+v, %v", what, j, err)
		}
	}
}

// reading is a client that breaks off and comes back until it has all.
func reading(q *job.Jobs, id string, total uint64, seed uint64, ended *atomic.Bool) error {
	rnd := rand.New(rand.NewPCG(seed, 7))
	next := uint64(1)
	for next <= total {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(200))*time.Millisecond)
		left := 1 + rnd.IntN(1500)
		for l, err := range q.Follow(ctx, id, next) {
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, job.ErrNotFound) {
					cancel()
					return err
				}
				break
			}
			if l.Seq != next || string(l.Data)+"\n" != textLine(next) {
				cancel()
				return fmt.Errorf("line %d came in the place of %d: %s", l.Seq, next, l.Data)
			}
			next++
			if left--; left == 0 {
				break
			}
		}
		cancel()
		if ended.Load() && next <= total && rnd.IntN(1000) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// Workers are killed at random; each reader gets each line once, in order.
func TestReadersWhileWorkersAreKilled(t *testing.T) {
	const total, readers = 6000, 12
	r := startRig(t, t.TempDir(), fmt.Sprint(total))
	r.await(t, "the job", func(job.Job) bool { return true })
	var all sync.WaitGroup
	var ended atomic.Bool
	for i := range readers {
		all.Go(func() {
			if err := reading(r.Jobs, r.id, total, uint64(i), &ended); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	kills, setAside := 0, 0
	for kills < 8 {
		j := r.await(t, "a worker, or its end", func(j job.Job) bool {
			return j.Status == state.JobSetAside || j.Status == state.JobDone || j.Status == state.JobRunning && j.Worker != nil && j.Worker.PID > 0
		})
		if j.Status == state.JobDone {
			break
		}
		if j.Status == state.JobSetAside {
			if !strings.Contains(j.Fault, "killed from outside") || j.Deaths != 2 {
				t.Fatalf("%+v", j)
			}
			setAside++
			if _, err := r.Retry(t.Context(), r.id); err != nil {
				t.Fatal(err)
			}
			continue
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if now, _ := r.Get(r.id); now.Worker != nil && syscall.Kill(now.Worker.PID, syscall.SIGKILL) == nil {
			kills++
			pid := now.Worker.PID
			r.await(t, "its death to be noted", func(j job.Job) bool { return j.Worker == nil || j.Worker.PID != pid })
		}
	}
	for {
		j := r.await(t, "the end", func(j job.Job) bool { return j.Status == state.JobDone || j.Status == state.JobSetAside })
		if j.Status == state.JobDone {
			if j.Results != total {
				t.Errorf("%d results", j.Results)
			}
			break
		}
		if _, err := r.Retry(t.Context(), r.id); err != nil {
			t.Fatal(err)
		}
	}
	ended.Store(true)
	all.Wait()
	t.Logf("%d kills, %d times set aside, %d readers", kills, setAside, readers)
	if kills < 3 || setAside == 0 {
		t.Errorf("only %d kills, %d times set aside: this proves little", kills, setAside)
	}
}

// A file that crashes its worker is set aside after two of them; the last word of
// the second is the reason.
func TestCrashingFileIsSetAside(t *testing.T) {
	r := startRig(t, t.TempDir(), "1000:500")
	j := r.await(t, "its being set aside", func(j job.Job) bool { return j.Status == state.JobSetAside })
	if j.Deaths != 2 || j.Attempts != 2 || !strings.Contains(j.Fault, "SIGSEGV: segmentation violation in a decoder") {
		t.Errorf("%+v", j)
	}
	// The second went on from what the first had committed, and came as far.
	if j.Results == 0 || j.Results > 500 {
		t.Errorf("%d results", j.Results)
	}
}

// box is a whole box in a process of its own: it says what clients may count on.
func box(dir string) int {
	r, err := newRig(dir, os.Getenv(workerEnv), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGTERM)
	r.Watch(func(e job.Event) {
		if e.Job != nil {
			fmt.Println(e.Job.Results, e.Job.Job.Status, e.Job.Deaths)
		}
	})
	<-quit
	if err := r.stop(); err != nil {
		return 1
	}
	return 0
}

// The box is killed at random moments, its worker with it: what it told of is
// there at its next start, and it is nobody's death.
func TestBoxIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: no box was killed")
	}
	const total = 4000
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var told uint64
	rounds, done := 0, false
	for ; !done && rounds < 60; rounds++ {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", boxEnv, dir), fmt.Sprintf("%s=%d", workerEnv, total))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var noise strings.Builder
		cmd.Stderr = &noise
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		life := time.AfterFunc(time.Duration(50+rand.IntN(350))*time.Millisecond, func() { cmd.Process.Kill() })
		before := told
		for s := bufio.NewScanner(out); s.Scan(); {
			var n uint64
			var status string
			var deaths int
			if _, err := fmt.Sscan(s.Text(), &n, &status, &deaths); err != nil {
				t.Fatalf("the box said %q", s.Text())
			}
			if deaths != 0 || status == string(state.JobSetAside) {
				t.Errorf("round %d: %s", rounds, s.Text())
			}
			if status == string(state.JobDone) {
				done = true
				cmd.Process.Signal(syscall.SIGTERM)
			}
			if status == string(state.JobRunning) && n < before && n > 0 {
				t.Errorf("round %d: %d results, though it told of %d", rounds, n, before)
			}
			told = max(told, n)
		}
		err = cmd.Wait()
		life.Stop()
		if t.Failed() {
			t.Fatalf("%v\n%s", err, noise.String())
		}
	}
	r := startRig(t, dir, fmt.Sprint(total))
	j := r.await(t, "the end", func(j job.Job) bool { return j.Status == state.JobDone })
	if j.Results != total || j.Deaths != 0 || told > total {
		t.Errorf("%+v, told of %d", j, told)
	}
	if err := reading(r.Jobs, r.id, total, 1, new(atomic.Bool)); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "jobs", r.id, "detections.jsonl"))
	if err != nil || strings.Count(string(text), "\n") != total {
		t.Errorf("the file has %d lines, %v", strings.Count(string(text), "\n"), err)
	}
	t.Logf("%d boxes were killed before the job was done", rounds)
}
