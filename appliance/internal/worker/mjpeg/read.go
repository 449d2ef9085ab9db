package mjpeg

import (
	"context"
	"errors"
	"io"
	"time"
)

// patience is how long a camera may take to answer, and how long it may send no
// picture.
const patience = 10 * time.Second

// Read opens address (http or https, with the credentials in it) and calls give with
// every picture and the time when its last byte came, in order and in Read's own
// goroutine, until ctx ends (ctx.Err()), give fails (its error), or the source does:
// an *Error. A camera's stream has no end: one that ends is a camera that was lost.
// The picture is the receiver's to keep. While give works the camera waits, as far as
// it does: its silence does not count then.
func Read(ctx context.Context, address string, give func(jpeg []byte, arrived time.Time) error) error {
	return read(ctx, address, patience, give)
}

// errSilent is why a camera's connection is broken off.
var errSilent = errors.New("silent")

func read(ctx context.Context, address string, wait time.Duration, give func([]byte, time.Time) error) error {
	s, err := parse(address)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A picture that comes byte by byte is as good as none: what counts is a whole one.
	silence := time.AfterFunc(wait, func() { cancel(errSilent) })
	defer silence.Stop()
	t := transport()
	defer t.CloseIdleConnections()
	resp, boundary, err := s.open(inner, t)
	if err != nil {
		return s.why(ctx, inner, "the camera does not answer", wait, err)
	}
	defer resp.Body.Close()
	p := newParts(resp.Body, boundary)
	for n := 0; ; n++ {
		picture, err := p.next()
		if err != nil {
			return s.why(ctx, inner, "the camera has sent no picture", wait, s.broke(err, n))
		}
		arrived := time.Now()
		if !silence.Stop() {
			// It came as patience ended.
			return s.why(ctx, inner, "the camera has sent no picture", wait, s.broke(io.EOF, n))
		}
		if err := give(picture, arrived); err != nil {
			return err
		}
		silence.Reset(wait)
	}
}

// why is what ended a Read: the caller's cancel, silence, or err.
func (s *source) why(ctx, inner context.Context, silent string, wait time.Duration, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(context.Cause(inner), errSilent):
		return fail(Unreachable, "%s: %s for %v", s.name, silent, wait)
	}
	return err
}

// broke says what it means that parts end after n pictures.
func (s *source) broke(err error, n int) *Error {
	switch {
	case errors.Is(err, errNoParts), errors.Is(err, errHeaders) && n == 0:
		return fail(Unsupported, "%s: says that it is motion JPEG, but sends something else: %v", s.name, err)
	case errors.Is(err, errTooLarge), errors.Is(err, errHeaders), errors.Is(err, errDelimiter):
		return fail(Damaged, "%s: is damaged: %v", s.name, err)
	}
	return fail(Unreachable, "%s: the camera closed the connection", s.name)
}
