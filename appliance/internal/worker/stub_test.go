package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"go.uber.org/goleak"
)

// stubEnv names what this test binary does when it is started as a worker.
const stubEnv = "WATCHPOST_TEST_WORKER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(stubEnv); mode != "" {
		os.Exit(stub(mode))
	}
	goleak.VerifyTestMain(m)
}

// stub is a worker process that behaves as mode says.
func stub(mode string) int {
	signal.Ignore(syscall.SIGPIPE)
	if mode == "parent" {
		return stubParent()
	}
	raw, err := syscall.Dup(link.FD)
	if err != nil {
		return 9
	}
	if mode != "garbage" {
		syscall.Close(raw)
	}
	conn, err := link.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	if mode == "silent" {
		time.Sleep(time.Hour)
	}
	m, err := conn.Receive()
	if err != nil || m.Kind != link.KindStart {
		fmt.Fprintln(os.Stderr, "no start:", m, err)
		return 9
	}
	start := m.Value.(link.Start)
	conn.Send(link.KindHello, link.Hello{Version: "stub", PID: os.Getpid()})
	switch mode {
	case "hang":
		time.Sleep(time.Hour)
	case "crash":
		for i := range 30 {
			fmt.Fprintf(os.Stderr, "line %d of %s %s\n", i, start.Source.URL, strings.Repeat("x", 500))
		}
		return 3
	case "segv":
		syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		time.Sleep(time.Hour)
	case "fault":
		conn.Send(link.KindFault, link.Fault{Kind: link.FaultNotFound, Message: "there is no such file"})
		return 1
	case "garbage":
		os.NewFile(uintptr(raw), "").Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 1000))
		time.Sleep(time.Hour)
	case "command":
		conn.Send(link.KindStop, nil)
		time.Sleep(time.Hour)
	case "closes":
		conn.Close()
		time.Sleep(time.Hour)
	case "env":
		conn.Send(link.KindStatus, link.Status{State: link.Playing, Reason: strings.Join(os.Environ(), "\n")})
		return 0
	case "grandchild":
		c := exec.Command("sleep", "3600")
		c.Stderr = os.Stderr // keeps the pipe open
		if err := c.Start(); err != nil {
			return 9
		}
		conn.Send(link.KindStatus, link.Status{State: link.Playing, Reason: fmt.Sprint(c.Process.Pid)})
		return 0
	}
	go func() {
		for i := uint64(1); ; i++ {
			conn.Send(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: i, Inferred: i}})
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if mode == "deaf" {
		time.Sleep(time.Hour)
	}
	for { // "obedient" and "stubborn"
		m, err := conn.Receive()
		if err == io.EOF {
			return 0
		} else if err != nil {
			return 8
		}
		if m.Kind == link.KindStop && mode != "stubborn" {
			conn.Send(link.KindDone, link.Done{})
			return 0
		}
		conn.Send(link.KindStatus, link.Status{State: link.Playing, Reason: fmt.Sprintf("%s %+v", m.Kind, m.Value)})
	}
}

// stubParent is a control process: it starts a hanging worker, prints its id
// and waits to be killed.
func stubParent() int {
	s, err := New(Config{Env: []string{stubEnv + "=hang"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return 9
	}
	w, err := s.Start(context.Background(), link.Start{Mode: "live"}, func(link.Message) {}, nil)
	if err != nil {
		fmt.Println(err)
		return 9
	}
	fmt.Println(w.PID())
	time.Sleep(time.Hour)
	return 0
}
