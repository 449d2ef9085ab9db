package worker

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	tailLines   = 20
	tailLineLen = 400 // bytes kept of a line
	// dumpLines is how many lines of a crash's dump are kept. It begins with the
	// reason and the faulting stack, and ends, after hundreds of lines, with
	// registers: these must not push out the former, nor what came before.
	dumpLines = 12
	// readLineLen is how much of a line is looked at: secrets are taken out
	// before it is cut, lest a cut through one hides it from the redaction.
	readLineLen = 4 << 10
	// loggedLines is the most lines forwarded to the log in a second: a decoder
	// on a damaged stream can complain about every block of every frame.
	loggedLines = 50
)

// tail reads what a worker writes on stdout and stderr, keeps the last lines for
// the report of its end, and forwards them to the log at debug level.
type tail struct {
	file   *os.File
	redact func(string) string
	log    *slog.Logger

	mu    sync.Mutex
	lines []string // ring
	next  int
	dump  int // lines of a crash's dump so far
	count uint64
}

func newTail(f *os.File, redact func(string) string, log *slog.Logger) *tail {
	return &tail{file: f, redact: redact, log: log}
}

// read goes on until the pipe ends or is closed.
func (t *tail) read() {
	r := bufio.NewReaderSize(t.file, 4<<10)
	var line []byte
	window, logged, held := time.Now(), 0, 0
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part[:min(len(part), readLineLen-len(line))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		text := strings.TrimRight(string(line), "\r\n")
		line = line[:0]
		if text != "" {
			if t.redact != nil {
				text = t.redact(text)
			}
			text = strings.ToValidUTF8(text[:min(len(text), tailLineLen)], "?")
			t.add(text)
			if now := time.Now(); now.Sub(window) >= time.Second {
				if held > 0 {
					t.log.Debug("media worker: more lines on stderr", "lines", held)
				}
				window, logged, held = now, 0, 0
			}
			if logged < loggedLines {
				logged++
				t.log.Debug("media worker: " + text)
			} else {
				held++
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				t.log.Warn("read the media worker's stderr", "err", err)
			}
			return
		}
	}
}

func (t *tail) add(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if t.dump > 0 || link.CrashLine(text) {
		if t.dump++; t.dump > dumpLines {
			return
		}
	}
	if len(t.lines) < tailLines {
		t.lines = append(t.lines, text)
		return
	}
	t.lines[t.next] = text
	t.next = (t.next + 1) % tailLines
}

// last returns the kept lines, oldest first, and how many there were in all.
func (t *tail) last() ([]string, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]string, 0, len(t.lines))
	out = append(out, t.lines[t.next:]...)
	return append(out, t.lines[:t.next]...), t.count
}
