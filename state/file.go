package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/watchpost/watchpost/state/boltfile"
)

// Health is what reading a whole database file shows.
type Health struct {
	Version int  // of the schema
	Newer   bool // this program is too old for it
	Bytes   int64
	Uploads int
	Jobs    int
	// Workflows that have a name.
	Workflows int
	// Quarantined are records that were found unreadable before, and are kept.
	Quarantined int
	Bad         []*RecordError // records that cannot be read
	// Torn: one of the two meta pages is not valid. A commit was cut off before it
	// was acknowledged; or the page was damaged later, and the last write is missing.
	Torn bool

	full int64 // bytes that the file should have at least; those that are missing are of free pages
}

// readHealth reads all of f. An error wraps ErrDamaged where f is not a database
// of this program, or not one that bbolt can be trusted with.
func readHealth(f io.ReaderAt, size int64) (Health, error) {
	h := Health{Bytes: size}
	// The version, which says how to read a record, may come after it in the file.
	var plain, sealed []*RecordError
	r, err := boltfile.Check(f, size, func(path []string, key, value []byte) error {
		switch {
		case len(path) != 1:
		case path[0] == bucketMeta && string(key) == keySchema:
			var ok bool
			if h.Version, ok = parseSchema(value); !ok {
				return fmt.Errorf("%w: its schema version is %q", ErrDamaged, value)
			}
		case path[0] == bucketUploads, path[0] == bucketJobs, path[0] == bucketWorkflows:
			switch path[0] {
			case bucketUploads:
				h.Uploads++
			case bucketJobs:
				h.Jobs++
			default:
				h.Workflows++
			}
			sealed = faulty(sealed, 2, path[0], string(key), value)
			if len(sealed) > 0 {
				plain = faulty(plain, 1, path[0], string(key), value)
			}
		case path[0] == bucketQuarantine:
			h.Quarantined++
		}
		return nil
	})
	switch {
	case errors.Is(err, boltfile.ErrDamaged):
		return h, kindError{ErrDamaged, err}
	case err != nil:
		return h, err
	case h.Version == 0:
		return h, of(ErrDamaged, "damaged: it has no schema version, so it is not a database of Watchpost")
	}
	h.Torn, h.Newer = r.Torn, h.Version > schema
	h.full = int64(r.Meta.Pages) * r.Meta.PageSize
	for _, name := range recordBuckets(h.Version) {
		if !h.Newer && !slices.Contains(r.Buckets, name) {
			return h, of(ErrDamaged, "damaged: it has no bucket %s", name)
		}
	}
	switch {
	case h.Newer: // nobody here knows
	case h.Version == 1:
		h.Bad = plain
	default:
		h.Bad = sealed
	}
	return h, nil
}

// recordBuckets are those that a database of a schema version has.
func recordBuckets(version int) []string {
	all := []string{bucketUploads, bucketJobs}
	if version >= 3 {
		all = append(all, bucketWorkflows)
	}
	return all
}

// faulty adds a record to bad if it cannot be read as one of that version.
func faulty(bad []*RecordError, version int, bucket, id string, raw []byte) []*RecordError {
	var e *RecordError
	if errors.As(checkRecord(version, bucket, id, raw), &e) {
		return append(bad, e)
	}
	return bad
}

// healthOf is readHealth of a file by its name.
func healthOf(path string) (Health, error) {
	f, err := os.Open(path)
	if err != nil {
		return Health{}, fmt.Errorf("read the database: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Health{}, fmt.Errorf("read the database: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Health{}, of(ErrDamaged, "%s is not a file", path)
	}
	return readHealth(f, info.Size())
}

// unfinished ends the names of files that are being written; Open removes what a
// crash left of them.
const unfinished = ".new"

// writeFile makes a file with what fill writes, whole and, with sync,
// on disk, or not at all.
func writeFile(path string, sync bool, fill func(*os.File) error) error {
	tmp := path + unfinished
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if !sync {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

// copyFile is writeFile with another file's content.
func copyFile(to, from string, sync bool) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return writeFile(to, sync, func(f *os.File) error {
		_, err := io.Copy(f, src)
		return err
	})
}

// syncDir makes renames in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
