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
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// The kinds of refusal. What wraps them says what to do.
var (
	ErrNotFound = errors.New("no such job")
	ErrConflict = errors.New("not in this state")
	ErrInvalid  = errors.New("invalid")
	// ErrDamaged: the results on disk are not what was committed.
	ErrDamaged = errors.New("the results are damaged")
	// ErrClosing: the box is going down.
	ErrClosing = errors.New("the box is going down")
)

// File is an upload as jobs see it.
type File struct {
	ID, Name string
	// Size in bytes; -1: not known yet. Contiguous bytes from the start are
	// durably there.
	Size, Contiguous int64
	Status           state.UploadStatus
	SHA256           string // hex, once complete
	Problem          string // why it was refused
	// What is asked of the job that the upload itself brings about.
	Settings state.Settings
	Priority int
	NoJob    bool
	// Gone: it was removed, or expired.
	Gone bool
}

// Complete tells whether the whole file is there and is what its sender meant.
func (f File) Complete() bool { return !f.Gone && f.Status == state.UploadComplete }

// Arriving tells whether bytes are still to come, or to be checked.
func (f File) Arriving() bool {
	return !f.Gone && (f.Status == state.UploadReceiving || f.Status == state.UploadChecking)
}

// Files is what jobs need of the uploads.
type Files interface {
	// Path is where an upload's bytes lie, now and when it is complete.
	Path(id string) (string, error)
	// Watch has deliver called with every upload before it returns, and with
	// each one that changed from then on, until stop. deliver returns at once.
	Watch(deliver func(File)) (stop func())
}

// Process is a running worker. Nothing but Wait blocks; Stop asks it to go and
// kills it where it does not, Kill ends it at once.
type Process interface {
	Grow(link.Grow)
	Pause(link.Pause)
	Stop()
	Kill()
	Wait() link.Exit
}

// Spawn starts a worker on what start and settings say; it fills in what it
// knows itself: the model's place, the proven decoders. handle is called with
// the worker's reports, one at a time and in order. ctx is for the start alone.
// An error that is a link.Fault is judged as if the worker had said it.
type Spawn func(ctx context.Context, start link.Start, settings state.Settings, handle func(link.Message)) (Process, error)

// Layout is what can be told of a file by its beginning.
type Layout struct {
	// Need is how many bytes must be there before more can be told; 0: it is told.
	Need int64
	// Streamable: it can be analysed as it arrives. If not, Remark says why.
	Streamable bool
	Remark     string
}

// Loop is the control loop as a stall meter sees it: Ticked is called for each
// Tick received, Enter around each round of work.
type Loop interface {
	Tick() <-chan time.Time
	Ticked()
	Enter() (leave func())
}

// Deps are what jobs need of their surroundings. Live, Loop and Registerer may
// be nil.
type Deps struct {
	Log   *slog.Logger
	DB    *state.DB
	Files Files // not called before Run
	Spawn Spawn
	// Sniff looks at the first have bytes of a file of size bytes (-1: not known).
	Sniff func(r io.ReaderAt, have, size int64) (Layout, error)
	// DefaultModel is the analyser of jobs that name none. It is asked once for
	// each job, so that a changed default does not change a job half-way.
	DefaultModel func() string
	// Live tells of the live cameras, for which jobs make room; nil: there are none.
	Live       func() []Camera
	Loop       Loop
	Registerer prometheus.Registerer
	Queues     *queue.Registry // of the box; nil: those of the jobs are not metered
}

// Config of the jobs. The zero value of a field is the default named.
type Config struct {
	Dir string // the folder of all results folders; required
	// Concurrency is how many jobs run at once (1), Retries how often one is
	// tried again after a fault that may pass (0: never).
	Concurrency, Retries int
	// RetryMin is the pause before the first of them (5 s), three times as long
	// before each further one up to RetryMax (10 min).
	RetryMin, RetryMax time.Duration
	// StarveAfter is how long a worker may wait for an upload's bytes (30 s).
	StarveAfter time.Duration
	// PauseForLive has jobs rest while cameras lose frames for want of the machine.
	PauseForLive bool
	Pressure     PressureConfig
	// Keep is how long a job and its results stay after its end; 0: for good.
	Keep time.Duration
	// SweepEvery is the janitor's period (10 min).
	SweepEvery time.Duration
	// Boot identifies the machine's present run; empty: the kernel is asked.
	Boot string
}

