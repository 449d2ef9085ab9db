package spooltest

import (
	"errors"
	"io"
	"maps"

	"github.com/watchpost/watchpost/state/spool"
)

// handle implements spool.Handle.
type handle struct {
	d    *Disk
	f    *file
	name string
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.d.ask(Read, h.name); err != nil {
		return 0, err
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if off >= int64(len(h.f.now)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	failed := h.d.ask(Write, h.name)
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if failed != nil {
		p = p[:len(p)/2]
	}
	end := off + int64(len(p))
	if err := h.d.take(h.f, end); err != nil {
		return 0, err
	}
	if len(p) > 0 {
		h.f.grow(end)
		copy(h.f.now[off:], p)
		for at := off / page; at <= (end-1)/page; at++ {
			h.f.dirty[at] = true
		}
	}
	return len(p), failed
}

func (h *handle) Allocate(from, n int64) error {
	if err := h.d.ask(Allocate, h.name); err != nil {
		return err
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.Sparse {
		return errors.ErrUnsupported
	}
	if err := h.d.take(h.f, from+n); err != nil {
		return err
	}
	h.f.grow(from + n)
	return nil
}

func (h *handle) WriteBack(from, n int64) error {
	err := h.d.ask(WriteBack, h.name)
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	for at := from / page; at <= (from+n-1)/page; at++ {
		if h.f.dirty[at] && err == nil && h.d.rnd.IntN(2) == 0 {
			h.f.persist(at)
		}
		if err != nil {
			delete(h.f.dirty, at)
		}
	}
	return err
}

func (h *handle) Datasync() error {
	// What is written while the sync is under way is not covered by it.
	h.d.mu.Lock()
	covered := maps.Clone(h.f.dirty)
	h.d.mu.Unlock()
	err := h.d.ask(Datasync, h.name)
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err == nil && h.d.off { // the power went while it was under way
		err = ErrPower
	}
	for at := range covered {
		if err == nil {
			h.f.persist(at)
			delete(h.f.dirty, at)
		}
	}
	if err != nil && !h.d.off {
		clear(h.f.dirty)
	}
	if err == nil && len(h.f.now) > len(h.f.disk) && len(covered) > 0 {
		h.f.disk = append(h.f.disk, make([]byte, len(h.f.now)-len(h.f.disk))...)
	}
	return err
}

func (h *handle) Truncate(size int64) error {
	if err := h.d.ask(Truncate, h.name); err != nil {
		return err
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if size < int64(len(h.f.now)) {
		h.f.now = h.f.now[:size]
		h.f.blocks = min(h.f.blocks, size)
	}
	return nil
}

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.now)), nil
}

func (h *handle) Close() error { return nil }

// WriteDirect implements spool.DirectWriter.
func (h *handle) WriteDirect(p []byte, off int64) (int, error) {
	if off%spool.DirectAlign != 0 || len(p)%spool.DirectAlign != 0 {
		return 0, errors.ErrUnsupported
	}
	h.d.Directs.Add(1)
	return h.WriteAt(p, off)
}
