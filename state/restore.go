package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/watchpost/watchpost/state/boltfile"
)

// Restored is what was done about a damaged or missing file.
type Restored struct {
	// Previous: the file itself still had the state before its last write.
	Previous bool
	Backup   string    // else, whence the records come; empty: the database is empty
	Taken    time.Time // when that backup was made
	Aside    string    // where the damaged file is kept; empty: there was none
	Reason   string    // what is wrong with it
	Skipped  []string  // newer backups that are not whole, with the reason
}

func (r Restored) String() string {
	s := "the database could not be used: " + r.Reason
	if r.Aside != "" {
		s += "; it is kept as " + filepath.Base(r.Aside)
	}
	switch {
	case r.Previous:
		s += "; the state before its last write was taken"
	case r.Backup != "":
		s += fmt.Sprintf("; the backup of %s was taken, and what came later is missing", r.Taken.Format(time.DateTime))
	default:
		s += "; there is no usable backup, so it begins empty"
	}
	return s
}

// replaceDamaged puts the best that there is in place of a damaged file.
func replaceDamaged(o Options, reason string) (*Restored, error) {
	r := &Restored{Reason: reason}
	next := o.Path + ".restored" + unfinished
	var err error
	if r.Previous, err = takePrevious(o, next); err != nil {
		return nil, fmt.Errorf("restore the database: %w (is the disk full?)", err)
	}
	if !r.Previous {
		if err := r.takeBackup(o, next); err != nil {
			return nil, fmt.Errorf("restore the database: %w (is the disk full?)", err)
		}
	}
	if r.Aside, err = replace(o.Path, next, "damaged"); err != nil {
		return nil, fmt.Errorf("restore the database: %w", err)
	}
	return r, nil
}

// takePrevious writes the state before the last commit to next, if that is
// whole: a commit leaves the pages of the state before it alone.
func takePrevious(o Options, next string) (bool, error) {
	f, err := os.Open(o.Path)
	if err != nil {
		return false, nil // there is nothing to take
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	metas, err := boltfile.Metas(f, info.Size())
	if err != nil || len(metas) < 2 {
		return false, nil
	}
	if _, err := boltfile.CheckAt(f, info.Size(), metas[1], false, nil); err != nil {
		return false, nil
	}
	err = writeFile(next, !o.NoSync, func(w *os.File) error { return boltfile.CopyAt(w, f, info.Size(), metas[1]) })
	if err != nil {
		return false, err
	}
	h, err := healthOf(next)
	return err == nil && !h.Newer, nil
}

// takeBackup writes the newest backup that is whole to next, or else an empty
// database.
func (r *Restored) takeBackup(o Options, next string) error {
	for _, b := range backups(o.BackupDir) {
		h, err := healthOf(b.path)
		if err == nil && h.Newer {
			err = newer(b.path, h.Version)
		}
		if err != nil {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %v", filepath.Base(b.path), err))
			o.Log.Warn("a backup is not usable", "backup", b.path, "reason", err)
			continue
		}
		r.Backup, r.Taken = b.path, b.taken
		return copyFile(next, b.path, !o.NoSync)
	}
	return makeNew(next, !o.NoSync)
}

// replace puts the file next, which is whole and on disk, in the place of path,
// and returns the name under which the one that was there is kept: empty, if
// there was none. At no time is there no file at path.
func replace(path, next, why string) (aside string, err error) {
	if _, err := os.Lstat(path); err == nil {
		aside = freeName(fmt.Sprintf("%s.%s-%s", path, why, time.Now().UTC().Format(asideTime)))
		// Not every file system has hard links.
		if os.Link(path, aside) != nil {
			if err := os.Rename(path, aside); err != nil {
				return "", err
			}
		}
	}
	if err := os.Rename(next, path); err != nil {
		return aside, err
	}
	return aside, errors.Join(syncDir(filepath.Dir(path)), forgetOldest(path, why))
}

// asideTime is how the name of a file that is kept aside tells when that was.
const asideTime = "20060102T150405Z"

// lastAside is when a file was last put aside, of those that are still there; zero:
// there is none.
func lastAside(path string) (last time.Time) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return last
	}
	for _, e := range entries {
		rest, of := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		why, stamp, ok := strings.Cut(rest, "-")
		if !of || !ok || why != "damaged" && why != "replaced" {
			continue
		}
		stamp, _, _ = strings.Cut(stamp, "-") // a number, where there were several in one second
		if t, err := time.Parse(asideTime, stamp); err == nil && t.After(last) {
			last = t
		}
	}
	return last
}