func (c Config) withDefaults() Config {
	c.Concurrency = max(c.Concurrency, 1)
	for _, d := range []struct {
		at   *time.Duration
		want time.Duration
	}{
		{&c.RetryMin, 5 * time.Second}, {&c.RetryMax, 10 * time.Minute},
		{&c.StarveAfter, 30 * time.Second}, {&c.SweepEvery, 10 * time.Minute},
	} {
		if *d.at <= 0 {
			*d.at = d.want
		}
	}
	if c.Boot == "" {
		c.Boot = bootID()
	}
	c.Pressure = c.Pressure.withDefaults()
	return c
}

// bootID is the kernel's random id of this boot; empty where it has none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) < 36 {
		return ""
	}
	return string(b[:36])
}

// Jobs are all jobs of the box. Run is their life; the other methods may be
// called from any goroutine.
type Jobs struct {
	deps    Deps
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	shelf   *shelf

	wake    chan struct{} // capacity 1: the control loop has something to look at
	sweep   chan struct{} // capacity 1: the janitor has
	running atomic.Bool
	runs    sync.WaitGroup // attempts and removals
	mail    intakeMail
	full    *queue.Meter // of the jobs' own queue
	watch   watchers

	mu      sync.Mutex // guards what follows; never held over disk or database
	entries map[string]*entry
	uploads map[string][]*entry // by their upload, oldest first
	files   map[string]*file
	listed  bool // files holds every upload that there is, and the box is not going down
	pressed Pressed
}

// entry is one job. Its record is changed by change alone.
type entry struct {
	// turn lets one durable change happen at a time. It is taken before Jobs.mu.
	turn sync.Mutex

	// Under Jobs.mu:
	rec    state.Job
	run    *run
	hold   time.Time // no attempt before: the database or the disk refused a write
	wakes  int64     // contiguous bytes of its upload from which a starved job goes on
	doomed bool      // being removed
	last   figures   // of the last attempt in this process
}

// Open reads the jobs and settles those that ran when the box went down. It
// starts nothing.
func Open(d Deps, c Config) (*Jobs, error) {
	for name, missing := range map[string]bool{
		"Log": d.Log == nil, "DB": d.DB == nil, "Files": d.Files == nil, "Spawn": d.Spawn == nil,
		"Sniff": d.Sniff == nil, "DefaultModel": d.DefaultModel == nil,
	} {
		if missing {
			return nil, errors.New("job: Deps." + name + " is missing")
		}
	}
	if c.Dir == "" {
		return nil, errors.New("job: Config.Dir is missing")
	}
	c = c.withDefaults()
	if err := os.MkdirAll(filepath.Join(c.Dir, trashName), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of all results: %w", err)
	}
	q := &Jobs{
		deps: d, cfg: c, log: d.Log, shelf: newShelf(),
		wake: make(chan struct{}, 1), sweep: make(chan struct{}, 1),
		mail:    intakeMail{wake: make(chan struct{}, 1), files: map[string]File{}},
		entries: map[string]*entry{}, uploads: map[string][]*entry{}, files: map[string]*file{},
	}
	q.watch.deliver = map[int]func(Event){}
	if err := errors.Join(q.finishRemovals(), q.recover(time.Now())); err != nil {
		return nil, err
	}
	q.meterQueues()
	q.metrics = newMetrics(q)
	if d.Registerer != nil {
		if err := d.Registerer.Register(q.metrics); err != nil {
			return nil, fmt.Errorf("register the jobs' metrics: %w", err)
		}
	}
	return q, nil
}

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
