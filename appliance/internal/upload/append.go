package upload

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

const (
	// busyWait is how long a writer waits for another one at the same bytes.
	busyWait = 5 * time.Second
	// turnWait is how long an Append waits for a pair of buffers.
	turnWait = 30 * time.Second
)

// Append puts what r gives at offset, in bounded memory, until r ends. The first n
// bytes from offset are durable when it returns, also with an error: r's own
// (as it is), or ErrNotFound, ErrGone, ErrConflict, ErrBusy, ErrTooLarge, ErrQuota, ErrNoSpace,
// ErrTooMany, ErrInvalid, ErrStorage. Bytes that are there already are compared, also when the upload is complete.
// Close waits for it; it ends with r.
func (s *Uploads) Append(ctx context.Context, id string, offset int64, r io.Reader) (n int64, err error) {
	e, f, done, err := s.enter(ctx, id, offset)
	if err != nil {
		return 0, s.refuse(err)
	}
	defer done()
	a := appender{s: s, e: e, f: f, from: offset, at: offset}
	err = a.run(ctx, r)
	n, settled := s.finish(ctx, e, offset, a.at-offset)
	if err == nil || settled != nil && errors.Is(err, spool.ErrLost) {
		err = settled
	}
	return n, s.refuse(err)
}

// enter takes a turn with the buffers and the file; done gives both back.
func (s *Uploads) enter(ctx context.Context, id string, offset int64) (*entry, *spool.File, func(), error) {
	if offset < 0 {
		return nil, nil, nil, fail(ErrInvalid, "an offset of %d bytes", offset)
	}
	e, err := s.find(id)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := e.refused(); err != nil {
		return nil, nil, nil, err
	}
	if !s.begin() {
		return nil, nil, nil, errClosed()
	}
	if err := s.turn(ctx); err != nil {
		s.end()
		return nil, nil, nil, err
	}
	f, err := s.use(e)
	if err != nil {
		<-s.appending
		s.end()
		return nil, nil, nil, err
	}
	return e, f, func() {
		e.unuse()
		<-s.appending
		s.end()
	}, nil
}

// turn waits for one of the places of Appends that run.
func (s *Uploads) turn(ctx context.Context) error {
	select {
	case s.appending <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(turnWait)
	defer t.Stop()
	select {
	case s.appending <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stop:
		return errClosed()
	case <-t.C:
		s.queues.appends.Dropped(1)
		return fail(ErrTooMany, "%d transfers are running, as many as there is memory for: try again later", cap(s.appending))
	}
}

// finish waits until what was written is durable, and tells how much of [offset, offset+read) is.
func (s *Uploads) finish(ctx context.Context, e *entry, offset, read int64) (int64, error) {
	done := make(chan error, 1)
	s.settle(e, done)
	err := await(ctx, done)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil && e.rec.Status == state.UploadRefused {
		return read, nil // they were durable; that the file is not what was said is told by its status
	}
	n := min(spool.Reach(e.rec.Have, offset)-offset, read)
	if err == nil && n < read {
		err = e.lost()
	}
	return n, err
}

// lost is why bytes that were written do not count; e.mu is held.
func (e *entry) lost() error {
	if e.syncFailed != nil {
		return e.syncFailed
	}
	return fail(ErrStorage, "the disk did not keep the bytes: ask for what the box has and go on from there")
}

// appender is one Append under way.
type appender struct {
	s    *Uploads
	e    *entry
	f    *spool.File
	from int64 // where it began
	at   int64 // where it is
	feed *feeder
	pace pace
	// direct: past the page cache.
	direct bool
}

// run reads and writes until r ends or something fails. Each piece is written as it comes, so that a
// stalled client leaves nothing in memory; the hash gets whole buffers, on a goroutine of its own, while the next one is read.
func (a *appender) run(ctx context.Context, r io.Reader) (err error) {
	free := make(chan []byte, 2)
	for range 2 {
		b, err := a.s.buffers.get(ctx, a.s.stop)
		if err != nil {
			return err
		}
		defer a.s.buffers.put(b)
		free <- b
	}
	defer a.endFeed()
	for err == nil {
		buf := <-free
		from := a.at
		var n int
		n, err = a.fill(ctx, buf, r)
		a.hash(piece{buf: buf, data: buf[:n], from: from}, free)
		if err == nil && a.pace.fast(n) {
			_, err = a.express(ctx, r)
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// hash has p hashed if it is its turn, and its buffer put into free then.
func (a *appender) hash(p piece, free chan []byte) {
	if a.feed == nil && len(p.data) > 0 {
		a.feed = a.s.feeder(a.e, a.f, p.from, p.from+int64(len(p.data)), free)
	}
	if a.feed == nil {
		free <- p.buf
		return
	}
	a.feed.work <- p
}

func (a *appender) endFeed() {
	if a.feed != nil {
		a.feed.end()
		a.feed = nil
	}
}

// stopped is why nothing more is to be read.
func (a *appender) stopped(ctx context.Context) error {
	if err := a.e.refused(); err != nil {
		return err
	}
	select {
	case <-a.s.stop:
		return errClosed()
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
		return nil
	}
}

// fill reads buf full and writes what it reads. n counts what was written.
func (a *appender) fill(ctx context.Context, buf []byte, r io.Reader) (n int, err error) {
	idle := 0
	for n < len(buf) {
		got, failed := r.Read(buf[n:])
		if got > 0 {
			idle = 0
			if err := a.put(ctx, buf[n:n+got]); err != nil {
				return n, err
			}
			n += got
		}
		if failed != nil {
			return n, failed
		}
		if idle++; idle > 100 {
			return n, io.ErrNoProgress
		}
		if err := a.stopped(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (a *appender) put(ctx context.Context, p []byte) error {
	end := a.at + int64(len(p))
	if err := a.s.grow(a.e, end); err != nil {
		return err
	}
	put := a.f.Put
	if a.direct {
		put = a.f.PutDirect
	}
	// Also when the client has left: what came from it is kept.
	a.s.writing <- struct{}{}
	err := put(context.WithoutCancel(ctx), p, a.at, busyWait)
	<-a.s.writing
	if err != nil {
		return a.s.disk(err)
	}
	a.at = end
	if slow := a.s.wrote(a.e, a.f); slow != nil {
		if err := await(ctx, slow); err != nil {
			return err
		}
	}
	if a.f.Counted(a.from) < end {
		return a.s.disk(spool.ErrLost)
	}
	return nil
}
