package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The groups in which lines are synced.
const (
	groupLines = 64
	groupTime  = 400 * time.Millisecond // from a group's first line to its sync
	// groupBytes bounds what waits for a slow disk: past it Add waits too.
	groupBytes = 1 << 20
)

// Log is the growing detections.jsonl. Lines get their numbers in the order of
// Add, and are synced in groups by a goroutine of the log. Add is for one goroutine;
// the other methods are for any.
type Log struct {
	file   *os.File
	synced func(Position) // after each sync, in order

	disk  sync.Mutex // held while the file is written or synced
	spare []byte     // the other buffer; disk's
	sent  Position   // what synced was called with; disk's

	mu      sync.Mutex
	buf     []byte   // lines that the file does not have yet
	at      Position // behind the last line that was added
	kept    Position // lines up to here were in the file already
	differs uint64   // of those, how many were added otherwise
	err     error    // the first; nothing is written from then on
	failed  func(error)

	old *bufio.Reader // the lines between at and kept, while at is before kept

	wake chan struct{} // capacity 1: a group was begun
	full chan struct{} // capacity 1: a group need not wait longer
	quit chan struct{}
	done chan struct{}

	closing  sync.Once
	closeErr error
}

// openLog opens the log at path to add lines behind at. The lines up to kept are
// there: what is added in their place is compared with them, and not written.
// synced is told of every sync; failed, once, of the first write that fails.
func openLog(path string, at, kept Position, synced func(Position), failed func(error)) (*Log, error) {
	flags := os.O_RDWR | os.O_CREATE
	if kept.Bytes == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write results: %w", err)
	}
	l := &Log{
		file: f, synced: synced, failed: failed, at: at, kept: kept, sent: kept,
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if kept.Bytes > 0 {
		// The run before may have been killed between a write and its sync, and what
		// synced is told of next must stand.
		if err := errors.Join(f.Truncate(kept.Bytes), f.Sync()); err != nil {
			f.Close()
			return nil, fmt.Errorf("write results: %w", err)
		}
	}
	if _, err := f.Seek(kept.Bytes, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("write results: %w", err)
	}
	if at.Seq < kept.Seq {
		l.old = bufio.NewReaderSize(io.NewSectionReader(f, at.Bytes, kept.Bytes-at.Bytes), 64<<10)
	}
	synced(kept)
	go l.run()
	return l, nil
}

// Add appends a line, whose Seq it sets, and returns the place behind it. It does
// not wait for the disk, unless that is far behind. The error is the log's first.
func (l *Log) Add(line Line) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.at, l.err
	}
	line.Seq = l.at.Seq + 1
	text, err := json.Marshal(line)
	if err != nil {
		return l.at, fmt.Errorf("write %s: %w", DetectionsName, err)
	}
	text = append(text, '\n')
	if line.Seq <= l.kept.Seq {
		return l.compare(text)
	}
	if len(l.buf) == 0 {
		signal(l.wake)
	}
	l.buf = append(l.buf, text...)
	l.at.Seq++
	l.at.Bytes += int64(len(text))
	if l.at.Seq%groupLines == 0 {
		signal(l.full)
	}
	if len(l.buf) > groupBytes {
		l.mu.Unlock()
		l.flush(false)
		l.mu.Lock()
	}
	return l.at, l.err
}

// compare takes a line that the file has already; it needs mu. The one in the
// file stands.
func (l *Log) compare(text []byte) (Position, error) {
	there, err := l.old.ReadBytes('\n')
	if err != nil {
		l.err = fmt.Errorf("read %s again: %w", DetectionsName, err)
		return l.at, l.err
	}
	if !bytes.Equal(there, text) {
		l.differs++
	}
	l.at.Seq++
	l.at.Bytes += int64(len(there))
	if l.at.Seq == l.kept.Seq {
		l.old = nil
	}
	return l.at, nil
}

// Differs is how many of the lines that were kept were added otherwise: an
// analysis that went on was not the same as the one before.
func (l *Log) Differs() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.differs
}

// At is the place behind the last line that was added.
func (l *Log) At() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// Sync returns when everything that was added is on disk.
func (l *Log) Sync() error { return l.flush(true) }

// Close syncs what is left and ends the log's goroutine. What was committed stays.
func (l *Log) Close() error {
	l.closing.Do(func() {
		close(l.quit)
		<-l.done
		l.closeErr = errors.Join(l.flush(true), l.file.Close())
	})
	return l.closeErr
}

// run syncs each group of lines when it is due.
func (l *Log) run() {
	defer close(l.done)
	due := time.NewTimer(groupTime)
	defer due.Stop()
	for {
		select {
		case <-l.wake:
		case <-l.quit:
			return
		}
		due.Reset(groupTime)
		select {
		case <-due.C:
		case <-l.full:
		case <-l.quit:
			return
		}
		_ = l.flush(true) // kept in err, told by failed
	}
}

// flush writes what was added, and syncs it if asked to.
func (l *Log) flush(sync bool) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	text, at, err := l.buf, l.at, l.err
	if err != nil {
		l.mu.Unlock()
		return err
	}
	l.buf = l.spare[:0]
	l.mu.Unlock()
	_, err = l.file.Write(text)
	l.spare = text
	if err == nil && sync && at.Seq > l.sent.Seq {
		if err = unix.Fdatasync(int(l.file.Fd())); err == nil {
			l.sent = at
			l.synced(at)
		}
	}
	if err == nil {
		return nil
	}
	err = Explain(fmt.Errorf("write %s: %w", filepath.Base(l.file.Name()), err))
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = err
	}
	l.mu.Unlock()
	if first && l.failed != nil {
		l.failed(err)
	}
	return err
}

// Explain adds to an error of a full disk what to do about it.
func Explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: make room, or choose another folder", err)
	}
	return err
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
