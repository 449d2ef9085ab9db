package upload

import (
	"context"
	"io"
	"time"

	"github.com/watchpost/watchpost/state/spool"
)

// A client that sends fast gets large buffers, three goroutines (one reads, one writes, one hashes) and writes
// past the page cache: copying into it and having it written later costs more of the processor than all
// else together. A slow one is better off with the cache, from which an analysis that follows the upload reads.
const (
	expressSize = 1 << 20
	// expressBuffers of one Append: one being read, one written, one hashed.
	expressBuffers = 3
	// expressRate in bytes per second, over expressAfter bytes, is what counts as fast.
	expressRate  = 40 << 20
	expressAfter = 1 << 20
	// expressLeast must be missing for it to be worth it.
	expressLeast = 8 << 20
	// expressMost Appends may run beside each other for one of them to be served so: among more it would be
	// far ahead of the others.
	expressMost = 2
	// expressSlow is how long a buffer may take to be filled.
	expressSlow = 100 * time.Millisecond
)

// pace measures how fast a client sends.
type pace struct {
	since time.Time
	bytes int64
}

// fast is asked after n more bytes.
func (p *pace) fast(n int) bool {
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	p.bytes += int64(n)
	if p.bytes < expressAfter {
		return false
	}
	fast := float64(p.bytes) > expressRate*now.Sub(p.since).Seconds()
	*p = pace{since: now}
	return fast
}

// express is run for a fast client, until r ends, something fails or it is slow; ok is false if there are
// no large buffers left, and nothing was done.
func (a *appender) express(ctx context.Context, r io.Reader) (ok bool, err error) {
	_, size := a.e.status()
	if size-a.at < expressLeast || len(a.s.appending) > expressMost {
		return false, nil
	}
	bufs := a.s.large.take(expressBuffers)
	if bufs == nil {
		a.s.queues.express.Dropped(1)
		return false, nil
	}
	a.endFeed() // its buffers are others
	x := &lane{a: a, free: make(chan []byte, expressBuffers), writes: make(chan piece, expressBuffers), failed: make(chan error, 1), ended: make(chan struct{})}
	for _, b := range bufs {
		x.free <- b
	}
	go x.write(ctx)
	err = x.read(ctx, r)
	close(x.writes)
	<-x.ended
	a.endFeed()
	for _, b := range bufs {
		a.s.large.put(b)
	}
	select {
	case failed := <-x.failed:
		err = failed
	default:
	}
	return true, err
}

// lane is what the three goroutines of an express Append share.
type lane struct {
	a      *appender
	free   chan []byte
	writes chan piece
	failed chan error // the first error of a write
	ended  chan struct{}
}

func (x *lane) read(ctx context.Context, r io.Reader) error {
	at := x.a.at
	for {
		var buf []byte
		select {
		case buf = <-x.free:
		case failed := <-x.failed:
			x.failed <- failed
			return failed
		}
		// Up to where the next one is aligned.
		want := len(buf) - int(at%spool.DirectAlign)
		n, slow, err := x.fill(ctx, buf[:want], r)
		if n > 0 {
			x.writes <- piece{buf: buf, data: buf[:n], from: at}
			at += int64(n)
		}
		if err != nil || slow || len(x.a.s.appending) > expressMost {
			return err
		}
	}
}

func (x *lane) fill(ctx context.Context, buf []byte, r io.Reader) (n int, slow bool, err error) {
	began := time.Now()
	for n < len(buf) {
		got, err := r.Read(buf[n:])
		n += got
		if err != nil {
			return n, false, err
		}
		if err := x.a.stopped(ctx); err != nil {
			return n, false, err
		}
		if time.Since(began) > expressSlow {
			return n, true, nil
		}
	}
	return n, false, nil
}

// write writes, and hands on to be hashed. After an error it only takes what comes.
func (x *lane) write(ctx context.Context) {
	defer close(x.ended)
	a := x.a
	a.direct = true
	defer func() { a.direct = false }()
	good := true
	for p := range x.writes {
		if good {
			if err := a.put(ctx, p.data); err != nil {
				good = false
				x.failed <- err
			}
		}
		if !good {
			x.free <- p.buf
			continue
		}
		a.hash(p, x.free)
	}
}
