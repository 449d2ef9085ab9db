package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// end is how an attempt ended, as far as the job's next step depends on it.
type end int

const (
	endFailed  end = iota // for good
	endPassing            // a fault that may pass
	endDied               // the worker died without a word
	endDone
	endStopped // by the box, which goes down
	endStarved // by the box: its bytes do not come
	endWhole   // it could not be read as a stream, and shall be read when it is whole
)

// stop is why the box ended a worker.
type stop int

const (
	stopNot     stop = iota
	stopStarved      // the bytes do not come
	stopClosing      // the box goes down
	stopCancel       // the job was canceled; the record says why
)

type verdict struct {
	end     end
	kind    string // FaultKind of the record
	fault   string // one line
	outcome json.RawMessage
}

// attempt is all that is known of an attempt when its worker is gone.
type attempt struct {
	exit    link.Exit
	asked   stop
	said    bool // Hello
	done    bool // Done
	outcome json.RawMessage
	outErr  error // why there is no outcome though it was done
	stream  bool
	lines   uint64 // committed
	name    string // of the source, as people know it
	path    string // of the source, which nobody needs to know
}

// judge tells what an attempt's end means.
func judge(a attempt) verdict {
	fault := a.exit.Fault
	switch {
	case a.done && a.exit.Err == nil && a.outErr == nil:
		return verdict{end: endDone, outcome: a.outcome}
	case a.asked == stopStarved:
		return verdict{end: endStarved, fault: "waiting for more of the upload"}
	case a.asked != stopNot:
		return verdict{end: endStopped}
	case a.done && a.exit.Err == nil:
		return passing(link.FaultInternal, fmt.Sprintf("the analysis ended without a summary: %v", a.outErr))
	case fault != nil:
		return a.faulty(*fault)
	case a.exit.Err == nil:
		return passing(link.FaultInternal, "the media worker ended without a reason")
	case errors.Is(a.exit.Err, link.ErrSilent), !a.said:
		// It never got to the file: the machine is busy, or the program is broken.
		return passing(link.FaultInternal, a.words())
	}
	return verdict{end: endDied, kind: faultDied, fault: a.words()}
}

// faulty judges what a worker said.
func (a attempt) faulty(f link.Fault) verdict {
	// The engine names the source by its whole path.
	text := line(strings.TrimPrefix(f.Message, a.path+": "))
	switch f.Kind {
	case link.FaultInternal, link.FaultOutput:
		return passing(f.Kind, text)
	case link.FaultDamaged, link.FaultUnsupported, link.FaultNoVideo:
		if a.stream && a.lines == 0 {
			// A reader of streams sees less than one that may go back and forth.
			return verdict{end: endWhole, fault: "it cannot be analysed as it arrives (" + text + "): analysis starts after the last byte"}
		}
	}
	return verdict{end: endFailed, kind: string(f.Kind), fault: text}
}

func passing(k link.FaultKind, text string) verdict {
	return verdict{end: endPassing, kind: string(k), fault: text}
}

// words are what there is to say of a death.
func (a attempt) words() string {
	text := "the media worker died"
	if a.exit.Err != nil {
		text = a.exit.Err.Error()
	}
	if a.exit.Signal == syscall.SIGKILL && errors.Is(a.exit.Err, link.ErrDied) {
		text = "the media worker was killed from outside, perhaps for want of memory"
	}
	if last := link.LastWord(a.exit.Stderr); last != "" {
		text += ": " + strings.TrimSpace(last)
	}
	if a.path != "" {
		text = strings.ReplaceAll(text, a.path, a.name)
	}
	return line(text)
}

// maxFault bounds the text of a fault, in bytes.
const maxFault = 400

// line makes a text fit to be shown in one line.
func line(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxFault {
		s = strings.ToValidUTF8(s[:maxFault], "") + "…"
	}
	return s
}

// explained is a sentinel with a message for the user.
type explained struct {
	kind error
	text string
}

func explain(kind error, text string) error { return &explained{kind, text} }
func (e *explained) Error() string          { return e.text }
func (e *explained) Unwrap() error          { return e.kind }
