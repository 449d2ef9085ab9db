package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
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
}

// DB is the open database. Its methods may be called from any goroutine.
type DB struct {
	opt   Options
	log   *slog.Logger
	group group

	mu   sync.RWMutex // guards bolt: held for reading while it is used
	bolt *bolt.DB     // nil once closed
}

// Opened is what Open found and did.
type Opened struct {
	Created  bool      // there was no database
	Migrated *Migrated // nil: it was of this version
	Restored *Restored // nil: the file was whole
}

// Migrated is a change of the schema's version.
type Migrated struct{ From, To int }

// Restored is what was done about a damaged file.
type Restored struct {
	Backup string    // whence the records come; empty: no backup was whole, and the database is empty
	Taken  time.Time // when that backup was made
	Aside  string    // where the damaged file is kept
	Reason string    // what is wrong with it
}

// Open opens the database, and makes it where there is none.
func Open(o Options) (*DB, Opened, error) {
	var opened Opened
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		return nil, opened, fmt.Errorf("make the database's folder: %w", err)
	}
	if _, err := os.Stat(o.Path); errors.Is(err, os.ErrNotExist) {
		opened.Created = true
	}
	b, err := bolt.Open(o.Path, 0o600, &bolt.Options{Timeout: 2 * time.Second, NoSync: o.NoSync, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, opened, fmt.Errorf("open the database %s: %w", o.Path, err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{bucketUploads, bucketJobs} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		m, err := tx.CreateBucketIfNotExists([]byte("meta"))
		if err != nil {
			return err
		}
		return m.Put([]byte("schema"), []byte("1"))
	})
	if err != nil {
		return nil, opened, errors.Join(err, b.Close())
	}
	return &DB{opt: o, log: o.Log, bolt: b}, opened, nil
}

// Uploads is the bucket of the uploads.
func (d *DB) Uploads() *Bucket[Upload] { return &Bucket[Upload]{d, bucketUploads} }

// Jobs is the bucket of the jobs.
func (d *DB) Jobs() *Bucket[Job] { return &Bucket[Job]{d, bucketJobs} }

// View runs fn in a transaction that reads one consistent state.
func (d *DB) View(fn func(Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.bolt == nil {
		return ErrClosed
	}
	return d.bolt.View(func(tx *bolt.Tx) error { return fn(Tx{&txn{bolt: tx, log: d.log}}) })
}

// Update runs fn in a transaction, once. What it wrote is on disk when Update
// returns nil; with any error nothing of it is. fn may run on another goroutine,
// together with the functions of other callers, and must not call methods of DB
// or Bucket: it would wait for itself.
func (d *DB) Update(fn func(Tx) error) error {
	return d.group.do(fn, d.commit)
}

func (d *DB) commit(calls []*call) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.bolt == nil {
		return ErrClosed
	}
	err := d.bolt.Update(func(tx *bolt.Tx) error {
		for _, c := range calls {
			if err := d.apply(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return of(ErrUnavailable, "write to the database %s: %w (is the disk full or failing?)", d.opt.Path, err)
	}
	return nil
}

// Run makes the automatic backups until ctx ends.
func (d *DB) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Backup writes a copy of one consistent state to path, while others write.
func (d *DB) Backup(ctx context.Context, path string) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.bolt == nil {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.bolt.View(func(tx *bolt.Tx) error { return tx.CopyFile(path, 0o600) })
}

// Close ends what is under way and closes the file.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bolt == nil {
		return nil
	}
	err := d.bolt.Close()
	d.bolt = nil
	return err
}
