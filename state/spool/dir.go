package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// removeStep is how much of a file is freed at a time. Unlinking hundreds of GiB at once can hold
// the file system's journal, and so everybody's syncs, for seconds.
const removeStep = 1 << 30

// Dir is the folder of all uploads' bytes. Its methods may be called from any
// goroutine; all of them wait for the disk.
type Dir struct {
	fs   FS
	path string
}

// Open opens the folder, and makes it if there is none.
func Open(path string) (*Dir, error) {
	s, err := openSystem(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder for uploads %s: %w", path, err)
	}
	return &Dir{fs: s, path: path}, nil
}

// New makes a Dir of another disk. Path gives names below path.
func New(disk FS, path string) *Dir { return &Dir{fs: disk, path: path} }

// Close lets go of the folder. Files that are open stay usable.
func (d *Dir) Close() error {
	if c, ok := d.fs.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Path is where the bytes of name lie.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Create makes a file with room for size bytes (none for size <= 0), durably. Where
// the file system cannot set room aside, Allocated is false, and the disk may
// be full later. Errors: fs.ErrExist; ENOSPC, after which the file is gone again.
func (d *Dir) Create(name string, size int64) (*File, error) {
	h, err := d.fs.Open(name, true)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", d.Path(name), err)
	}
	f := newFile(d, name, h, nil)
	err = f.Allocate(size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if err == nil {
		err = h.Datasync()
	}
	if err == nil {
		err = d.fs.Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create %s with %d bytes: %w", d.Path(name), size, err), h.Close(), d.fs.Remove(name))
	}
	return f, nil
}

// Open opens a file of which durable is known to be on disk. fs.ErrNotExist: there is none.
func (d *Dir) Open(name string, durable []Extent) (*File, error) {
	h, err := d.fs.Open(name, false)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.Path(name), err)
	}
	return newFile(d, name, h, durable), nil
}

// Remove removes a file, a large one in steps, and durably. That there is none is no error.
func (d *Dir) Remove(ctx context.Context, name string) error {
	if err := d.shrink(ctx, name); err != nil {
		return fmt.Errorf("remove %s: %w", d.Path(name), err)
	}
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", d.Path(name), err)
	}
	if err := d.fs.Sync(); err != nil {
		return fmt.Errorf("remove %s: sync the folder: %w", d.Path(name), err)
	}
	return nil
}

func (d *Dir) shrink(ctx context.Context, name string) error {
	h, err := d.fs.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.Close()
	size, err := h.Size()
	for ; err == nil && size > removeStep; size -= removeStep {
		if err = ctx.Err(); err == nil {
			err = h.Truncate(size - removeStep)
		}
	}
	return err
}

// List tells what lies in the folder.
func (d *Dir) List() ([]Entry, error) {
	list, err := d.fs.List()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	return list, nil
}

// Space tells what the file system has.
func (d *Dir) Space() (Space, error) {
	s, err := d.fs.Space()
	if err != nil {
		return Space{}, fmt.Errorf("ask for the free space of %s: %w", d.path, err)
	}
	return s, nil
}
