package upload

import (
	"context"
	"slices"

	"github.com/watchpost/watchpost/state/spool"
)

// placeAhead is how many buffers of one upload may wait for the disk.
const placeAhead = 8

// placed is what Place was given and the disk has not yet. Guarded by the entry's mu.
type placed struct {
	queue   []*slab
	writing bool  // a goroutine works on the queue
	used    bool  // ever
	err     error // that nobody was told
	// taken and written count the slabs that were queued ever, and those of them that the disk has or refused.
	taken, written uint64
	// moved is closed when the queue has got shorter; nil: nobody waits for it.
	moved chan struct{}
}

// slab is a buffer on its way to the disk.
type slab struct {
	off int64
	buf []byte // as much as is in use
}

func (p *placed) failed(err error) {
	if p.used && p.err == nil {
		p.err = err
	}
}

func (p *placed) take() error {
	err := p.err
	p.err = nil
	return err
}

// Place puts data at offset; data may be used again when it returns. It waits
// only while too much is waiting for the disk. What becomes of it is told by Watch
// (or Flush); an error that came after an earlier Place returned is returned by the next call.
// Errors: as Append's.
func (s *Uploads) Place(id string, offset int64, data []byte) error {
	return s.refuse(s.place(id, offset, data))
}

func (s *Uploads) place(id string, offset int64, data []byte) error {
	if offset < 0 {
		return fail(ErrInvalid, "an offset of %d bytes", offset)
	}
	e, err := s.find(id)
	if err != nil {
		return err
	}
	if !s.begin() {
		return errClosed()
	}
	defer s.end()
	if err := s.grow(e, offset+int64(len(data))); err != nil {
		return err
	}
	for len(data) > 0 {
		n, wait, err := s.enqueue(e, offset, data, nil)
		if err == nil && n == 0 && wait == nil {
			var buf []byte
			if buf, err = s.placing.get(context.Background(), s.stop); err != nil {
				return err
			}
			n, wait, err = s.enqueue(e, offset, data, buf)
		}
		if err != nil {
			return err
		}
		if wait != nil {
			select {
			case <-wait:
			case <-s.stop:
				return errClosed()
			}
			continue
		}
		data, offset = data[n:], offset+int64(n)
	}
	return nil
}

// enqueue copies what fits behind the last slab, or into buf if it is not nil. Nothing and no wait: a
// buffer is needed.
func (s *Uploads) enqueue(e *entry, offset int64, data, buf []byte) (n int, wait <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &e.placed
	p.used = true
	err = e.ended
	if err == nil {
		err = p.take()
	}
	if q := len(p.queue); err == nil && q > 0 {
		if last := p.queue[q-1]; last.off+int64(len(last.buf)) == offset {
			n = min(len(data), cap(last.buf)-len(last.buf))
			last.buf = append(last.buf, data[:n]...)
		}
	}
	full := n == 0 && err == nil && len(p.queue) >= placeAhead
	if n > 0 || err != nil || full {
		if buf != nil {
			s.placing.put(buf)
		}
		if full {
			if p.moved == nil {
				p.moved = make(chan struct{})
			}
			wait = p.moved
		}
		return n, wait, err
	}
	if buf == nil {
		return 0, nil, nil
	}
	n = min(len(data), len(buf))
	copy(buf, data[:n])
	p.queue = append(p.queue, &slab{off: offset, buf: buf[:n]})
	p.taken++
	if !p.writing {
		p.writing = true
		s.running.Add(1) // the caller has begun, so Close waits
		go s.placeAll(e)
	}
	return n, nil, nil
}

// placeAll writes until the queue is empty. There is one per entry at most.
func (s *Uploads) placeAll(e *entry) {
	defer s.end()
	f, err := s.use(e)
	if err == nil {
		defer e.unuse()
	}
	for {
		e.mu.Lock()
		p := &e.placed
		if len(p.queue) == 0 {
			p.writing = false
			p.wake()
			e.mu.Unlock()
			return
		}
		next := p.queue[0]
		// What is being written is not added to.
		p.queue = slices.Delete(p.queue, 0, 1)
		e.mu.Unlock()
		failed := err
		if failed == nil {
			failed = s.placeOne(e, f, next)
		}
		s.placing.put(next.buf[:0])
		e.mu.Lock()
		if failed != nil {
			p.failed(failed)
		}
		p.written++
		p.wake()
		e.mu.Unlock()
	}
}

func (s *Uploads) placeOne(e *entry, f *spool.File, next *slab) error {
	if err := f.Put(context.Background(), next.buf, next.off, busyWait); err != nil {
		return s.disk(err)
	}
	if slow := s.wrote(e, f); slow != nil {
		return <-slow
	}
	return nil
}

func (p *placed) wake() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// Flush waits until everything that was placed before is durable, and returns what went
// wrong with it, if nobody was told yet.
func (s *Uploads) Flush(ctx context.Context, id string) error {
	e, err := s.find(id)
	if err != nil {
		return err
	}
	e.mu.Lock()
	until := e.placed.taken // not "until the queue is empty", which a client that goes on sending may never let it be
	e.mu.Unlock()
	for {
		e.mu.Lock()
		if e.placed.written >= until {
			break
		}
		if e.placed.moved == nil {
			e.placed.moved = make(chan struct{})
		}
		moved := e.placed.moved
		e.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err = e.placed.take()
	e.mu.Unlock()
	done := make(chan error, 1)
	s.settle(e, done)
	if settled := await(ctx, done); err == nil {
		err = settled
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if late := e.placed.take(); err == nil {
		err = late
	}
	return err
}
