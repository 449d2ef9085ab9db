package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// desk is the jobs on a real database, with uploads that are plain files and
// workers that the test plays. Time may be synctest's.
type desk struct {
	t     *testing.T
	dir   string
	db    *state.DB
	files *pile
	cfg   Config
	live  func() []Camera

	mu    sync.Mutex
	procs []*actor
	spawn error // of the next start

	q        *Jobs
	registry *prometheus.Registry
	stop     func()
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir(), cfg: Config{Retries: 2, Boot: "boot-1"}}
	d.files = &pile{dir: filepath.Join(d.dir, "uploads"), files: map[string]File{}}
	if err := os.MkdirAll(d.files.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) openDB() {
	d.t.Helper()
	db, _, err := state.Open(state.Options{Path: filepath.Join(d.dir, "state.db"), NoSync: true})
	if err != nil {
		d.t.Fatal(err)
	}
	d.db = db
}

// open opens the box and runs it until close, or the test's end.
func (d *desk) open() {
	d.t.Helper()
	if d.db == nil {
		d.openDB()
	}
	cfg := d.cfg
	cfg.Dir = filepath.Join(d.dir, "jobs")
	q, err := Open(Deps{
		Log: slog.New(slog.NewTextHandler(d.t.Output(), nil)), DB: d.db, Files: d.files, Spawn: d.play, Sniff: sniffByte,
		DefaultModel: func() string { return "house-model" }, Live: d.live, Registerer: d.metrics(),
	}, cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	d.q = q
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
		d.db.Close()
		d.db = nil
	})
	d.t.Cleanup(d.stop)
}

// metrics is a registry that is strict about what it is given.
func (d *desk) metrics() *prometheus.Registry {
	d.registry = prometheus.NewPedanticRegistry()
	return d.registry
}

// sniffByte tells a file's layout by its first byte, when ten are there.
func sniffByte(r io.ReaderAt, have, size int64) (Layout, error) {
	if have < 10 {
		return Layout{Need: 10}, nil
	}
	var b [1]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return Layout{}, err
	}
	switch b[0] {
	case 'F':
		return Layout{Streamable: true}, nil
	case 'E':
		return Layout{Remark: "index at end: analysis starts after the last byte"}, nil
	}
	return Layout{}, errors.New("not a container")
}

// pile is a pile of uploads.
type pile struct {
	dir string

	mu       sync.Mutex
	files    map[string]File
	watchers []func(File)
}

func (p *pile) Path(id string) (string, error) { return filepath.Join(p.dir, id), nil }

func (p *pile) Watch(deliver func(File)) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.files {
		deliver(f)
	}
	p.watchers = []func(File){deliver}
	return func() { p.mu.Lock(); p.watchers = nil; p.mu.Unlock() }
}

func (p *pile) put(f File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Gone {
		delete(p.files, f.ID)
	} else {
		p.files[f.ID] = f
	}
	for _, w := range p.watchers {
		w(f)
	}
}

// upload puts a complete upload there, and its job as its transaction would.
func (d *desk) upload(kind string, change ...func(*state.Upload)) (upload, job string) {
	d.t.Helper()
	if d.db == nil {
		d.openDB()
	}
	u := state.Upload{ID: state.NewUploadID(), Name: "clip.mp4", Size: 1000, Status: state.UploadComplete, SHA256: "abc", Have: []state.Extent{{From: 0, To: 1000}}}
	for _, c := range change {
		c(&u)
	}
	d.write(u.ID, kind)
	q := d.q
	if q == nil {
		q = &Jobs{}
	}
	if err := d.db.Update(func(tx state.Tx) error { return q.Completed(tx, u) }); err != nil {
		d.t.Fatal(err)
	}
	d.files.put(FileOf(u))
	return u.ID, ownJob(u.ID)
}

func (d *desk) write(id, kind string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.files.dir, id), []byte(kind+"0123456789"), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// await waits for a job to be as ok says.
func (d *desk) await(id, what string, ok func(Job) bool) Job {
	d.t.Helper()
	for end := time.Now().Add(time.Hour); ; time.Sleep(10 * time.Millisecond) {
		j, err := d.q.Get(id)
		if err == nil && ok(j) {
			return j
		}
		if time.Now().After(end) {
			d.t.Fatalf("waited in vain for %s: %+v, %v", what, j, err)
		}
	}
}

