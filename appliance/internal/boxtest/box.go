package boxtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a box may take to end after SIGTERM. Its own promises
// add up to less: 2 s for workers, 3 s for HTTP.
const stopTimeout = 10 * time.Second

// Config of a Box.
type Config struct {
	// Dir gets the data folder and the configuration file; a folder that has a
	// data folder already goes on with it.
	Dir string
	// YAML is the configuration but for listen, webrtc and data_dir.
	YAML string
	// Listen is "127.0.0.1:0" if empty.
	Listen string
	// Env is added to the environment.
	Env []string
}

// Box is one running control process with its workers.
type Box struct {
	// URL is the address that it printed, without a slash at the end.
	URL string
	// Data is its data folder.
	Data string

	kit    *Kit
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait, once exited is closed

	mu   sync.Mutex
	log  []byte
	said []string // on standard output
}

// Start starts a box and returns once it listens. ctx ends the wait, and later
// kills the box.
func (k *Kit) Start(ctx context.Context, c Config) (*Box, error) {
	b := &Box{Data: filepath.Join(c.Dir, "data"), kit: k, exited: make(chan struct{})}
	if _, err := os.Stat(b.Data); errors.Is(err, fs.ErrNotExist) {
		if err := k.Data(b.Data); err != nil {
			return nil, err
		}
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	file := filepath.Join(c.Dir, "watchpost.yaml")
	text := fmt.Sprintf("listen: %s\ndata_dir: data\nwebrtc:\n  listen: 127.0.0.1:0\n%s", c.Listen, c.YAML)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	b.cmd = k.Command(ctx, "run", "-c", file)
	b.cmd.Env = append(b.cmd.Env, c.Env...)
	// What a box writes outside its data folder is a fault, and seen here.
	b.cmd.Dir = c.Dir
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	b.cmd.Stderr = logWriter{b}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a box: %w", err)
	}
	printed := make(chan string, 1)
	if err := b.launch(out, printed); err != nil {
		return nil, err
	}
	select {
	case b.URL = <-printed:
		return b, nil
	case <-b.exited:
		return nil, fmt.Errorf("the box ended at once: %w\n%s", b.err, b.Log())
	case <-ctx.Done():
		b.Kill()
		return nil, fmt.Errorf("start a box: %w\n%s", ctx.Err(), b.Log())
	}
}

// launch starts the process and stays with it on one thread: the parent-death
// signal comes when the thread that started it ends.
func (b *Box) launch(out io.Reader, printed chan<- string) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := b.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		b.listen(out, printed)
		b.err = b.cmd.Wait()
		close(b.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start a box: %w", err)
	}
	return nil
}

// listen reads standard output to its end and passes on the URL in it.
func (b *Box) listen(out io.Reader, printed chan<- string) {
	for s := bufio.NewScanner(out); s.Scan(); {
		line := s.Text()
		b.mu.Lock()
		b.said = append(b.said, line)
		b.mu.Unlock()
		if _, url, ok := strings.Cut(line, ": http"); ok && strings.HasPrefix(line, "Watchpost ") {
			select {
			case printed <- "http" + url:
			default:
			}
		}
	}
}

type logWriter struct{ b *Box }

func (w logWriter) Write(p []byte) (int, error) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.b.log = append(w.b.log, p...)
	return len(p), nil
}

// Log is what the box wrote on standard error so far, its workers' included.
func (b *Box) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.log)
}

// Printed is what it wrote on standard output.
func (b *Box) Printed() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.said, "\n")
}

// PID of the control process.
func (b *Box) PID() int { return b.cmd.Process.Pid }

// Signal the control process.
func (b *Box) Signal(s syscall.Signal) error { return b.cmd.Process.Signal(s) }

// Exited is closed when the control process has ended.
func (b *Box) Exited() <-chan struct{} { return b.exited }

// ExitCode of the control process that has ended; -1: a signal ended it.
func (b *Box) ExitCode() int { return b.cmd.ProcessState.ExitCode() }

// Kill ends the control process with SIGKILL and waits for it.
func (b *Box) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.exited
}

// Stop ends the box with SIGTERM and says everything that is wrong with how it
// went: an exit code, processes or files that are left.
func (b *Box) Stop() error {
	select {
	case <-b.exited:
	default:
		_ = b.Signal(syscall.SIGTERM)
		select {
		case <-b.exited:
		case <-time.After(stopTimeout):
			b.Kill()
			return fmt.Errorf("the box did not end within %v of SIGTERM", stopTimeout)
		}
	}
	var errs []error
	if b.err != nil {
		errs = append(errs, fmt.Errorf("the box ended with %w", b.err))
	}
	return errors.Join(append(errs, b.leftProcesses(), b.leftFiles(), b.leftPushed())...)
}

// leftProcesses complains about processes that still name this box's data
// folder. A killed one takes a moment to go.
func (b *Box) leftProcesses() error {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := b.Processes()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes outlived the box: %v", left)
		}
	}
}

// kept is what a box may leave in its data folder.
var kept = []string{"gst-registry.bin", "hardware.json", "models", "lib", "traces", "password", "state", "uploads", "jobs"}

func (b *Box) leftFiles() error {
	list, err := os.ReadDir(b.Data)
	if err != nil {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	for _, dir := range []string{".", "models", "traces"} {
		inside, err := filepath.Glob(filepath.Join(b.Data, dir, "*.tmp*"))
		if err != nil || len(inside) > 0 {
			return fmt.Errorf("temporary files are left: %v %w", inside, err)
		}
	}
	var left []string
	for _, e := range list {
		if !slices.Contains(kept, e.Name()) {
			left = append(left, e.Name())
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("files are left in the data folder: %v", left)
	}
	return nil
}

// leftPushed complains about a database that is not whole, and about pushed files
// and results that are not those that it knows of.
func (b *Box) leftPushed() error {
	var have []string
	for _, dir := range []string{"uploads", "jobs", filepath.Join("jobs", ".trash")} {
		list, err := os.ReadDir(filepath.Join(b.Data, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range list {
			if e.Name() != ".trash" {
				have = append(have, filepath.Join(dir, e.Name()))
			}
		}
	}
	if len(have) == 0 {
		return nil
	}
	state := func(do string) ([]byte, error) {
		out, err := b.kit.Command(context.Background(), "state", do, "--data", b.Data).Output()
		if err != nil {
			return nil, fmt.Errorf("state %s: %w: %s", do, err, out)
		}
		return out, nil
	}
	if _, err := state("check"); err != nil {
		return err
	}
	out, err := state("dump")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for line := range bytes.Lines(out) {
		var r struct{ Bucket, ID string }
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("state dump prints %q: %w", line, err)
		}
		known[filepath.Join(r.Bucket, r.ID)] = true
	}
	left := slices.DeleteFunc(have, func(path string) bool { return known[path] })
	if len(left) > 0 {
		return fmt.Errorf("there are files without a record: %v", left)
	}
	return nil
}
