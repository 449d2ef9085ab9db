package upload

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// Deps are what uploads are made of.
type Deps struct {
	Log *slog.Logger
	// DB holds the records, Spool the bytes. Nobody else writes to either's uploads.
	DB    *state.DB
	Spool *spool.Dir
	// Registerer of the metrics; nil: none.
	Registerer prometheus.Registerer
	// Queues of the box; nil: those of the uploads are not metered.
	Queues *queue.Registry
	// OnComplete is called in the transaction in which an upload becomes complete: what it
	// puts is there with it or not at all. Its error leaves the upload in
	// "checking"; it is tried again. It must not wait for anything, nor call
	// anything of this package. nil: nothing is done.
	OnComplete func(state.Tx, state.Upload) error
	// InUse tells whether a job needs the file; such a file is not removed. nil: none does.
	// It must answer at once and call nothing of this package.
	InUse func(id string) bool
	// Admit tells whether there is room for what becomes of another upload; its error, of ErrTooMany, is
	// shown to the client. It must answer at once. nil: there is.
	Admit func() error
	// Unsure tells whether the record of a file that was last written then may have been lost with a database
	// that was replaced. Such a file without a record is kept for a person to decide; any other one is what a crash
	// left behind. nil: no record was lost.
	Unsure func(written time.Time) bool
}

// Config bounds uploads. Zero values: see each.
type Config struct {
	// MaxSize of one file in bytes; 0: no limit.
	MaxSize int64
	// Quota of all uploads in bytes, promised ones included; 0: what the disk has above Reserve.
	Quota int64
	// Reserve in bytes stays free on the disk.
	Reserve int64
	// MaxOpen uploads may be unfinished; 0: 256.
	MaxOpen int
	// Expiry of an unfinished upload that makes no progress; 0: 24 h.
	Expiry time.Duration
	// Batch is the longest that bytes of a running Append or Place wait for being
	// synced; 0: 200 ms.
	Batch time.Duration
	// KeepComplete is how long a complete upload stays after its last job ended.
	// It stays for a minute in any case.
	KeepComplete time.Duration
	// Memory of all buffers together in bytes; 0: 16 MiB.
	Memory int64
}

func (c Config) withDefaults() Config {
	c.MaxOpen = cmp.Or(c.MaxOpen, 256)
	c.Expiry = cmp.Or(c.Expiry, 24*time.Hour)
	c.Batch = cmp.Or(c.Batch, 200*time.Millisecond)
	c.Memory = max(cmp.Or(c.Memory, 16<<20), 8*bufferSize)
	c.KeepComplete = max(c.KeepComplete, time.Minute)
	return c
}

// Uploads are the pushed files of a box. All methods may be called from any goroutine.
type Uploads struct {
	deps   Deps
	cfg    Config
	meter  *meter
	queues queues

	// appending bounds the Appends that run, each of which has two of buffers, and some of large while
	// there are any; placing are the buffers of all that Place was given.
	// writing bounds the writes that may block in the kernel at once. Each holds a thread that the Go scheduler
	// gives up for lost only after a while; among many of them timers, and whoever waits for them, come late.
	// Its order is that of asking, so that all Appends get on alike.
	writing                 chan struct{}
	appending               chan struct{}
	buffers, large, placing *pool
	// syncs bounds the syncs under way.
	syncs chan struct{}

	// mu guards what follows. It is never held across a call that may wait, and
	// is taken before an entry's.
	mu       sync.Mutex
	byID     map[string]*entry
	making   map[string]bool   // ids that Create is at
	gone     gone              // ids that were
	trash    map[string]*entry // files to be removed, by name; the entry may be nil
	promised int64             // bytes that count against the quota
	closed   bool
	running  sync.WaitGroup // whatever works for an entry

	watchers watchers
	// wakeHash and wakeJanitor tell Run that there is something to do; with room for one.
	wakeHash, wakeJanitor chan struct{}
	stop                  chan struct{} // closed by Close
	sparse                atomic.Bool   // the file system cannot set room aside
}

// mostWriting writes of Appends are under way at once.
const mostWriting = 2

