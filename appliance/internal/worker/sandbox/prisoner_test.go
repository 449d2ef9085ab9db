package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/watchpost/watchpost/appliance/internal/worker/sandbox/sandboxtest"
)

// prisonerEnv has this test binary be the process that is locked in.
const prisonerEnv = "WATCHPOST_TEST_SANDBOX"

// cell is what the prisoner is told: where things are, and how it is locked in.
type cell struct {
	Free    bool // not locked in at all: what is tried must work then
	ABI     int  // of Landlock at most
	Seccomp bool // if the kernel has it

	Root, Source, Neighbour, Upload, Database, Password, Model, Results string
	TCP, UDP, Unix, Abstract                                            string // addresses of the parent's sockets
	Parent                                                              int
}

// told is what it says: what came of each try ("": it worked).
type told struct {
	Report Report
	Tries  map[string]string
}

// prisoner is the process. It speaks over the socket that it inherited, as a
// worker does.
func prisoner() error {
	conn, err := net.FileConn(os.NewFile(3, "link"))
	if err != nil {
		return err
	}
	in, out := bufio.NewReader(conn), json.NewEncoder(conn)
	var c cell
	if err := readJSON(in, &c); err != nil {
		return err
	}
	// Threads that are there before: one of Go's, which waits in its own thread, and
	// one of C's.
	older := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range older {
			f()
		}
	}()
	ran := make(chan struct{})
	older <- func() { close(ran) }
	<-ran
	thread, err := sandboxtest.Start()
	if err != nil {
		return err
	}
	answer := told{Tries: map[string]string{}}
	if !c.Free {
		k := look()
		k.abi, k.seccomp = min(k.abi, c.ABI), k.seccomp && c.Seccomp
		if answer.Report, err = confine(Policy{Read: []string{c.Source, c.Model, c.Root + "/absent"}, Write: []string{c.Results}}, k); err != nil {
			return err
		}
	}
	// The parent lets the source grow meanwhile.
	if err := out.Encode("confined"); err != nil {
		return err
	}
	var word string
	if err := readJSON(in, &word); err != nil {
		return err
	}
	say := func(name string, err error) {
		answer.Tries[name] = ""
		if err != nil {
			answer.Tries[name] = err.Error()
		}
	}
	for _, t := range tries() {
		say(t.name, t.do(c))
	}
	older <- func() {
		_, err := os.ReadFile(c.Neighbour)
		say(olderThread+"file", err)
		_, err = os.ReadFile(c.Source)
		say(olderThread+"source", err)
		say(olderThread+"socket", socket(c))
	}
	ran = make(chan struct{})
	older <- func() { close(ran) }
	<-ran
	say(foreignThread+"file", thread.Open(c.Neighbour))
	say(foreignThread+"source", thread.Open(c.Source))
	say(foreignThread+"socket", thread.Socket())
	return out.Encode(answer)
}

func readJSON(in *bufio.Reader, v any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the parent is gone: %w", err)
	}
	return json.Unmarshal(line, v)
}
