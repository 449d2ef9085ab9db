package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// handle is a file of the real FS.
type handle struct {
	*os.File
	root *os.Root
	name string

	// direct is the same file once more, opened for direct writes when the first one comes; nil after a
	// refusal. mu guards it, also against a close in the middle of a write.
	mu       sync.RWMutex
	direct   *os.File
	indirect bool // direct writes were refused, or the file is closed
}

// WriteDirect implements DirectWriter.
func (h *handle) WriteDirect(p []byte, off int64) (int, error) {
	if len(p) == 0 || (uintptr(unsafe.Pointer(&p[0]))|uintptr(len(p))|uintptr(off))%DirectAlign != 0 {
		return 0, errors.ErrUnsupported
	}
	if err := h.openDirect(); err != nil {
		return 0, err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.direct == nil {
		return 0, errors.ErrUnsupported
	}
	n, err := h.direct.WriteAt(p, off)
	if errors.Is(err, unix.EINVAL) {
		return 0, errors.ErrUnsupported // of the alignment, perhaps after a part that is then written again
	}
	return n, err
}

func (h *handle) openDirect() error {
	h.mu.RLock()
	ready, refused := h.direct != nil, h.indirect
	h.mu.RUnlock()
	if refused {
		return errors.ErrUnsupported
	}
	if ready {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.direct != nil || h.indirect {
		return nil
	}
	f, err := h.root.OpenFile(h.name, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_DIRECT, 0)
	if err != nil || !sameFile(f, h.File) {
		// The file system cannot, or the name is another file's by now.
		h.indirect = true
		if f != nil {
			_ = f.Close()
		}
		return errors.ErrUnsupported
	}
	h.direct = f
	return nil
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

func (h *handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.indirect = true
	var err error
	if h.direct != nil {
		err = h.direct.Close()
		h.direct = nil
	}
	return errors.Join(err, h.File.Close())
}

func (h *handle) Allocate(from, n int64) error {
	err := h.on("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, from, n) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

func (h *handle) WriteBack(from, n int64) error {
	err := h.on("sync_file_range", func(fd int) error {
		return unix.SyncFileRange(fd, from, n, unix.SYNC_FILE_RANGE_WRITE)
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // it only makes the sync shorter
	}
	return err
}

func (h *handle) Datasync() error { return h.on("fdatasync", unix.Fdatasync) }

func (h *handle) Size() (int64, error) {
	st, err := h.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// on calls a system call with the descriptor, which stays open meanwhile.
func (h *handle) on(name string, call func(fd int) error) error {
	conn, err := h.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = retry(func() error { return call(int(fd)) }) }); err != nil {
		return err
	}
	return os.NewSyscallError(name, failed)
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
