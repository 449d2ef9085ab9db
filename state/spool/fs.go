package spool

import (
	"io"
	"time"
)

// FS is the disk below a Dir: one flat folder. Names are base names. Its methods
// may be called from any goroutine.
type FS interface {
	// Open opens a file for reading and writing. With create it must not exist yet.
	Open(name string, create bool) (Handle, error)
	// Remove unlinks a file; that there is none is an error that is fs.ErrNotExist.
	Remove(name string) error
	// List tells what lies in the folder, in any order.
	List() ([]Entry, error)
	// Sync makes the making and unlinking of files durable.
	Sync() error
	Space() (Space, error)
}

// Handle is an open file. ReadAt and WriteAt are as in package io, for several goroutines at once.
type Handle interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Allocate reserves the disk's blocks for [from, from+n) and makes the file as long as
	// that. errors.ErrUnsupported: the file system cannot; it is not changed then.
	Allocate(from, n int64) error
	// WriteBack begins to write what is changed in [from, from+n), and does not wait for the end of it.
	WriteBack(from, n int64) error
	// Datasync returns once all that was written before is on disk.
	Datasync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// DirectWriter is a Handle that can write past the page cache: less work for the processor, and
// nothing left for the next sync but the disk's own cache. errors.ErrUnsupported: not this file, or
// not these bytes, whose place in memory and file must be aligned to DirectAlign; nothing was written then.
type DirectWriter interface {
	WriteDirect(p []byte, off int64) (int, error)
}

// DirectAlign is what the parts of a direct write must be multiples of, bytes. Disks with larger
// sectors are not known.
const DirectAlign = 4096

// Entry is one thing in the folder.
type Entry struct {
	Name     string
	Size     int64 // bytes
	Modified time.Time
	Regular  bool // a file, not a folder, link or device
}

// Space is what the file system has, in bytes.
type Space struct {
	Free  int64 // for us, not what is kept for root
	Total int64
}
