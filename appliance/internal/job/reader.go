package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
)

// Line is one line of a results' log: a JSON object without its line break. Data
// is valid until the reader's next call.
type Line struct {
	Seq  uint64
	Data []byte
}

// Reader is a cursor on the results of one job: it gives every committed line
// from its start on, each once, in order. It keeps one block of the file and
// only while it has lines in it; a slow reader costs nobody anything. Use it
// from one goroutine, and Close it.
type Reader struct {
	book  *logbook
	shelf *shelf
	next  uint64 // the line to give
	epoch uint64

	offset int64   // of the unread rest of the block in the file; less than 0: not known
	at     uint64  // the line that begins there
	rest   []byte  // unread part of the block
	block  *[]byte // the buffer, from blocks; nil: none
}

var blocks = sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }}

// Results returns a cursor that begins with line from (the first is 1).
func (q *Jobs) Results(id string, from uint64) (*Reader, error) {
	b, err := q.book(id)
	if err != nil {
		return nil, err
	}
	return &Reader{book: b, shelf: q.shelf, next: max(from, 1), offset: -1}, nil
}

// Follow gives every line from one on, waiting for those to come, until the job
// has ended, ctx has, or the loop breaks off. An error is the last that it gives.
func (q *Jobs) Follow(ctx context.Context, id string, from uint64) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		r, err := q.Results(id, from)
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer r.Close()
		for {
			l, ok, err := r.Next(ctx)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err == nil && !ok:
				err = r.Wait(ctx)
			case ok && !yield(l, nil):
				return
			}
			if err != nil {
				yield(Line{}, err)
				return
			}
		}
	}
}

// Close lets go of what the reader holds.
func (r *Reader) Close() {
	r.drop()
	r.shelf.leave(r.book)
}

func (r *Reader) drop() {
	if r.block != nil {
		if len(*r.block) == blockSize { // a larger one was for one long line
			blocks.Put(r.block)
		}
		r.block, r.rest = nil, nil
	}
}

// Next returns the next line if it is committed, without waiting for it: ok is
// false where it is not. io.EOF: the job has ended, and that was all. ErrDamaged:
// the file is not what was committed. ErrNotFound: the job was removed. ctx ends
// a long search for the first line.
func (r *Reader) Next(ctx context.Context) (l Line, ok bool, err error) {
	for {
		for len(r.rest) > 0 {
			end := bytes.IndexByte(r.rest, '\n')
			if end < 0 {
				break
			}
			data, seq := r.rest[:end], r.at
			if seqOf(data) != seq {
				return Line{}, false, damaged("line %d of %s is not what was written", seq, detectionsName)
			}
			r.rest = r.rest[end+1:]
			r.offset += int64(end) + 1
			r.at++
			if seq == r.next {
				r.next++
				return Line{Seq: seq, Data: data}, true, nil
			}
			if seq%64 == 0 {
				r.book.note(r.epoch, r.at, r.offset)
			}
		}
		if ok, err := r.fill(ctx); !ok || err != nil {
			return Line{}, false, err
		}
	}
}

// fill reads the next block; ok is false where no line is there that is wanted.
func (r *Reader) fill(ctx context.Context) (ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := r.book.find(ctx); err != nil {
		return false, err
	}
	sc, err := r.book.look()
	if err != nil {
		return false, err
	}
	if sc.epoch != r.epoch {
		r.epoch, r.offset = sc.epoch, -1
	}
	if r.next > sc.mark.seq {
		r.drop() // nobody knows for how long
		r.offset = -1
		if sc.ended {
			return false, io.EOF
		}
		return false, nil
	}
	if r.offset < 0 {
		p := r.book.locate(r.next)
		r.offset, r.at = p.offset, p.seq
	}
	return true, r.read(sc.mark)
}

// read reads a block from offset on that has at least one whole line.
func (r *Reader) read(m mark) error {
	if r.block == nil {
		r.block = blocks.Get().(*[]byte)
	}
	f, err := openLog(r.book.dir)
	if err != nil {
		return damaged("%s cannot be opened: %v", detectionsName, cause(err))
	}
	defer f.Close()
	for {
		want := min(int64(len(*r.block)), m.bytes-r.offset)
		if want <= 0 {
			return damaged("line %d is not among the first %d bytes of %s", r.next, m.bytes, detectionsName)
		}
		b := (*r.block)[:want]
		if n, err := f.ReadAt(b, r.offset); err != nil && n < len(b) {
			return damaged("%s ends at byte %d, and had %d: %v", detectionsName, r.offset+int64(n), m.bytes, cause(err))
		}
		if end := bytes.LastIndexByte(b, '\n'); end >= 0 {
			r.rest = b[:end+1]
			return nil
		}
		if len(b) < len(*r.block) || len(b) >= maxLine {
			return damaged("line %d of %s does not end", r.at, detectionsName)
		}
		longer := make([]byte, 2*len(b))
		r.drop()
		r.block = &longer
	}
}

// Wait returns when there may be something new: more lines, the job's end, or
// ctx's, which is its error.
func (r *Reader) Wait(ctx context.Context) error {
	for {
		sc, err := r.book.look()
		if err != nil || sc.mark.seq >= r.next || sc.ended {
			return nil // Next says what it is
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sc.changed:
		}
	}
}

// Ready tells what a reader would find: the number of the next line, how many
// lines are committed now, and whether those are all that there will be.
func (r *Reader) Ready(ctx context.Context) (next, committed uint64, ended bool, err error) {
	if err := r.book.find(ctx); err != nil {
		return 0, 0, false, err
	}
	sc, err := r.book.look()
	return r.next, sc.mark.seq, sc.ended, err
}

func damaged(format string, args ...any) error {
	return explain(ErrDamaged, "The results are damaged: "+fmt.Sprintf(format, args...)+". Analyse the upload again.")
}

// cause takes the path out of an error of the os package.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
