package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// system is the real FS.
type system struct {
	root *os.Root
	// dir is the folder's own descriptor, for syncing it.
	dir *os.File
}

func openSystem(path string) (*system, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, err
	}
	// The folder itself must survive a crash, too.
	if err := syncPath(filepath.Dir(path)); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &system{root: root, dir: dir}, nil
}

func syncPath(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *system) Close() error { return errors.Join(s.dir.Close(), s.root.Close()) }

func (s *system) Open(name string, create bool) (Handle, error) {
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := s.root.OpenFile(name, flags, 0o640)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &handle{File: f, root: s.root, name: name}, nil
}

func (s *system) Remove(name string) error { return s.root.Remove(name) }

func (s *system) List() ([]Entry, error) {
	// Not the descriptor in dir: reading moves its position.
	d, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	found, err := d.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(found))
	for _, e := range found {
		st, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{Name: e.Name(), Size: st.Size(), Modified: st.ModTime(), Regular: st.Mode().IsRegular()})
	}
	return out, nil
}

func (s *system) Sync() error { return s.dir.Sync() }

func (s *system) Space() (Space, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(int(s.dir.Fd()), &st) }); err != nil {
		return Space{}, os.NewSyscallError("fstatfs", err)
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return Space{Free: int64(st.Bavail) * unit, Total: int64(st.Blocks) * unit}, nil
}
