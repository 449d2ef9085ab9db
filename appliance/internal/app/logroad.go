package app

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Bounds of the log on its way out.
const (
	logLines  = 1024
	logFlush  = time.Second // what Close waits for a reader that has stopped
	logsQueue = "log lines"
)

// logRoad is where the box logs to: lines wait for the reader of its standard error on a
// goroutine of their own. A serial console, a terminal that is held, or a journal that
// hangs would else stop every loop that has something to say. Lines that find the road
// full are dropped; how many is said when it goes on.
type logRoad struct {
	w     io.Writer
	lines chan []byte
	ended chan struct{}

	mu     sync.Mutex
	missed int // since it was last said
	note   func(missed int) []byte
	closed bool
	meter  *queue.Meter
}

// newLogRoad leads to w, until Close. What it has to say itself is in the log's format.
func newLogRoad(w io.Writer, format string, q *queue.Registry) *logRoad {
	r := &logRoad{w: w, note: noteIn(format), lines: make(chan []byte, logLines), ended: make(chan struct{})}
	r.meter = q.Register(logsQueue, queue.DropNewest, logLines, func() int { return len(r.lines) })
	go r.run()
	return r
}

// Write takes a line, which slog gives as a whole. It does not wait, but for w itself
// after Close.
func (r *logRoad) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.w.Write(line)
	}
	if r.missed > 0 {
		if !r.put(r.note(r.missed)) {
			return r.miss(len(line))
		}
		r.missed = 0
	}
	if !r.put(append([]byte(nil), line...)) {
		return r.miss(len(line))
	}
	return len(line), nil
}

func noteIn(format string) func(missed int) []byte {
	return func(missed int) []byte {
		var line bytes.Buffer
		newLogger(&line, slog.LevelWarn, format).Warn("lines of the log are missing: whoever reads it was too slow", "lines", missed)
		return line.Bytes()
	}
}

func (r *logRoad) put(line []byte) bool {
	select {
	case r.lines <- line:
		return true
	default:
		return false
	}
}

func (r *logRoad) miss(n int) (int, error) {
	r.missed++
	r.meter.Dropped(1)
	return n, nil
}

func (r *logRoad) run() {
	defer close(r.ended)
	for line := range r.lines {
		_, _ = r.w.Write(line) // there is nobody left to tell
	}
}

// Close lets what waits go out, for a second at most; what is logged later is written
// at once.
func (r *logRoad) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	close(r.lines)
	r.closed = true
	r.meter.Close()
	r.mu.Unlock()
	timer := time.NewTimer(logFlush)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-timer.C:
	}
}
