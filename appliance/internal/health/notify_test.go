package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemd is the other end of NOTIFY_SOCKET: a real socket.
func systemd(t *testing.T) *net.UnixConn {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", addr.Name)
	return conn
}

// next is the next datagram, or "" when none came in time.
func next(t *testing.T, conn *net.UnixConn, within time.Duration) string {
	t.Helper()
	buf := make([]byte, 4096)
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// until reads datagrams up to one that holds a text.
func until(t *testing.T, conn *net.UnixConn, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if strings.Contains(next(t, conn, time.Second), text) {
			return
		}
	}
	t.Fatalf("systemd was not told %q", text)
}

func TestNotifierTellsSystemd(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "150000")
	t.Setenv("WATCHDOG_PID", "")
	m, book, stop := startMeter(t, Config{Limit: time.Second})
	ready := NewReadiness("cameras")
	n, err := NewNotifier(m, ready, book.logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer stop()

	if got := next(t, conn, 5*time.Second); got != "STATUS=not ready: cameras: starting\nWATCHDOG=1" {
		t.Errorf("first: %q", got)
	}
	if got := next(t, conn, 5*time.Second); got != "WATCHDOG=1" {
		t.Errorf("then: %q", got)
	}
	ready.Set("cameras", nil)
	until(t, conn, "READY=1\nSTATUS=ready\nWATCHDOG=1")

	// A loop hangs: the status names it, and the watchdog starves.
	work, release := make(chan func()), make(chan struct{})
	go serve(m.Loop("live"), work)
	work <- func() { <-release }
	until(t, conn, "STATUS=control loop live makes no progress")
	if got := next(t, conn, 400*time.Millisecond); got != "" {
		t.Errorf("systemd was told %q though a loop hangs", got)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "control loop live has made no progress") {
		t.Errorf("/healthz while a loop hangs: %d %s", w.Code, w.Body)
	}
	close(release)
	until(t, conn, "STATUS=ready\nWATCHDOG=1")

	// READY was said once; a later fault is a matter of status.
	ready.Set("cameras", errors.New("gone\nREADY=1"))
	until(t, conn, "STATUS=not ready: cameras: gone READY=1\n")
	close(work)
	cancel()
	until(t, conn, "STOPPING=1\nSTATUS=stopping")
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A loop need not hang for as long as makes the box unhealthy: one that has made no
// progress since the watchdog was last fed keeps it from being fed again.
func TestWatchdogAsksForProgress(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	t.Setenv("WATCHDOG_PID", "")
	m, book, stop := startMeter(t, Config{Limit: time.Hour})
	n, err := NewNotifier(m, NewReadiness(), book.logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer stop()
	until(t, conn, "WATCHDOG=1")

	inside := m.Loop("udp port") // one that does not tick: it is entered only
	leave := inside.Enter()
	until(t, conn, "STATUS=control loop udp port makes no progress")
	if got := next(t, conn, 700*time.Millisecond); got != "" {
		t.Errorf("systemd was told %q though a loop hangs", got)
	}
	leave()
	until(t, conn, "STATUS=ready\nWATCHDOG=1")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestNotifierWithoutWatchdogOrSystemd(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "")
	m, book, stop := startMeter(t, Config{})
	defer stop()
	run := func(ctx context.Context) {
		n, err := NewNotifier(m, NewReadiness(), book.logger())
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	run(ctx)
	if a, b := next(t, conn, time.Second), next(t, conn, time.Second); a != "READY=1\nSTATUS=ready" || b != "STOPPING=1\nSTATUS=stopping" {
		t.Errorf("%q, %q", a, b)
	}

	// A socket that nobody reads is complained of once, and stops nothing.
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	ctx, cancel = context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	run(ctx)
	if n := strings.Count(book.String(), "systemd cannot be told"); n != 1 {
		t.Errorf("complained %d times:\n%s", n, book)
	}

	t.Setenv("NOTIFY_SOCKET", "")
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	run(ctx)

	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := NewNotifier(m, NewReadiness(), book.logger()); err == nil {
		t.Error("a watchdog setting that is no number was accepted")
	}
}
