package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/state/boltfile"
)

// Entry is one record as it lies in a file, for people and their tools.
type Entry struct {
	Bucket string `json:"bucket"`
	ID     string `json:"id"`
	// Record is the record's JSON; null where it cannot be read.
	Record  json.RawMessage `json:"record"`
	Problem string          `json:"problem,omitempty"` // why it cannot be read
	Raw     []byte          `json:"raw,omitempty"`     // then, the bytes as they are
}

// Look is a database file at one moment, for reading. A box's own file is copied
// first, also while the box runs, and is not held while it is read.
type Look struct {
	InUse bool // a box is running with it
	f     *os.File
	size  int64
}

// OpenLook opens a database, or a backup, for reading; nothing is written to it
// or beside it. An error is the file system's, or ErrInUse where a running box
// writes so much that no quiet moment was found.
func OpenLook(path string) (*Look, error) {
	l := &Look{}
	var err error
	if l.f, err = os.Open(path); err != nil {
		return nil, fmt.Errorf("read the database: %w", err)
	}
	info, err := l.f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("read the database: %s is not a file", path)
	}
	if err == nil {
		l.size = info.Size()
		err = l.copyLocked(path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close lets go of the file.
func (l *Look) Close() error { return l.f.Close() }

// copyLocked goes on with a copy where the file is a box's own, which has a lock
// beside it.
func (l *Look) copyLocked(path string) error {
	lock, err := os.Open(path + ".lock")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("see whether the database is in use: %w", err)
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	l.InUse = errors.Is(err, unix.EWOULDBLOCK)
	if err != nil && !l.InUse {
		return fmt.Errorf("see whether the database is in use: %w", err)
	}
	tmp, err := os.CreateTemp("", "watchpost-look-*")
	if err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	src := l.f
	defer src.Close()
	l.f = tmp
	// Nobody else needs its name.
	if err := os.Remove(tmp.Name()); err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	if l.InUse {
		err = settle(tmp, src, path)
	} else {
		_, err = io.Copy(tmp, src)
	}
	if err != nil {
		return fmt.Errorf("copy the database %s: %w", path, err)
	}
	info, err := tmp.Stat()
	if err == nil {
		l.size = info.Size()
	}
	return err
}

// settle copies one state of a running box's file. A commit writes only to pages
// that are free in the state before it, so the copy is of one state if no commit
// ended while it was made.
func settle(dst, src *os.File, path string) error {
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		quiet, err := copyQuiet(dst, src)
		if err != nil || quiet {
			return err
		}
		if time.Now().After(until) {
			return of(ErrInUse, "it is in use, and was never quiet for long enough; try again, stop the box, or look at a backup in %s", filepath.Join(filepath.Dir(path), "backups"))
		}
	}
}

// copyQuiet copies the state that src has and reports whether src still has it.
// A damaged file is copied as it is.
func copyQuiet(dst, src *os.File) (bool, error) {
	info, err := src.Stat()
	if err != nil {
		return false, err
	}
	if err := dst.Truncate(0); err != nil {
		return false, err
	}
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	before, err := boltfile.Metas(src, info.Size())
	if err != nil || before[0].Problem != nil {
		_, err := io.Copy(dst, io.NewSectionReader(src, 0, info.Size()))
		return true, err
	}
	if err := boltfile.CopyAt(dst, src, info.Size(), before[0]); err != nil {
		return false, err
	}
	after, err := boltfile.Metas(src, info.Size())
	return err == nil && after[0].Txid == before[0].Txid, nil
}

// Check reads all of the file. An error wraps ErrDamaged where it is not one that
// the box could use as it is.
func (l *Look) Check() (Health, error) { return readHealth(l.f, l.size) }

// Dump gives each record of a bucket, or of all where bucket is empty, in the
// file's order. It gives what can be reached before it returns an error.
func (l *Look) Dump(bucket string, each func(Entry) error) error {
	h, err := l.Check()
	if h.Version == 0 && err != nil {
		return err
	}
	_, err = boltfile.Check(l.f, l.size, func(path []string, key, value []byte) error {
		if len(path) != 1 || path[0] == bucketMeta || bucket != "" && path[0] != bucket {
			return nil
		}
		return each(entry(h.Version, path[0], string(key), value))
	})
	if errors.Is(err, boltfile.ErrDamaged) {
		return kindError{ErrDamaged, err}
	}
	return err
}

func entry(version int, bucket, id string, raw []byte) Entry {
	e := Entry{Bucket: bucket, ID: id}
	if bucket == bucketQuarantine {
		e.Problem, e.Raw = "it could not be read, and was put aside", raw
		return e
	}
	if err := checkRecord(version, bucket, id, raw); err != nil {
		e.Problem, e.Raw = err.Error(), raw
		return e
	}
	if version >= 2 {
		raw = raw[sumSize:]
	}
	e.Record = raw
	return e
}

// Copy writes the state to a new file at path, after reading all of it.
func (l *Look) Copy(path string) (Health, error) {
	h, err := l.Check()
	if err != nil {
		return h, err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("write the backup: %s is there already; choose another name", path)
	}
	err = writeFile(path, true, func(f *os.File) error {
		_, err := io.Copy(f, io.NewSectionReader(l.f, 0, l.size))
		return err
	})
	if err != nil {
		return h, fmt.Errorf("write the backup: %w", err)
	}
	return h, nil
}

// Restoration is what Restore did.
type Restoration struct {
	From   string
	Aside  string // where the file that was there is kept; empty: there was none
	Health Health // of what is there now
}

// Restore puts a backup in the place of the database, which is kept aside. From
// is a file, or empty: the newest automatic backup that is whole. ErrInUse: a box
// has the database open. ErrDamaged, ErrNewer: that file cannot be used, and
// nothing was changed.
func Restore(o Options, from string) (Restoration, error) {
	o = o.withDefaults()
	r := Restoration{From: from}
	if from == "" {
		var err error
		if r.From, err = newestWhole(o); err != nil {
			return r, err
		}
	}
	if same(r.From, o.Path) {
		return r, fmt.Errorf("restore %s: that is the database itself", r.From)
	}
	var err error
	if r.Health, err = healthOf(r.From); err != nil {
		return r, fmt.Errorf("restore %s: %w", r.From, err)
	}
	if r.Health.Newer {
		return r, newer(r.From, r.Health.Version)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		return r, fmt.Errorf("make the database's folder: %w", err)
	}
	l, err := lock(o.Path, o.LockTimeout)
	if err != nil {
		return r, err
	}
	next := o.Path + ".restored" + unfinished
	if err = copyFile(next, r.From, true); err == nil {
		if r.Health, err = healthOf(next); err == nil {
			r.Aside, err = replace(o.Path, next, "replaced")
		}
	}
	if err != nil {
		err = fmt.Errorf("restore the database: %w", err)
	}
	return r, errors.Join(err, l.release())
}

func newestWhole(o Options) (string, error) {
	var why error
	for _, b := range backups(o.BackupDir) {
		h, err := healthOf(b.path)
		if err == nil && h.Newer {
			err = newer(b.path, h.Version)
		}
		if err == nil {
			return b.path, nil
		}
		why = errors.Join(why, err)
	}
	if why != nil {
		return "", fmt.Errorf("no backup in %s is usable: %w", o.BackupDir, why)
	}
	return "", of(fs.ErrNotExist, "there is no backup in %s; name a backup's file", o.BackupDir)
}
