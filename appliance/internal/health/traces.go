package health

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Names of what the tracer leaves: SORT-TIME-LOOP, and a suffix.
const (
	ofStall     = "stall"
	ofHand      = "asked"
	traceSuffix = ".trace"
	dumpSuffix  = ".txt"
	partSuffix  = ".part" // a file that is not whole
	stampLayout = "20060102T150405.000"
)

var traceFile = regexp.MustCompile(`^(` + ofStall + `|` + ofHand + `)-(\d{8}T\d{6}\.\d{3})-([A-Za-z0-9_-]{1,64})(\.trace|\.txt)$`)

// Trace is one file of the tracer's.
type Trace struct {
	Name string // of the file
	// Execution: an execution trace, for go tool trace; else the goroutines, as text.
	Execution bool
	// Loop is the loop that was held up, as its file's name has it, "" where the
	// trace was asked for by hand.
	Loop  string
	Taken time.Time
	Bytes int64
}

// traceName is the name, without a suffix, of what is written at a time for a loop;
// "": by hand.
func traceName(at time.Time, loop string) string {
	stamp := at.UTC().Format(stampLayout)
	if loop == "" {
		return ofHand + "-" + stamp + "-by_hand"
	}
	return ofStall + "-" + stamp + "-" + fileName(loop)
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

// Traces lists what the tracer has left, the newest first.
func (m *Meter) Traces() ([]Trace, error) {
	if m.tracer == nil {
		return nil, nil
	}
	entries, err := os.ReadDir(m.tracer.dir)
	if err != nil {
		return nil, fmt.Errorf("list traces: %w", err)
	}
	var all []Trace
	for _, e := range entries {
		t, ok := parseTrace(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // a newer one has just taken its place
		}
		if err != nil {
			return nil, fmt.Errorf("list traces: %w", err)
		}
		t.Bytes = info.Size()
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Trace) int {
		return cmp.Or(b.Taken.Compare(a.Taken), cmp.Compare(b.Name, a.Name))
	})
	return all, nil
}

func parseTrace(name string) (t Trace, ok bool) {
	m := traceFile.FindStringSubmatch(name)
	if m == nil {
		return t, false
	}
	at, err := time.Parse(stampLayout, m[2])
	if err != nil {
		return t, false
	}
	t = Trace{Name: name, Execution: m[4] == traceSuffix, Taken: at}
	if m[1] == ofStall {
		t.Loop = m[3]
	}
	return t, true
}

// OpenTrace opens one of the files that Traces lists. Any other name is
// fs.ErrNotExist: no path leads out of the folder, nor a link in it. The caller
// closes the file.
func (m *Meter) OpenTrace(name string) (*os.File, Trace, error) {
	t, ok := parseTrace(name)
	if m.tracer == nil || !ok {
		return nil, Trace{}, fmt.Errorf("open trace: %w", fs.ErrNotExist)
	}
	// The name has no slash, so that it can lead elsewhere only by being a link. A pipe
	// of that name must not be waited for.
	f, err := os.OpenFile(filepath.Join(m.tracer.dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, Trace{}, fmt.Errorf("open trace: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, Trace{}, fmt.Errorf("open trace: %w", err)
	}
	t.Bytes = info.Size()
	return f, t, nil
}

// clear removes the beginnings of traces in whose middle the process was killed.
func (t *tracer) clear() error {
	left, err := filepath.Glob(filepath.Join(t.dir, "*"+partSuffix))
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

// prune keeps the newest traces; the time stands first in their names. A storm of
// stalls does not take what was asked for by hand, nor the other way round.
func (t *tracer) prune() error {
	for _, sort := range []string{ofStall, ofHand} {
		for _, suffix := range []string{traceSuffix, dumpSuffix} {
			files, err := filepath.Glob(filepath.Join(t.dir, sort+"-*"+suffix))
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
	}
	return nil
}
