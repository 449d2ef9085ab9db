package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Hold is one writer's right to a range: nobody else writes there meanwhile. What
// it puts counts once it is kept. It is for one goroutine.
type Hold struct {
	f        *File
	from, to int64
	epoch    uint64
	written  []Extent
	direct   bool
	done     chan struct{}
}

// Hold waits until nobody else holds a part of [from, to). Errors: ErrBusy after wait; ctx's.
// Release must be called.
func (f *File) Hold(ctx context.Context, from, to int64, wait time.Duration) (*Hold, error) {
	var late <-chan time.Time
	for {
		f.mu.Lock()
		other := f.holder(from, to)
		if other == nil {
			h := &Hold{f: f, from: from, to: to, epoch: f.epoch, done: make(chan struct{})}
			f.holds = append(f.holds, h)
			f.mu.Unlock()
			return h, nil
		}
		f.mu.Unlock()
		if late == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-other.done:
		case <-late:
			return nil, fmt.Errorf("%w: [%d, %d)", ErrBusy, other.from, other.to)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (f *File) holder(from, to int64) *Hold {
	for _, h := range f.holds {
		if h.from < to && from < h.to {
			return h
		}
	}
	return nil
}

// Put writes p at off, which must be within the hold, and compares what counts there already.
// Errors: ErrDiffers, ErrFragmented, ErrLost, and the disk's.
func (h *Hold) Put(p []byte, off int64) error {
	if off < h.from || off+int64(len(p)) > h.to {
		return fmt.Errorf("put [%d, %d) outside of what is held", off, off+int64(len(p)))
	}
	for len(p) > 0 {
		end, there, err := h.next(off, off+int64(len(p)))
		if err != nil {
			return err
		}
		part := p[:end-off]
		if there {
			err = h.f.compare(part, off)
		} else {
			err = h.write(part, off)
		}
		if err != nil {
			return err
		}
		p, off = p[len(part):], end
	}
	return nil
}

func (h *Hold) next(from, to int64) (end int64, there bool, err error) {
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch != h.epoch {
		return 0, false, ErrLost
	}
	end, there = Next(f.counted, from, to)
	if !there && len(f.counted) >= MaxExtents {
		if i := search(f.counted, from); i == len(f.counted) || f.counted[i].From > end {
			return 0, false, fmt.Errorf("%w: more than %d", ErrFragmented, MaxExtents)
		}
	}
	return end, there, nil
}

func (h *Hold) write(p []byte, off int64) error {
	err := errors.ErrUnsupported
	if w, able := h.f.h.(DirectWriter); able && h.direct {
		_, err = w.WriteDirect(p, off)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		_, err = h.f.h.WriteAt(p, off)
	}
	if err != nil {
		return fmt.Errorf("write %s at %d: %w", h.f.dir.Path(h.f.name), off, err)
	}
	h.written = Insert(h.written, Extent{From: off, To: off + int64(len(p))})
	return nil
}

// compareStep is how much is read at a time to be compared; small, for everybody who
// repeats bytes at once has one.
const compareStep = 64 << 10

func (f *File) compare(p []byte, off int64) error {
	there := make([]byte, min(compareStep, len(p)))
	for len(p) > 0 {
		n := min(len(there), len(p))
		if _, err := f.h.ReadAt(there[:n], off); err != nil {
			return fmt.Errorf("compare with %s at %d: %w", f.dir.Path(f.name), off, err)
		}
		if !bytes.Equal(there[:n], p[:n]) {
			return fmt.Errorf("%w: in [%d, %d)", ErrDiffers, off, off+int64(n))
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Keep lets what was put count. It is durable after the next Sync that begins from now on. ErrLost: a sync failed
// since the hold began.
func (h *Hold) Keep() error {
	f := h.f
	f.mu.Lock()
	if f.epoch != h.epoch {
		f.mu.Unlock()
		return ErrLost
	}
	for _, e := range h.written {
		f.counted = Insert(f.counted, e)
		f.dirty = Insert(f.dirty, e)
		f.inRow(e)
	}
	h.written = h.written[:0]
	begin := f.writeBack
	if begin.To-begin.From < writeBackStep {
		begin = Extent{}
	} else {
		f.writeBack = Extent{From: begin.To, To: begin.To}
	}
	f.mu.Unlock()
	if begin.To > 0 {
		f.beginWriteBack(begin)
	}
	return nil
}

func (f *File) inRow(e Extent) {
	if f.writeBack.To != e.From {
		f.writeBack = Extent{From: e.From, To: e.From}
	}
	f.writeBack.To = e.To
}

func (f *File) beginWriteBack(e Extent) {
	if err := f.h.WriteBack(e.From, e.To-e.From); err != nil {
		f.mu.Lock()
		f.failed = errors.Join(f.failed, fmt.Errorf("begin to write [%d, %d): %w", e.From, e.To, err))
		f.mu.Unlock()
	}
}

// Release ends the hold. What was put and not kept does not count and may be written over.
func (h *Hold) Release() {
	f := h.f
	f.mu.Lock()
	for i, x := range f.holds {
		if x == h {
			f.holds = append(f.holds[:i], f.holds[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	close(h.done)
}

// Put is a Hold of just p's range, written, kept and released.
func (f *File) Put(ctx context.Context, p []byte, off int64, wait time.Duration) error {
	return f.put(ctx, p, off, wait, false)
}

// PutDirect is Put past the page cache, where the disk can and p and off are aligned; else it is Put.
func (f *File) PutDirect(ctx context.Context, p []byte, off int64, wait time.Duration) error {
	return f.put(ctx, p, off, wait, true)
}

func (f *File) put(ctx context.Context, p []byte, off int64, wait time.Duration, direct bool) error {
	h, err := f.Hold(ctx, off, off+int64(len(p)), wait)
	if err != nil {
		return err
	}
	defer h.Release()
	h.direct = direct
	if err := h.Put(p, off); err != nil {
		return err
	}
	return h.Keep()
}
