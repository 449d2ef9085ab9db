package uploadtest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TusClient installs tus-js-client, a client of tus that nobody here wrote, from the lock
// file in folder and returns where it is. The test is skipped where that cannot be done.
func TusClient(t testing.TB, folder string) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed: tus was not tried with tus-js-client")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm could not install tus-js-client (is there a network?), so tus was not tried with it: %v: %s", err, lastLine(out))
	}
	return dir
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// CutProxy passes connections on to address (host:port), and resets each after some
// random bytes from the client, at most so many, until cuts of them are cut. It returns its own address.
func CutProxy(t testing.TB, address string, most, cuts int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			budget := int64(-1)
			if cuts > 0 {
				cuts--
				budget = rand.Int64N(int64(most))
			}
			wg.Go(func() { pass(ctx, c.(*net.TCPConn), address, budget) })
		}
	})
	return l.Addr().String()
}

// pass passes one connection on; -1 bytes: all.
func pass(ctx context.Context, c *net.TCPConn, address string, budget int64) {
	defer c.Close()
	var dialer net.Dialer
	up, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { c.Close(); up.Close() })()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(c, up) // ends with either side
		_ = c.CloseWrite()
	})
	if budget < 0 {
		_, _ = io.Copy(up, c)
		_ = up.(*net.TCPConn).CloseWrite()
	} else {
		_, _ = io.CopyN(up, c, budget)
		_ = c.SetLinger(0)
		_ = up.(*net.TCPConn).SetLinger(0)
		c.Close()
		up.Close()
	}
	wg.Wait()
}

// File writes data into a file of that name in a folder of the test's.
func File(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