// keepAside bounds the files that are kept aside: a disk that damages the
// database at every start must not be filled by that.
const keepAside = 8

func forgetOldest(path, why string) error {
	entries, err := os.ReadDir(filepath.Dir(path)) // in the order of names, and so of time
	if err != nil {
		return err
	}
	var kept []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+"."+why+"-") {
			kept = append(kept, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	for _, name := range kept[:max(0, len(kept)-keepAside)] {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func freeName(name string) string {
	try := name
	for i := 2; ; i++ {
		if _, err := os.Lstat(try); errors.Is(err, fs.ErrNotExist) {
			return try
		}
		try = fmt.Sprintf("%s-%d", name, i)
	}
}

// quarantine moves records that cannot be read out of the way of the others, and
// puts what the newest whole backup has of them in their place.
func (d *DB) quarantine(bad []*RecordError) ([]Quarantined, error) {
	if len(bad) == 0 {
		return nil, nil
	}
	older, from := d.olderStates(bad)
	var all []Quarantined
	err := d.bolt.Update(func(tx *bolt.Tx) error {
		q, err := tx.CreateBucketIfNotExists([]byte(bucketQuarantine))
		if err != nil {
			return err
		}
		stamp := time.Now().UTC().Format("20060102T150405.000Z")
		for _, r := range bad {
			b := tx.Bucket([]byte(r.Bucket))
			raw := append([]byte(nil), b.Get([]byte(r.ID))...)
			// Where it was and when, for who looks; a key's limit is bbolt's.
			key := fmt.Sprintf("%s/%s/%s", r.Bucket, stamp, r.ID)
			if err := q.Put([]byte(key[:min(len(key), bolt.MaxKeySize)]), raw); err != nil {
				return err
			}
			note := Quarantined{Bucket: r.Bucket, ID: r.ID, Reason: r.Reason}
			if v := older[record{r.Bucket, r.ID}]; v != nil {
				note.Backup = from
				err = b.Put([]byte(r.ID), v)
			} else {
				err = b.Delete([]byte(r.ID))
			}
			if err != nil {
				return err
			}
			all = append(all, note)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("put records that cannot be read aside: %w", err)
	}
	return all, nil
}

type record struct{ bucket, id string }

// olderStates are the records of those ids in the newest backup that is whole
// and of this version.
func (d *DB) olderStates(bad []*RecordError) (map[record][]byte, string) {
	for _, b := range backups(d.opt.BackupDir) {
		f, err := os.Open(b.path)
		if err != nil {
			continue
		}
		older, err := readRecords(f, bad)
		if err := errors.Join(err, f.Close()); err != nil {
			d.log.Warn("a backup is not usable", "backup", b.path, "reason", err)
			continue
		}
		if older != nil {
			return older, b.path
		}
	}
	return nil, ""
}

// readRecords reads the records of those ids; nil: the file is of another version.
func readRecords(f *os.File, wanted []*RecordError) (map[record][]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h, err := readHealth(f, info.Size())
	if err != nil || h.Version != schema {
		return nil, err
	}
	want := map[record]bool{}
	for _, r := range wanted {
		want[record{r.Bucket, r.ID}] = true
	}
	got := map[record][]byte{}
	_, err = boltfile.Check(f, info.Size(), func(path []string, key, value []byte) error {
		if len(path) == 1 && want[record{path[0], string(key)}] && checkRecord(schema, path[0], string(key), value) == nil {
			got[record{path[0], string(key)}] = append([]byte(nil), value...)
		}
		return nil
	})
	return got, err
}
