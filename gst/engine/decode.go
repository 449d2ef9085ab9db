package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// decode runs decoders over the units until there are no more.
func (r *reader) decode(ctx context.Context) error {
	first, err := r.first(ctx)
	if first == nil {
		return err
	}
	f := &feeder{r: r, backlog: []*unit{first}}
	defer f.free()
	s := describe(first)
	list := candidates(r.src, s, first)
	if len(list) == 0 {
		return r.cannot(s)
	}
	return r.decodeBy(ctx, f, s, list)
}

// first is the next unit in the queue; nil at the end, with what ended it.
func (r *reader) first(ctx context.Context) (*unit, error) {
	select {
	case u, ok := <-r.units:
		if !ok {
			return nil, r.demuxErr
		}
		return u, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *reader) cannot(s stream) *Error {
	return fail(Unsupported, "%s: %s video cannot be decoded on this box", r.name, s.human)
}

// decodeBy tries decoders, best first, until one gives a frame, and stays with it.
func (r *reader) decodeBy(ctx context.Context, f *feeder, s stream, list []string) error {
	var failure error
	for i, element := range list {
		err := r.decodeWith(ctx, f, s, element)
		if err == nil || r.frames > 0 || ctx.Err() != nil {
			return err
		}
		if failure == nil {
			failure = err
		}
		if f.lost {
			break // the beginning is gone: another decoder would not have it
		}
		if i+1 < len(list) {
			r.warnings.add(fmt.Sprintf("%s gave no picture, trying %s", element, list[i+1]))
		}
	}
	return failure
}

// restarts is how often a decoder that gives up is started again without a
// frame in between.
const restarts = 5

// decodeWith runs one decoder element, starting it again when it gives up in
// the middle.
func (r *reader) decodeWith(ctx context.Context, f *feeder, s stream, element string) error {
	for barren := 0; ; {
		before := r.frames
		again, err := r.session(ctx, f, s, element)
		if err != nil || !again {
			return err
		}
		if r.frames > before {
			barren = 0
		} else if barren++; r.given != nil {
			if err := r.given.rest(ctx, barren); err != nil {
				return err
			}
		} else if barren > restarts {
			r.warnings.add("the decoder gives up: what follows cannot be decoded")
			return nil
		}
	}
}

// session runs one decoder pipeline to the end of the units or until it fails.
// again: it failed after frames had come, and may be started anew.
func (r *reader) session(ctx context.Context, f *feeder, s stream, element string) (again bool, err error) {
	head := f.peek()
	if head == nil {
		return false, r.demuxErr
	}
	d, err := startDecoder(r.src, r.in.Live, s, head, element)
	if err != nil {
		return false, fail(Internal, "%s: %s", r.name, err)
	}
	fctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.feed(fctx, d)
	}()
	failed, err := r.collect(ctx, d, f, s)
	stop()
	d.stop()
	<-done
	d.close()
	if err != nil || failed == nil {
		return false, err
	}
	if r.frames == 0 {
		f.rewind()
		return false, failed
	}
	r.warnings.add("decoding broke off: " + failed.Error())
	f.toKeyframe = true
	if r.given != nil {
		r.given.refresh()
	}
	return true, nil
}

// collect takes frames from a decoder until its end. failed is why the decoder
// gave up, err why the whole ends.
func (r *reader) collect(ctx context.Context, d *decoder, f *feeder, s stream) (failed *Error, err error) {
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p, result, err := d.pull()
		if err != nil {
			r.warnings.add(err.Error())
			continue
		}
		if result == pullFrame {
			f.started()
			if r.given != nil {
				r.given.came(p, d)
			}
			r.show(p, d, s, f.known())
			f.touch()
			continue
		}
		if result == pullBad {
			return fail(Unsupported, "%s: %s video cannot be brought into a usable form", r.name, s.human), nil
		}
		if e := r.listen(d, s); e != nil {
			return e, nil
		}
		if result == pullEnd {
			return r.drained(s)
		}
		if r.given != nil {
			if e := r.given.missing(d); e != nil {
				return e, nil
			}
		}
		if f.idle() > 20*time.Second {
			return fail(Damaged, "%s: decoding makes no progress", r.name), nil
		}
	}
}

// drained says what the end of the decoder's output means.
func (r *reader) drained(s stream) (failed *Error, err error) {
	if r.frames == 0 {
		var e *Error
		if errors.As(r.demuxErr, &e) {
			return e, nil
		}
		return fail(Damaged, "%s: is damaged: nothing in it could be decoded as %s", r.name, s.human), nil
	}
	var e *Error
	if errors.As(r.demuxErr, &e) && r.in.Kind == plan.File {
		// What was there was shown: a file that breaks off is not nothing.
		r.warnings.add("the file breaks off: " + e.Message)
		return nil, nil
	}
	return nil, r.demuxErr
}

// listen reads the decoder's bus.
func (r *reader) listen(d *decoder, s stream) *Error {
	for {
		m, ok := d.pipe.pop()
		if !ok {
			return nil
		}
		switch m.kind {
		case msgError:
			if m.domain == domainCore || m.domain == domainStream && (m.code == streamWrongType || m.code == streamCodecNotFound) {
				return fail(Unsupported, "%s: %s cannot decode this %s video", r.name, d.element, s.human)
			}
			return fail(Damaged, "%s: %s could not decode it: %s", r.name, d.element, m.text)
		case msgWarning:
			r.warnings.add("decoding: " + m.text)
		}
	}
}
