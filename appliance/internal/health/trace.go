package health

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// The window of the flight recorder. Its memory is paid all the time, its
// length only matters backwards from a stall.
const (
	traceAge   = 5 * time.Second
	traceBytes = 4 << 20
)

// tracer keeps the last seconds of the execution trace in memory and writes
// them out when asked, on its own goroutine.
type tracer struct {
	dir     string
	keep    int
	every   time.Duration
	log     *slog.Logger
	asked   chan request // leaky: one stall at a time is traced
	written atomic.Uint64
}

type request struct {
	loop string
	held time.Duration
}

func newTracer(cfg Config, log *slog.Logger) *tracer {
	return &tracer{dir: cfg.TraceDir, keep: cfg.Keep, every: cfg.TraceEvery, log: log, asked: make(chan request, 1)}
}

// ask never blocks: while a trace is being written, or waits to be, another
// stall goes without.
func (t *tracer) ask(loop string, held time.Duration) {
	select {
	case t.asked <- request{loop, held}:
	default:
	}
}

func (t *tracer) run(ctx context.Context) {
	recorder := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: traceAge, MaxBytes: traceBytes})
	if err := recorder.Start(); err != nil {
		// A trace of the whole process is being taken, or another meter runs.
		t.log.Warn("stalls will not be traced", "err", err)
		<-ctx.Done()
		return
	}
	defer recorder.Stop()
	if err := t.clear(); err != nil {
		t.log.Warn("what a crash left of a trace was not removed", "err", err)
	}
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-t.asked:
			if !last.IsZero() && time.Since(last) < t.every {
				continue
			}
			last = time.Now()
			path, err := t.write(recorder, r)
			if err != nil {
				t.log.Warn("trace of a stall not written", "loop", r.loop, "err", err)
				continue
			}
			t.written.Add(1)
			t.log.Warn("trace of a stall written; look at it with go tool trace", "loop", r.loop, "held_up_for", r.held, "file", path)
		}
	}
}

// write leaves two files, NAME.trace and NAME.txt with the goroutines. Both
// are complete, or not there.
func (t *tracer) write(recorder *trace.FlightRecorder, r request) (path string, err error) {
	base := filepath.Join(t.dir, "stall-"+time.Now().UTC().Format("20060102T150405.000")+"-"+fileName(r.loop))
	// The goroutines first, while the loop still hangs; grouped by stack,
	// since the longer form stops all of them while it is made.
	err = writeWhole(base+".txt", func(w io.Writer) error {
		fmt.Fprintf(w, "control loop %s, held up for %s\n\n", r.loop, r.held)
		return pprof.Lookup("goroutine").WriteTo(w, 1)
	})
	if err != nil {
		return "", err
	}
	err = writeWhole(base+".trace", func(w io.Writer) error {
		_, err := recorder.WriteTo(w)
		return err
	})
	if err != nil {
		return "", err
	}
	return base + ".trace", t.prune()
}

// clear removes the beginnings of traces in whose middle the process was killed.
func (t *tracer) clear() error {
	left, err := filepath.Glob(filepath.Join(t.dir, "stall-*"+partSuffix))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// prune keeps the newest traces; the time stands first in their names.
func (t *tracer) prune() error {
	for _, pattern := range []string{"stall-*.trace", "stall-*.txt"} {
		files, err := filepath.Glob(filepath.Join(t.dir, pattern))
		if err != nil {
			return fmt.Errorf("list traces: %w", err)
		}
		slices.Sort(files)
		for len(files) > t.keep {
			if err := os.Remove(files[0]); err != nil {
				return fmt.Errorf("remove old trace: %w", err)
			}
			files = files[1:]
		}
	}
	return nil
}

// partSuffix ends the name of a file that is not whole.
const partSuffix = ".part"

// writeWhole writes a file under another name and renames it when it is done.
func writeWhole(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path+partSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	err = fill(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// fileName makes a loop's name fit for a file's.
func fileName(loop string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, loop[:min(len(loop), 64)])
}
