// Package uploadtest opens the real uploads of a box for tests: a real database and
// real files, in a folder of the test's own.
package uploadtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// Box is one box's uploads.
type Box struct {
	*upload.Uploads
	Log Log

	t      testing.TB
	dir    string
	config upload.Config
	stop   func()
}

// Open opens empty uploads, which end with the test.
func Open(t testing.TB, c upload.Config) *Box {
	t.Helper()
	b := &Box{t: t, dir: t.TempDir(), config: c}
	b.open()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *Box) open() {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(&b.Log, nil))
	db, _, err := state.Open(state.Options{Path: filepath.Join(b.dir, "state", "watchpost.db"), Log: log})
	if err != nil {
		b.t.Fatal(err)
	}
	files, err := spool.Open(filepath.Join(b.dir, "uploads"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.Uploads, err = upload.Open(upload.Deps{Log: log, DB: db, Spool: files}, b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func(u *upload.Uploads) { ended <- u.Run(ctx) }(b.Uploads)
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("run uploads: %v", err)
		}
		if err := b.Uploads.Close(); err != nil {
			b.t.Errorf("close uploads: %v", err)
		}
		if err := files.Close(); err != nil {
			b.t.Errorf("close the files: %v", err)
		}
		if err := db.Close(); err != nil {
			b.t.Errorf("close the database: %v", err)
		}
	})
}

// Reopen closes the uploads and opens them again, as a restart of the box does.
// What was built on the old Uploads must be built anew.
func (b *Box) Reopen() {
	b.t.Helper()
	b.stop()
	b.open()
}

// Bytes returns what is stored of an upload.
func (b *Box) Bytes(id string) []byte {
	b.t.Helper()
	path, err := b.Path(id)
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// Await waits until the upload is as wanted.
func (b *Box) Await(id string, want func(upload.Info) bool) upload.Info {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		i, err := b.Get(id)
		if err == nil && want(i) {
			return i
		}
		if time.Now().After(end) {
			b.t.Fatalf("the upload stays %+v, %v", i, err)
		}
	}
}

// Complete waits until the upload is complete.
func (b *Box) Complete(id string) upload.Info {
	b.t.Helper()
	return b.Await(id, func(i upload.Info) bool { return i.Status == state.UploadComplete })
}

// Serve serves h as the box's own server does, which gives a whole request half a minute.
func Serve(t testing.TB, h http.Handler) string { return serve(t, h, 30*time.Second) }

// ServeHurried gives a whole request one second, so that a test can be slower than that.
func ServeHurried(t testing.TB, h http.Handler) string { return serve(t, h, time.Second) }

func serve(t testing.TB, h http.Handler, whole time.Duration) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ReadTimeout, s.Config.WriteTimeout = whole, whole
	s.Config.ReadHeaderTimeout, s.Config.IdleTimeout = 30*time.Second, time.Minute
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s.URL
}

// Data returns n bytes that look random and are the same for the same seed, and
// their sha256 in hex.
func Data(seed uint64, n int) ([]byte, string) {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	sum := sha256.Sum256(b)
	return b, hex.EncodeToString(sum[:])
}

// Log collects what is logged.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns it all.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
