package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Opened is what Open found and did.
type Opened struct {
	Created  bool      // there was no database
	Migrated *Migrated // nil: it was of this version
	Restored *Restored // nil: the file was whole
	// Quarantined are records that could not be read. They are kept, and the
	// newest backup's state of them, where it has one, takes their place.
	Quarantined []Quarantined
	// Torn: a commit was cut off before it was acknowledged, or the last one was
	// damaged; the state before it was taken.
	Torn bool
	// Aside is when a database was last put aside for another one, of those that are
	// still there; zero: never. What was recorded before it may be missing.
	Aside time.Time
}

// Migrated is a change of the schema's version.
type Migrated struct{ From, To int }

// Quarantined is a record that could not be read.
type Quarantined struct {
	Bucket, ID, Reason string
	Backup             string // whence an older state of it was taken; empty: it is missing
}

// Notes are sentences for people about what was done; empty: nothing out of the
// ordinary.
func (o Opened) Notes() []string {
	var n []string
	if r := o.Restored; r != nil {
		n = append(n, r.String())
	}
	if m := o.Migrated; m != nil {
		n = append(n, fmt.Sprintf("the database was changed from version %d to %d; a backup of it as it was is kept", m.From, m.To))
	}
	for _, q := range o.Quarantined {
		s := fmt.Sprintf("the record %s in %s could not be read (%s) and is kept in quarantine", q.ID, q.Bucket, q.Reason)
		if q.Backup != "" {
			s += "; an older state of it was taken from " + filepath.Base(q.Backup)
		}
		n = append(n, s)
	}
	if o.Torn {
		n = append(n, "the last write to the database was cut off and does not count")
	}
	return n
}

const (
	defaultBackupEvery = 10 * time.Minute
	defaultKeep        = 8
	defaultPatience    = 2 * time.Second
	// mapping is mapped ahead, in address space only: to map more, bbolt waits
	// until nobody reads.
	mapping = 64 << 20
	// growBy is by how much the file grows at a time; bbolt's own 16 MiB would be
	// most of the file, and of each copy of it.
	growBy = 128 << 10
)

