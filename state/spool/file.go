package spool

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// MaxExtents is how many separate ranges one file may have. It bounds the record of an
// upload whose parts come in any order: 64 Ki of them are 3 GiB of 48 KiB parts of which every other is missing.
const MaxExtents = 64 << 10

// writeBackStep is after how many bytes in a row the kernel is asked to begin writing
// them; a sync then finds little left to do.
const writeBackStep = 8 << 20

var (
	// ErrDiffers: other bytes are there already.
	ErrDiffers = errors.New("other bytes are there already")
	// ErrBusy: another writer holds these bytes.
	ErrBusy = errors.New("another writer holds these bytes")
	// ErrLost: a sync failed while the bytes were written; they do not count.
	ErrLost = errors.New("written, but a sync failed meanwhile")
	// ErrFragmented: the file would have more than MaxExtents separate ranges.
	ErrFragmented = errors.New("too many separate ranges")
)

// File is an open file of a Dir, with the books on which of its bytes count.
// Its methods may be called from any goroutine.
type File struct {
	dir  *Dir
	name string
	h    Handle

	// syncing is held during a sync: two at once could not tell whose writes which one covers.
	syncing sync.Mutex

	mu sync.Mutex
	// counted is what was written and not lost; durable what is on disk of it; dirty what no sync was begun for.
	counted, durable, dirty []Extent
	holds                   []*Hold
	// epoch is the number of failed syncs: what began in an earlier one is lost.
	epoch     uint64
	writeBack Extent // written in a row, not handed to the kernel for writing
	failed    error  // of a write-back: the next sync cannot be believed
	allocated int64
}

func newFile(d *Dir, name string, h Handle, durable []Extent) *File {
	return &File{dir: d, name: name, h: h, counted: Union(durable, nil), durable: Union(durable, nil)}
}

// Allocate sets room aside for a file of size bytes in all.
func (f *File) Allocate(size int64) error {
	f.mu.Lock()
	from := f.allocated
	f.mu.Unlock()
	if size <= from {
		return nil
	}
	if err := f.h.Allocate(from, size-from); err != nil {
		return err
	}
	f.mu.Lock()
	f.allocated = max(f.allocated, size)
	f.mu.Unlock()
	return nil
}

// Allocated is for how many bytes room was set aside since the file was opened.
func (f *File) Allocated() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.allocated
}

// Counted is how far the file counts from at on without a gap; durably or not yet.
func (f *File) Counted(at int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Reach(f.counted, at)
}

// Unsynced is how many bytes no sync was begun for.
func (f *File) Unsynced() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Total(f.dirty)
}

// Sync makes what was written before durable and returns all of the file that is, in memory
// of the caller's. On an error all is lost that was written since the last good sync.
func (f *File) Sync() ([]Extent, error) {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.mu.Lock()
	began, failed := f.dirty, f.failed
	f.dirty, f.failed = nil, nil
	f.mu.Unlock()
	if len(began) > 0 || failed != nil {
		failed = errors.Join(failed, f.h.Datasync())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if failed != nil {
		// Not only what was handed over: pages that were written meanwhile may have been part
		// of the failed write, and their error is told no second time.
		f.epoch++
		f.dirty, f.writeBack = nil, Extent{}
		f.counted = Union(f.durable, nil)
		return nil, fmt.Errorf("sync %s: %w", f.dir.Path(f.name), failed)
	}
	f.durable = Union(f.durable, began)
	return Union(f.durable, nil), nil
}

// ReadAt reads what is there, whether it counts or not.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.h.ReadAt(p, off) }

// Hash feeds [from, to) to h, in pieces of len(buf).
func (f *File) Hash(ctx context.Context, h hash.Hash, from, to int64, buf []byte) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), to-from)]
		if _, err := f.h.ReadAt(p, from); err != nil {
			return fmt.Errorf("read %s at %d: %w", f.dir.Path(f.name), from, err)
		}
		h.Write(p)
		from += int64(len(p))
	}
	return nil
}

// Close closes the file. What was not synced may be lost.
func (f *File) Close() error { return f.h.Close() }
