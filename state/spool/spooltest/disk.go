// Package spooltest owns a disk for tests that is full, broken, slow or loses its power
// when the test says so. It holds files in memory and does what Linux does, at its worst:
//
//   - what no sync has covered may or may not be there after Crash, page by page;
//   - a sync that fails leaves its pages clean: a later sync succeeds and writes
//     nothing of them, and Crash shows what was on the disk before;
//   - files that were made or unlinked without a sync of the folder may be there or not after Crash.
package spooltest

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/watchpost/watchpost/state/spool"
)

// Op is a kind of call to the disk.
type Op string

// The operations that Disk.Fault is asked about.
const (
	Create    Op = "create"
	Open      Op = "open"
	Remove    Op = "remove"
	SyncDir   Op = "sync-dir"
	Read      Op = "read"
	Write     Op = "write"
	Allocate  Op = "allocate"
	WriteBack Op = "write-back"
	Datasync  Op = "datasync"
	Truncate  Op = "truncate"
)

// ErrPower is what every call fails with after Crash.
var ErrPower = errors.New("the power is off")

const page = 4096

// Disk implements spool.FS. Its methods may be called from any goroutine.
type Disk struct {
	// Fault is asked before each operation, without locks held; an error makes it fail. A Write that fails has written
	// half. It may sleep. nil: all is well. It must not be changed while the disk is used.
	Fault func(op Op, name string) error
	// Capacity in bytes; 0: no end. Sparse: Allocate is not supported.
	Capacity int64
	Sparse   bool
	// Directs counts the writes that went past the cache.
	Directs atomic.Int64

	mu    sync.Mutex
	rnd   *rand.Rand
	files map[string]*file
	// named is the folder as it is on the disk.
	named map[string]*file
	off   bool
}

type file struct {
	now, disk []byte
	dirty     map[int64]bool // by page
	blocks    int64          // set aside or written, in bytes
}

// New makes an empty disk; seed decides what a crash leaves.
func New(seed uint64) *Disk {
	return &Disk{rnd: rand.New(rand.NewPCG(seed, 1)), files: map[string]*file{}, named: map[string]*file{}}
}

// Crash turns the power off. What comes back is the disk after it went on again; without Fault.
func (d *Disk) Crash() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	after := &Disk{Capacity: d.Capacity, Sparse: d.Sparse, rnd: rand.New(rand.NewPCG(d.rnd.Uint64(), 2)), files: map[string]*file{}, named: map[string]*file{}}
	names := slices.Sorted(maps.Keys(d.named))
	for name := range d.files {
		if d.named[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		f, on := d.named[name], d.files[name]
		if f != on && d.rnd.IntN(2) == 0 {
			f = on
		}
		if f == nil {
			continue
		}
		for at := range f.dirty {
			if d.rnd.IntN(2) == 0 {
				f.persist(at)
			}
		}
		kept := &file{now: slices.Clone(f.disk), disk: slices.Clone(f.disk), dirty: map[int64]bool{}, blocks: f.blocks}
		after.files[name], after.named[name] = kept, kept
	}
	return after
}

// Content is what a reader finds in a file; nil: there is none.
func (d *Disk) Content(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return slices.Clone(f.now)
	}
	return nil
}

func (d *Disk) ask(op Op, name string) error {
	d.mu.Lock()
	off, fault := d.off, d.Fault
	d.mu.Unlock()
	if off {
		return ErrPower
	}
	if fault == nil {
		return nil
	}
	return fault(op, name)
}

// Open implements spool.FS.
func (d *Disk) Open(name string, create bool) (spool.Handle, error) {
	op := Open
	if create {
		op = Create
	}
	if err := d.ask(op, name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	switch {
	case create && f != nil:
		return nil, fs.ErrExist
	case !create && f == nil:
		return nil, fs.ErrNotExist
	case create:
		f = &file{dirty: map[int64]bool{}}
		d.files[name] = f
	}
	return &handle{d: d, f: f, name: name}, nil
}

// Remove implements spool.FS.
func (d *Disk) Remove(name string) error {
	if err := d.ask(Remove, name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.files, name)
	return nil
}

// List implements spool.FS.
func (d *Disk) List() ([]spool.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []spool.Entry
	for name, f := range d.files {
		out = append(out, spool.Entry{Name: name, Size: int64(len(f.now)), Modified: time.Now(), Regular: true})
	}
	return out, nil
}

// Sync implements spool.FS.
func (d *Disk) Sync() error {
	if err := d.ask(SyncDir, ""); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.named = maps.Clone(d.files)
	return nil
}

// Space implements spool.FS.
func (d *Disk) Space() (spool.Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Capacity == 0 {
		return spool.Space{Free: 1 << 50, Total: 1 << 50}, nil
	}
	return spool.Space{Free: d.Capacity - d.taken(), Total: d.Capacity}, nil
}

func (d *Disk) taken() (n int64) {
	for _, f := range d.files {
		n += f.blocks
	}
	return n
}

// take makes room in f for what ends at end.
func (d *Disk) take(f *file, end int64) error {
	if more := end - f.blocks; more > 0 {
		if d.Capacity > 0 && d.taken()+more > d.Capacity {
			return syscall.ENOSPC
		}
		f.blocks = end
	}
	return nil
}

func (f *file) grow(size int64) {
	if more := size - int64(len(f.now)); more > 0 {
		f.now = append(f.now, make([]byte, more)...)
		f.dirty[(size-1)/page] = true
	}
}

func (f *file) persist(at int64) {
	to := min((at+1)*page, int64(len(f.now)))
	if more := to - int64(len(f.disk)); more > 0 {
		f.disk = append(f.disk, make([]byte, more)...)
	}
	if at*page < to {
		copy(f.disk[at*page:to], f.now[at*page:to])
	}
}