func (o Options) withDefaults() Options {
	if o.BackupDir == "" {
		o.BackupDir = filepath.Join(filepath.Dir(o.Path), "backups")
	}
	if o.BackupEvery <= 0 {
		o.BackupEvery = defaultBackupEvery
	}
	if o.Keep <= 0 {
		o.Keep = defaultKeep
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = defaultPatience
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Open opens the database, and makes it where there is none. A damaged file is
// kept aside and replaced by the state before its last write, by the newest
// backup that is whole, or by an empty database, and Opened says which.
// ErrInUse: another process has it. ErrNewer: a newer program wrote it; the file
// is not touched. Other errors are the file system's.
func Open(o Options) (*DB, Opened, error) {
	o = o.withDefaults()
	for _, dir := range []string{filepath.Dir(o.Path), o.BackupDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, Opened{}, fmt.Errorf("make the database's folder: %w", err)
		}
	}
	l, err := lock(o.Path, o.LockTimeout)
	if err != nil {
		return nil, Opened{}, err
	}
	d := &DB{opt: o, log: o.Log, lock: l, group: newGroup()}
	opened, err := d.open()
	if err != nil {
		if d.bolt != nil {
			err = errors.Join(err, d.bolt.Close())
		}
		return nil, opened, errors.Join(err, l.release())
	}
	for _, note := range opened.Notes() {
		d.log.Warn("state: " + note)
	}
	return d, opened, nil
}

func (d *DB) open() (Opened, error) {
	var o Opened
	if err := clearTemporary(d.opt); err != nil {
		return o, err
	}
	h, err := healthOf(d.opt.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.begin(&o)
	case errors.Is(err, ErrDamaged):
		o.Restored, err = replaceDamaged(d.opt, err.Error())
	case err == nil && h.Newer:
		return o, newer(d.opt.Path, h.Version)
	}
	if err != nil {
		return o, err
	}
	if o.Created || o.Restored != nil {
		if h, err = healthOf(d.opt.Path); err != nil {
			return o, fmt.Errorf("the file that was just written is not whole, so the disk or its memory is failing: %w", err)
		}
	}
	o.Torn = h.Torn && o.Restored == nil
	if h.Bytes < h.full {
		// Only free pages are missing; bbolt takes for granted that they are there.
		if err := os.Truncate(d.opt.Path, h.full); err != nil {
			return o, fmt.Errorf("extend the database: %w", err)
		}
	}
	if d.bolt, err = openBolt(d.opt); err != nil {
		return o, err
	}
	if h.Version != schema {
		// The way back, for who must go back to the program that wrote it.
		if _, err := d.autoBackup(context.Background()); err != nil {
			return o, fmt.Errorf("back the database up before its version changes: %w", err)
		}
		if err := migrate(d.bolt, h.Version); err != nil {
			return o, err
		}
		o.Migrated = &Migrated{h.Version, schema}
	}
	if o.Quarantined, err = d.quarantine(h.Bad); err != nil {
		return o, err
	}
	o.Aside = lastAside(d.opt.Path)
	return o, d.noteAcknowledged()
}

func newer(path string, version int) error {
	return of(ErrNewer, "the database %s has version %d, and this program knows versions up to %d: install the newer program again, or take a backup of before with: watchpost state restore FILE", path, version, schema)
}

// begin makes a database where there is none: from the newest backup, if the
// file was lost, or a new one.
func (d *DB) begin(o *Opened) (err error) {
	if len(backups(d.opt.BackupDir)) > 0 {
		o.Restored, err = replaceDamaged(d.opt, "the file is missing")
		return err
	}
	o.Created = true
	if err := makeNew(d.opt.Path, !d.opt.NoSync); err != nil {
		return err
	}
	// The folder may be new as well, and what is in it lasts as long as it does.
	return syncDir(filepath.Dir(filepath.Dir(d.opt.Path)))
}

// makeNew makes an empty database, whole or not at all.
func makeNew(path string, sync bool) error {
	tmp := path + ".making" + unfinished
	b, err := bolt.Open(tmp, 0o600, &bolt.Options{NoSync: true}) // what is copied is synced
	if err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	err = errors.Join(b.Update(makeBuckets), b.Close())
	if err == nil {
		err = copyFile(path, tmp, sync)
	}
	if err = errors.Join(err, os.Remove(tmp)); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	return nil
}

// clearTemporary removes what a crash left of files that were being written.
func clearTemporary(o Options) error {
	base := filepath.Base(o.Path)
	for dir, prefix := range map[string]string{filepath.Dir(o.Path): base, o.BackupDir: backupPrefix} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("look for unfinished files: %w", err)
		}
		for _, e := range entries {
			if n := e.Name(); strings.HasPrefix(n, prefix) && strings.HasSuffix(n, unfinished) {
				if err := os.Remove(filepath.Join(dir, n)); err != nil {
					return fmt.Errorf("remove an unfinished file: %w", err)
				}
			}
		}
	}
	return nil
}

// openBolt opens a file that was checked.
func openBolt(o Options) (b *bolt.DB, err error) {
	err = guarded(func() error {
		b, err = bolt.Open(o.Path, 0o600, &bolt.Options{
			Timeout: o.LockTimeout, NoSync: o.NoSync, FreelistType: bolt.FreelistMapType,
			InitialMmapSize: mapping, OpenFile: o.openFile,
		})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, of(ErrInUse, "the database %s is in use: some program has it open; end that one first", o.Path)
	case err != nil:
		return nil, fmt.Errorf("open the database %s: %w", o.Path, err)
	}
	b.AllocSize = growBy
	return b, nil
}

// guarded runs fn and makes an error of a panic of bbolt's, and of a read of
// mapped memory that the disk did not give.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = of(ErrDamaged, "the database cannot be read: %v", p)
		}
	}()
	return fn()
}