// Open reads the records, takes up what a crash left behind, and takes uploads
// from then on. Run must be called for hashing and removal; Close at the end.
func Open(d Deps, c Config) (*Uploads, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	c = c.withDefaults()
	s := &Uploads{
		deps: d, cfg: c,
		appending: make(chan struct{}, c.Memory/2/(2*bufferSize)), writing: make(chan struct{}, mostWriting),
		placing:  newPool(c.Memory/4/bufferSize, bufferSize),
		large:    newPool(c.Memory/4/(expressBuffers*expressSize)*expressBuffers, expressSize),
		syncs:    make(chan struct{}, max(8, runtime.NumCPU())),
		byID:     map[string]*entry{},
		making:   map[string]bool{},
		trash:    map[string]*entry{},
		wakeHash: make(chan struct{}, 1), wakeJanitor: make(chan struct{}, 1),
		stop: make(chan struct{}),
	}
	s.buffers = newPool(int64(cap(s.appending))*2, bufferSize)
	if err := s.recover(); err != nil {
		return nil, err
	}
	m, err := newMeter(d.Registerer, s)
	if err != nil {
		return nil, err
	}
	s.meter = m
	s.queues = s.meterQueues(d.Queues)
	return s, nil
}

// begin counts a piece of work that Close waits for; end must be called unless it is false.
func (s *Uploads) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

func (s *Uploads) end() { s.running.Done() }

// closeTime bounds how long Close removes files that nobody needs any more.
const closeTime = 2 * time.Second

// Close waits for what is being written and synced, removes what nobody needs any
// more and closes the files. Calls that come later fail. Run should have ended, and must not be called again.
func (s *Uploads) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.running.Wait()
	// Sessions that ended with the box had files of their own; the next start, which
	// would find them, may be a long time away.
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	s.emptyTrash(ctx)
	cancel()
	var all []error
	for _, e := range append(s.entries(), s.discarded()...) {
		e.mu.Lock()
		f := e.file
		e.file = nil
		if e.timer != nil {
			e.timer.Stop()
		}
		e.mu.Unlock()
		if f != nil {
			all = append(all, f.Close())
		}
	}
	s.meter.unregister()
	s.queues.close()
	return errors.Join(all...)
}

// discarded are the entries whose files are still to be removed.
func (s *Uploads) discarded() (out []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.trash {
		if e != nil {
			out = append(out, e)
		}
	}
	return out
}

// entries are all uploads, oldest first.
func (s *Uploads) entries() []*entry {
	s.mu.Lock()
	out := make([]*entry, 0, len(s.byID))
	for _, e := range s.byID {
		out = append(out, e)
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return out
}

func (s *Uploads) find(id string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil {
		return e, nil
	}
	if why := s.gone.reason(id); why != "" {
		return nil, fail(ErrGone, "the upload %s is gone: %s; send the file again as a new upload", id, why)
	}
	return nil, fail(ErrNotFound, "there is no upload %q; it may have expired: send the file as a new one", shorten(id))
}

// Get tells how an upload stands. Errors: ErrNotFound, ErrGone.
func (s *Uploads) Get(id string) (Info, error) {
	e, err := s.find(id)
	if err != nil {
		return Info{}, err
	}
	return e.info(), nil
}

// List tells how all uploads stand, oldest first.
func (s *Uploads) List() []Info {
	all := s.entries()
	out := make([]Info, len(all))
	for i, e := range all {
		out[i] = e.info()
	}
	return out
}

// Path of the upload's bytes, for those who only read. What is beyond the record's Have may be anything.
// Errors: ErrNotFound, ErrGone.
func (s *Uploads) Path(id string) (path string, err error) {
	e, err := s.find(id)
	if err != nil {
		return "", err
	}
	if err := e.refused(); err != nil {
		return "", err
	}
	return s.deps.Spool.Path(id), nil
}

// gone remembers the last uploads that were removed, so that their clients are told why.
type gone struct {
	ids []string
	why map[string]string
}

// maxGone ids are remembered: some 100 KiB.
const maxGone = 1024

func (g *gone) add(id, why string) {
	if g.why == nil {
		g.why = map[string]string{}
	}
	if len(g.ids) >= maxGone {
		delete(g.why, g.ids[0])
		g.ids = g.ids[1:]
	}
	g.ids = append(g.ids, id)
	g.why[id] = why
}

func (g *gone) reason(id string) string { return g.why[id] }
