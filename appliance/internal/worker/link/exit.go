package link

import (
	"errors"
	"strings"
	"syscall"
	"time"
)

// Why a worker was ended, or ended, other than by its owner's wish or a Fault of
// its own. Exit.Err wraps one of these, ErrProtocol, or a Fault.
var (
	// ErrSilent: it did not say Hello in time.
	ErrSilent = errors.New("the media worker did not come up in time")
	// ErrStalled: its heartbeat stopped; it was killed.
	ErrStalled = errors.New("the media worker hung and was killed")
	// ErrDeaf: it did not read its commands; it was killed.
	ErrDeaf = errors.New("the media worker did not read its commands and was killed")
	// ErrDied: the process ended by itself, with an error status or a signal.
	ErrDied = errors.New("the media worker died")
)

// Exit is how a worker's process ended.
type Exit struct {
	// Err is nil after an orderly end: asked for by the owner, or with status 0
	// and no Fault.
	Err error
	// Code is the exit status, -1 when Signal ended the process.
	Code   int
	Signal syscall.Signal
	// Fault is what the worker said of its reason, nil if it said nothing.
	Fault *Fault
	// Stderr is the last lines that it wrote, oldest first, shortened; of a
	// crash's dump the beginning. StderrLines counts all of them.
	Stderr      []string
	StderrLines uint64
	// Runtime is from the start of the process to its end.
	Runtime time.Duration
}

// CrashLine tells whether a line begins the dump that Go's runtime writes when
// the process crashes, be it in Go or in a C library.
func CrashLine(s string) bool {
	for _, begin := range [...]string{"SIG", "fatal error: ", "panic: "} {
		if strings.HasPrefix(s, begin) && strings.Contains(s, ": ") {
			return true
		}
	}
	return false
}

// LastWord is the line of an Exit's Stderr that tells the most: the beginning of
// a crash's dump, else the last one; empty if there is none.
func LastWord(stderr []string) string {
	for _, s := range stderr {
		if CrashLine(s) {
			return s
		}
	}
	if n := len(stderr); n > 0 {
		return stderr[n-1]
	}
	return ""
}
