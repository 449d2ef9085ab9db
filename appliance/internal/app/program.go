package app

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Program is the binary's identity and its log; each of its methods is the
// whole of one subcommand.
type Program struct {
	Version string
	Log     *slog.Logger

	level, format string // of the log, where the command line says so

	verbosity *slog.LevelVar // of Log; nil where that was made elsewhere
	usual     slog.Level     // as it was configured
}

// NewProgram logs to standard error; level and format may be empty.
func NewProgram(version, level, format string) Program {
	p := Program{Version: version, level: level, format: format}
	return p.logging("info", "text", os.Stderr)
}

// logging is p with a log to w as the command line wants it, or else as said here.
func (p Program) logging(level, format string, w io.Writer) Program {
	p.verbosity = new(slog.LevelVar)
	p.usual = levelOf(cmp.Or(p.level, level))
	p.verbosity.Set(p.usual)
	p.Log = newLogger(w, p.verbosity, cmp.Or(p.format, format))
	return p
}

// The kinds of errors that a caller tells apart; each is wrapped by an error
// whose text says what to do.
var (
	ErrUsage  = errors.New("wrong use")
	ErrConfig = errors.New("configuration")
	ErrInput  = errors.New("input")
	ErrModel  = errors.New("model")
	ErrOutput = errors.New("output")
	ErrState  = errors.New("database")
)

// kindError gives an error a kind without putting the kind into its text.
type kindError struct {
	kind error
	err  error
}

func (e kindError) Error() string   { return e.err.Error() }
func (e kindError) Unwrap() []error { return []error{e.kind, e.err} }

func of(kind error, format string, args ...any) error {
	return kindError{kind, fmt.Errorf(format, args...)}
}

// kindOf maps a worker's fault to the kinds above.
func kindOf(k link.FaultKind) error {
	switch k {
	case link.FaultModel:
		return ErrModel
	case link.FaultOutput:
		return ErrOutput
	case link.FaultInternal:
		return errInternal
	}
	return ErrInput
}

var errInternal = errors.New("internal fault")

// levelOf is the level of that name; one that is unknown is info.
func levelOf(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// newLogger logs to w as "text" or "json".
func newLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// usualData is the data folder where nobody names one: the one here, or else the
// one that scripts/setup filled beside the folder of the program, so that
// models are found from wherever it is called.
func usualData() string {
	const here = "data"
	if _, err := os.Stat(here); err == nil {
		return here
	}
	if exe, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(exe), "..", "data")
		if _, err := os.Stat(filepath.Join(beside, "models")); err == nil {
			return beside
		}
	}
	return here
}

// dataDir is the data folder to use, made if it is missing. Workers run
// elsewhere, so it is absolute.
func dataDir(dir string) (string, error) {
	if dir == "" {
		dir = usualData()
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the data folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return "", fmt.Errorf("make the data folder: %w (choose another with --data)", err)
	}
	return abs, nil
}
