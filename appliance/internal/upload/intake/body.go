package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How a body ends that does not come to its end. What it brought before counts.
var (
	// ErrInterrupted (409): a newer request goes on with the upload.
	ErrInterrupted = errors.New("a newer request goes on with this upload")
	// ErrShutdown (503): the box is going down.
	ErrShutdown = errors.New("the box is going down: what came is kept, go on when it is back")
	// ErrStalled (408): nothing came for too long.
	ErrStalled = errors.New("nothing came for too long: the connection is taken for dead")
	// ErrBroken (400): the connection ended, or what it brought was no body.
	ErrBroken = errors.New("the connection ended before the body did")
)

// Body is a request's body that may take as long as it likes while it makes
// progress: each read has a deadline of its own, in place of the server's for the
// whole request. It ends when the box goes down, so that what came is stored in
// time. Read and Whole belong to one goroutine, Yield to any.
type Body struct {
	src     io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	renewed time.Time
	cut     atomic.Pointer[error] // why it was interrupted
	whole   bool
	failed  bool        // reading is over, but not whole
	asked   bool        // the client waits for 100 Continue, which the first read sends
	ended   func() bool // stops waiting for the box to go down

	mu       sync.Mutex
	released bool // the connection is the next request's
}

// NewBody takes over r's body and the deadlines of its connection. idle is how long one
// read may take. Call Release before the handler returns.
func NewBody(w http.ResponseWriter, r *http.Request, idle time.Duration) *Body {
	b := &Body{src: r.Body, control: http.NewResponseController(w), idle: idle, asked: r.Header.Get("Expect") != "", whole: r.ContentLength == 0}
	b.renew(time.Now())
	// The answer comes when the bytes are stored, however long that takes, and is
	// so short that sending it does not wait for the reader.
	_ = b.control.SetWriteDeadline(time.Time{}) // writers without deadlines need none
	// While a body is being read its context ends with the server's, or after a
	// read that failed, which says so itself.
	b.ended = context.AfterFunc(r.Context(), func() { b.interrupt(ErrShutdown) })
	return b
}

// linger is how long a client that was refused may go on sending.
const linger = 2 * time.Second

// Release gives the connection back to the server. Where the answer was given before
// the body's end, it is sent, and what the client still sends is read for a moment: a connection that
// is closed with bytes unread is reset, and the client may never see the answer (RFC 9112, 9.6).
func (b *Body) Release() {
	defer func() {
		b.ended()
		b.mu.Lock()
		b.released = true
		b.mu.Unlock()
	}()
	if b.whole || b.failed || b.asked || b.cut.Load() != nil {
		return
	}
	if b.control.Flush() != nil {
		return
	}
	_ = b.control.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, b.src)
}

// Read implements io.Reader. An error other than io.EOF is one of this package.
func (b *Body) Read(p []byte) (int, error) {
	if why := b.cut.Load(); why != nil {
		return 0, *why
	}
	b.asked = false
	n, err := b.src.Read(p)
	b.failed = err != nil && !errors.Is(err, io.EOF)
	switch {
	case err == nil:
		// Not at each read: setting a deadline costs more than a small read.
		if now := time.Now(); now.Sub(b.renewed) > b.idle/8 {
			b.renew(now)
		}
		return n, nil
	case errors.Is(err, io.EOF):
		b.whole = true
		// From here on the server reads to notice that the client goes. That
		// must not time out while the bytes are being stored.
		_ = b.control.SetReadDeadline(time.Time{})
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		// The server ends the request's context at each error, so the deadline
		// itself may look like the box's going down.
		if why := b.cut.Load(); why != nil && time.Since(b.renewed) < b.idle {
			return n, *why
		}
		return n, fmt.Errorf("%w (%v)", ErrStalled, b.idle)
	}
	return n, fmt.Errorf("%w: %v", ErrBroken, err)
}

// renew gives the next read its time. If interrupt runs meanwhile, the next Read
// sees that before it waits.
func (b *Body) renew(now time.Time) {
	b.renewed = now
	_ = b.control.SetReadDeadline(now.Add(b.idle))
}

// Whole tells whether the body was read to its end.
func (b *Body) Whole() bool { return b.whole }

// Yield ends the body because a newer request wants to write.
func (b *Body) Yield() { b.interrupt(ErrInterrupted) }

// interrupt has a Read that waits return with why, and each later one.
func (b *Body) interrupt(why error) {
	b.cut.CompareAndSwap(nil, &why)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released {
		return // who asked for the turn was slower than its being given back
	}
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// Close implements io.Closer.
func (b *Body) Close() error { return b.src.Close() }
