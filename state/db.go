package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Options say where the database is and how it is kept.
type Options struct {
	Path        string        // of the database file; its folder is made
	BackupDir   string        // empty: the folder "backups" beside the file
	BackupEvery time.Duration // between automatic backups, if something changed; 0: 10 minutes
	Keep        int           // automatic backups kept; 0: 8
	LockTimeout time.Duration // how long to wait for another process to let go; 0: 2 s
	Log         *slog.Logger  // nil: none
	NoSync      bool          // for tests that write a lot: nothing is durable

	// openFile is how bbolt opens the file; nil: os.OpenFile. For tests that take
	// the disk away.
	openFile func(string, int, os.FileMode) (*os.File, error)
}

// DB is the open database. Its methods may be called from any goroutine.
type DB struct {
	opt  Options
	log  *slog.Logger
	lock *lockFile

	group    group
	changes  atomic.Uint64 // transactions committed
	backedUp atomic.Uint64 // changes at the last automatic backup

	// mu guards what follows: it is held for reading while bolt is used.
	mu     sync.RWMutex
	bolt   *bolt.DB // nil once closed, and while broken
	acked  uint64   // the last transaction whose writers were told that it is on disk
	closed bool
	broken error     // why the file could not be opened again after a write failed
	tried  time.Time // when that was tried last
}

// Uploads is the bucket of the uploads.
func (d *DB) Uploads() *Bucket[Upload] { return &Bucket[Upload]{d, bucketUploads} }

// Jobs is the bucket of the jobs.
func (d *DB) Jobs() *Bucket[Job] { return &Bucket[Job]{d, bucketJobs} }

// Workflows is the bucket of the named workflows.
func (d *DB) Workflows() *Bucket[Workflow] { return &Bucket[Workflow]{d, bucketWorkflows} }

// View runs fn in a transaction that reads one consistent state. fn must not
// call methods of DB or Bucket.
func (d *DB) View(fn func(Tx) error) error {
	if err := d.ready(); err != nil {
		return err
	}
	defer d.mu.RUnlock()
	return d.read(fn)
}

func (d *DB) read(fn func(Tx) error) (err error) {
	// The file is mapped: what the disk does not give of it is a fault where it
	// is read. A panic of fn itself goes on to the caller.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = of(ErrUnavailable, "read the database %s: %v (is the disk failing?)", d.opt.Path, p)
		default:
			panic(p)
		}
	}()
	return d.bolt.View(func(tx *bolt.Tx) error { return fn(Tx{&txn{bolt: tx, log: d.log}}) })
}

// Update runs fn in a transaction, once. What it wrote is on disk when Update
// returns nil; with any error nothing of it counts. ErrUnavailable: the disk did
// not take it. fn may run on another goroutine, together with the functions of
// other callers, and must not call methods of DB or Bucket: it would wait for
// itself.
func (d *DB) Update(fn func(Tx) error) error {
	return d.group.do(fn, d.commit)
}

// Writers is how many Updates are under way or wait, and how many may; who comes
// beyond waits to be among them.
func (d *DB) Writers() (n, most int) { return len(d.group.places), cap(d.group.places) }

// commit carries out a group of writes; there is one at a time.
func (d *DB) commit(calls []*call) error {
	if err := d.ready(); err != nil {
		return err
	}
	var id uint64
	err := guarded(func() error {
		return d.bolt.Update(func(tx *bolt.Tx) error {
			id = uint64(tx.ID())
			for _, c := range calls {
				if err := d.apply(tx, c); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err == nil {
		// No other commit is under way, and who else writes acked holds mu.
		d.acked = id
		d.changes.Add(1)
	}
	d.mu.RUnlock()
	if err != nil {
		d.mend(err)
		return of(ErrUnavailable, "write to the database %s: %w (is the disk full or failing? it is tried again with the next write)", d.opt.Path, err)
	}
	return nil
}

// Backup writes a copy of one consistent state to path, while others write. It
// is whole and on disk, or not there.
func (d *DB) Backup(ctx context.Context, path string) error {
	if same(path, d.opt.Path) {
		return fmt.Errorf("back up to %s: that is the database itself; choose another name", path)
	}
	if err := d.ready(); err != nil {
		return err
	}
	defer d.mu.RUnlock()
	return d.backupTo(ctx, path)
}

// Close lets what is under way end, makes a last backup if something changed,
// and closes the file. Later calls of any method return ErrClosed.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var err error
	if d.bolt != nil {
		if err = d.rest(); err != nil {
			err = fmt.Errorf("close the database: %w", err)
		}
		err = errors.Join(err, d.bolt.Close())
		d.bolt = nil
	}
	return errors.Join(err, d.lock.release())
}

// rest readies the file for lying about: both meta pages stand for the same
// records, so that damage to either of them loses none, and there is a backup.
func (d *DB) rest() error {
	changed := d.changes.Load() != d.backedUp.Load()
	if !changed {
		return nil
	}
	err := guarded(func() error {
		return d.bolt.Update(func(*bolt.Tx) error { return nil })
	})
	if err != nil {
		return err
	}
	_, err = d.autoBackup(context.Background())
	return err
}
