package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

const (
	detectionsName = "detections.jsonl"
	partSuffix     = ".part"

	// blockSize is how much of a log is read at once, and all that a reader keeps.
	blockSize = 64 << 10
	// maxLine is more than a line can have (link.MaxObjects objects).
	maxLine = 4 << 20
)

// mark is how much of a log stands: whole lines, on disk, which never change.
type mark struct {
	seq   uint64
	bytes int64
	grew  bool // since the attempt began
}

// logbook is the log of one job as its readers share it: how much of it stands,
// roughly where its lines are, and a bell for those who wait for more.
type logbook struct {
	dir string

	finding sync.Mutex // held by the one who finds the mark out

	mu      sync.Mutex
	mark    mark
	known   bool // mark is; else it has to be found out from the file
	ended   bool // no more lines come
	err     error
	epoch   uint64        // counts how often the log was begun anew
	changed chan struct{} // closed at the next change
	index   index

	users int // under shelf.mu
}

// scene is a logbook at one moment.
type scene struct {
	mark    mark
	known   bool
	ended   bool
	epoch   uint64
	changed <-chan struct{}
}

func newLogbook(dir string) *logbook {
	return &logbook{dir: dir, changed: make(chan struct{})}
}

// ring wakes all who wait; mu is held.
func (b *logbook) ring() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// commit takes the worker's word that so much is on disk.
func (b *logbook) commit(seq uint64, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known && seq < b.mark.seq {
		// The worker could not go on from what was there, and began anew.
		b.epoch++
		b.index = index{}
		b.mark.grew = false
	}
	b.mark.grew = b.mark.grew || seq > b.mark.seq
	b.mark.seq, b.mark.bytes, b.known = seq, bytes, true
	b.index.note(seq+1, bytes)
	b.ring()
}

// end says that no more lines come.
func (b *logbook) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.ring()
}

// reopen says that lines may come again, and that growth counts from here.
func (b *logbook) reopen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.mark.grew = false, false
	b.ring()
}

// fail has every reader end with err.
func (b *logbook) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.ring()
}

func (b *logbook) look() (scene, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return scene{mark: b.mark, known: b.known, ended: b.ended, epoch: b.epoch, changed: b.changed}, b.err
}

func (b *logbook) locate(seq uint64) place {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.index.find(seq)
}

func (b *logbook) note(epoch, seq uint64, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if epoch == b.epoch {
		b.index.note(seq, offset)
	}
}

// find makes the mark known where nobody said it: after the box went down in the
// middle of an attempt. What is in the file is synced and then counted; the
// worker that goes on keeps every whole line.
func (b *logbook) find(ctx context.Context) error {
	if sc, err := b.look(); err != nil || sc.known {
		return err
	}
	b.finding.Lock()
	defer b.finding.Unlock()
	sc, err := b.look()
	if err != nil || sc.known {
		return err
	}
	f, err := openLog(b.dir)
	if errors.Is(err, os.ErrNotExist) {
		b.found(mark{})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", detectionsName, err)
	}
	m, err := count(ctx, f, func(p place) {
		if p.seq%64 == 1 {
			b.note(sc.epoch, p.seq, p.offset)
		}
	})
	if err == nil {
		b.found(m)
	}
	return err
}

// found makes a mark known, unless a worker said more meanwhile.
func (b *logbook) found(m mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		b.mark.seq, b.mark.bytes, b.known = m.seq, m.bytes, true
		b.ring()
	}
}

// openLog opens a job's log under the name that it has now.
func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, detectionsName)
	f, err := openRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		if f, err = openRegular(path + partSuffix); errors.Is(err, os.ErrNotExist) {
			f, err = openRegular(path) // it was finished between the two
		}
	}
	return f, err
}

// count counts the whole lines at the start of a log that are numbered as they
// must be. ctx ends a long count.
func count(ctx context.Context, f io.ReaderAt, at func(place)) (mark, error) {
	var m mark
	buf := make([]byte, blockSize)
	for {
		n, err := f.ReadAt(buf, m.bytes)
		if n < len(buf) && err != nil && !errors.Is(err, io.EOF) {
			return m, fmt.Errorf("read %s: %w", detectionsName, err)
		}
		block, found := buf[:n], false
		for {
			end := bytes.IndexByte(block, '\n')
			if end < 0 {
				break
			}
			if seqOf(block[:end]) != m.seq+1 {
				return m, nil
			}
			found = true
			m.seq++
			m.bytes += int64(end) + 1
			at(place{m.seq + 1, m.bytes})
			block = block[end+1:]
		}
		switch {
		case n < len(buf), !found && len(buf) >= maxLine:
			return m, nil
		case !found:
			buf = make([]byte, 2*len(buf))
		case ctx.Err() != nil:
			return m, ctx.Err()
		}
	}
}

// seqOf is the number of a line, which its writer puts first; 0: it has none.
func seqOf(line []byte) uint64 {
	const head = `{"seq":`
	if len(line) < len(head) || string(line[:len(head)]) != head {
		return 0
	}
	line = line[len(head):]
	end := bytes.IndexAny(line[:min(len(line), 21)], ",}")
	if end < 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(line[:end]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