func (d *desk) awaitStatus(id string, s state.JobStatus) Job {
	d.t.Helper()
	return d.await(id, string(s), func(j Job) bool { return j.Status == s })
}

// actor is a worker that the test plays.
type actor struct {
	t      *testing.T
	start  link.Start
	set    state.Settings
	handle func(link.Message)
	exit   chan link.Exit

	mu     sync.Mutex
	stops  int
	kept   bool // it does not go when asked to
	grown  []link.Grow
	pauses []link.Pause
	seq    uint64
	bytes  int64
}

// play implements Spawn.
func (d *desk) play(ctx context.Context, start link.Start, set state.Settings, handle func(link.Message)) (Process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spawn != nil {
		return nil, d.spawn
	}
	a := &actor{t: d.t, start: start, set: set, handle: handle, exit: make(chan link.Exit, 8)}
	d.procs = append(d.procs, a)
	go a.say(link.KindHello, link.Hello{PID: 4711})
	return a, nil
}

// worker waits for the n-th worker that was started, from 1.
func (d *desk) worker(n int) *actor {
	d.t.Helper()
	for end := time.Now().Add(time.Hour); ; time.Sleep(10 * time.Millisecond) {
		d.mu.Lock()
		if len(d.procs) >= n {
			a := d.procs[n-1]
			d.mu.Unlock()
			time.Sleep(time.Millisecond) // its Hello is on its way
			return a
		}
		d.mu.Unlock()
		if time.Now().After(end) {
			d.t.Fatalf("worker %d was never started", n)
		}
	}
}

func (d *desk) started() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.procs)
}

func (a *actor) say(k link.Kind, v any) { a.handle(link.Message{Kind: k, Value: v}) }
func (a *actor) Grow(g link.Grow)       { a.mu.Lock(); a.grown = append(a.grown, g); a.mu.Unlock() }
func (a *actor) Pause(p link.Pause)     { a.mu.Lock(); a.pauses = append(a.pauses, p); a.mu.Unlock() }
func (a *actor) Kill()                  { a.exit <- link.Exit{} }
func (a *actor) Wait() link.Exit        { return <-a.exit }
func (a *actor) die(e link.Exit)        { a.exit <- e }
func (a *actor) fault(k link.FaultKind, m string) {
	f := link.Fault{Kind: k, Message: m}
	a.die(link.Exit{Err: f, Fault: &f, Code: 1})
}

func (a *actor) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stops++
	if a.stops == 1 && !a.kept {
		a.exit <- link.Exit{}
	}
}

func (a *actor) lastGrown() link.Grow {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.grown) == 0 {
		return link.Grow{}
	}
	return a.grown[len(a.grown)-1]
}

func (a *actor) lastPause() (p link.Pause, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n = len(a.pauses); n > 0 {
		p = a.pauses[n-1]
	}
	return p, n
}

// find writes n more lines and commits them.
func (a *actor) find(n int) {
	a.t.Helper()
	f, err := os.OpenFile(filepath.Join(a.start.OutDir, detectionsName+partSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	defer f.Close()
	if a.seq == 0 && a.start.Resume {
		m, err := count(a.t.Context(), f, func(place) {})
		if err != nil {
			a.t.Fatal(err)
		}
		a.seq, a.bytes = m.seq, m.bytes
	}
	f.Truncate(a.bytes)
	f.Seek(a.bytes, io.SeekStart)
	for range n {
		a.seq++
		n, err := f.WriteString(textLine(a.seq))
		if err != nil {
			a.t.Fatal(err)
		}
		a.bytes += int64(n)
	}
	a.say(link.KindCommitted, link.Committed{Seq: a.seq, Bytes: a.bytes})
}

// finish leaves complete results and goes.
func (a *actor) finish() {
	a.t.Helper()
	a.complete()
	a.say(link.KindDone, link.Done{Ledger: link.Ledger{Decoded: a.seq, Inferred: a.seq}})
	a.die(link.Exit{})
}

func (a *actor) complete() {
	a.t.Helper()
	a.find(0)
	path := filepath.Join(a.start.OutDir, detectionsName)
	if err := os.Rename(path+partSuffix, path); err != nil {
		a.t.Fatal(err)
	}
	summary := fmt.Sprintf("{\n  \"results\": %d\n}\n", a.seq)
	if err := os.WriteFile(filepath.Join(a.start.OutDir, summaryName), []byte(summary), 0o600); err != nil {
		a.t.Fatal(err)
	}
}
