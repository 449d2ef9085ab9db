package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// debugging serves the debug socket of a data folder until the test's end.
func debugging(t *testing.T, dir string) *debugSocket {
	t.Helper()
	d, err := listenDebug(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, debugSocketName)); err == nil {
			t.Error("the socket is left")
		}
	})
	return d
}

func TestProfilesOfARunningBox(t *testing.T) {
	// A folder deeper than the name of a socket may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30), "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	debugging(t, dir)
	info, err := os.Stat(filepath.Join(dir, debugSocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	gzip := []byte{0x1f, 0x8b}
	for what, begin := range map[string][]byte{
		"cpu": gzip, "heap": gzip, "allocs": gzip, "block": gzip, "mutex": gzip, "trace": []byte("go 1."), "goroutines": []byte("goroutine profile: total"),
	} {
		o := DebugOptions{What: what, DataDir: dir, Out: filepath.Join(t.TempDir(), what)}
		if strings.Contains("cpu trace block mutex", what) {
			o.Seconds = 1
		}
		if err := program(io.Discard).Debug(t.Context(), o); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		data, err := os.ReadFile(o.Out)
		if err != nil || !bytes.HasPrefix(data, begin) || len(data) < 100 {
			t.Errorf("%s: %d bytes, %v, begins %.10q", what, len(data), err, data)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Out), ".*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestDebugSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	stale, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	killed := t.TempDir()
	if err := os.Rename(filepath.Join(dir, "s"), filepath.Join(killed, debugSocketName)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    DebugOptions
		kind error
		says string
	}{
		"no box":          {DebugOptions{What: "heap", DataDir: dir}, ErrBox, "no box runs with the data folder " + dir},
		"no folder":       {DebugOptions{What: "heap", DataDir: filepath.Join(dir, "gone")}, ErrBox, "no box runs with"},
		"a killed box":    {DebugOptions{What: "heap", DataDir: killed}, ErrBox, "no box runs with"},
		"unknown":         {DebugOptions{What: "cmdline", DataDir: dir}, ErrUsage, "goroutines, trace"},
		"too long":        {DebugOptions{What: "cpu", DataDir: dir, Seconds: 601}, ErrUsage, "from 1 to 600"},
		"not of a moment": {DebugOptions{What: "heap", DataDir: dir, Seconds: 5}, ErrUsage, "--seconds is for cpu"},
	} {
		err := program(io.Discard).Debug(t.Context(), c.o)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	// The next box in that folder takes the killed one's place.
	debugging(t, killed)
	if err := program(io.Discard).Debug(t.Context(), DebugOptions{What: "heap", DataDir: killed, Out: filepath.Join(dir, "heap")}); err != nil {
		t.Errorf("after a killed box: %v", err)
	}
	err = program(io.Discard).Debug(t.Context(), DebugOptions{What: "heap", DataDir: killed, Out: filepath.Join(dir, "no", "heap")})
	if !errors.Is(err, ErrOutput) {
		t.Errorf("into no folder: %v", err)
	}
}

func TestDebugSocketRemovesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, debugSocketName)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := openDebugSocket(dir, slog.New(slog.DiscardHandler)); d != nil {
		t.Error("a file was taken for a socket")
		d.close()
	}
	if data, err := os.ReadFile(path); string(data) != "mine" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

func TestOneProfileAtATime(t *testing.T) {
	dir := t.TempDir()
	debugging(t, dir)
	ask := func(ctx context.Context, o DebugOptions) error {
		o.DataDir = dir
		body, err := askBox(ctx, dir, o)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			body.Close()
		}
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		err := ask(ctx, DebugOptions{What: "cpu", Seconds: mostSeconds})
		for errors.Is(err, ErrBox) { // one of those below was in before
			err = ask(ctx, DebugOptions{What: "cpu", Seconds: mostSeconds})
		}
		first <- err
	}()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := ask(t.Context(), DebugOptions{What: "trace", Seconds: 1})
		if err != nil {
			if !errors.Is(err, ErrBox) || !strings.Contains(err.Error(), "another profile is being taken") {
				t.Error(err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("two at a time were taken")
		}
	}
	// Who leaves gives the place back.
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that was given up: %v", err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := ask(t.Context(), DebugOptions{What: "trace", Seconds: 1})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after the first was given up: %v", err)
		}
	}
}

// Another user of the machine learns nothing, not even where the file's mode would let
// him in.
func TestDebugSocketIsForItsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can ask as somebody else")
	}
	dir, err := os.MkdirTemp("", "debug")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	debugging(t, dir)
	path := filepath.Join(dir, debugSocketName)
	if _, err := asNobody(path); !errors.Is(err, unix.EACCES) {
		t.Errorf("with mode 0600: %v, want EACCES", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	status, err := asNobody(path)
	if err != nil || status != http.StatusForbidden {
		t.Errorf("with mode 0666: %d, %v, want 403", status, err)
	}
}

// asNobody connects as another user, on a thread that is given up for it (credentials are
// each thread's own, the kernel notes them in connect), and asks for the heap.
func asNobody(path string) (status int, err error) {
	type made struct {
		fd  int
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // for good
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			done <- made{err: errno}
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		done <- made{fd, err}
	}()
	m := <-done
	if m.err != nil {
		return 0, m.err
	}
	f := os.NewFile(uintptr(m.fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "GET /heap HTTP/1.0\r\n\r\n"); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(answer), "HTTP/1.0 %d", &status)
	return status, err
}

func TestToggleDebug(t *testing.T) {
	for _, c := range []struct{ configured, says string }{
		{"info", "on off on"}, {"warn", "on off on"}, {"error", "on off on"}, {"debug", "off on off"},
	} {
		var log bytes.Buffer
		p := Program{verbosity: new(slog.LevelVar), usual: levelOf(c.configured)}
		p.verbosity.Set(p.usual)
		p.Log = newLogger(&log, p.verbosity, "text")
		var said []string
		for range 3 {
			log.Reset()
			p.toggleDebug(t.Context())
			p.Log.Debug("chatter")
			on := strings.Contains(log.String(), "debug logging is on")
			if on == strings.Contains(log.String(), "debug logging is off") || on != strings.Contains(log.String(), "chatter") {
				t.Errorf("%s: logged %s", c.configured, &log)
			}
			said = append(said, map[bool]string{true: "on", false: "off"}[on])
		}
		if got := strings.Join(said, " "); got != c.says {
			t.Errorf("%s: %s, want %s", c.configured, got, c.says)
		}
	}
}
