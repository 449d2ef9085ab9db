package upload

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

// TestLostRecords: a file whose record may have been lost with a database stays, also when nobody remembers that any
// more; other files without a record go.
func TestLostRecords(t *testing.T) {
	dir := t.TempDir()
	b := start(t, setup{dir: dir})
	b.stopAll()
	path := func(name string) string { return filepath.Join(dir, "uploads", name) }
	there := func(name string) bool { _, err := os.Stat(path(name)); return err == nil }
	make := func(age time.Duration) string {
		t.Helper()
		id := state.NewUploadID()
		when := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path(id), []byte("somebody's video"), 0o600), os.Chtimes(path(id), when, when)); err != nil {
			t.Fatal(err)
		}
		return id
	}
	before, after := make(time.Hour), make(0)
	replaced := time.Now().Add(-time.Minute)
	b = start(t, setup{dir: dir, deps: func(d *Deps) { d.Unsure = replaced.After }})
	until(t, "what a crash left behind goes", func() bool { return !there(after) })
	if !there(before) {
		t.Fatal("a file whose record may have been lost was removed")
	}
	b.stopAll()

	orphan := make(time.Hour)
	b = start(t, setup{dir: dir})
	until(t, "what a crash left behind goes", func() bool { return !there(orphan) })
	if !there(before) {
		t.Fatal("a file whose record was lost was removed by the next start")
	}
	b.stopAll()

	if err := os.Remove(path(before)); err != nil {
		t.Fatal(err)
	}
	start(t, setup{dir: dir})
	until(t, "nothing is left when a person has decided", func() bool {
		left, err := os.ReadDir(filepath.Join(dir, "uploads"))
		return err == nil && len(left) == 0
	})
}

// TestRemovedWhileWritten: the file of an upload that is removed under its writer is closed once that has noticed.
// Open, it would go on taking its room on the disk.
func TestRemovedWhileWritten(t *testing.T) {
	b := start(t, setup{dir: t.TempDir()})
	i := mustCreate(t, b, Spec{Size: 1 << 20})
	e, err := b.find(i.ID)
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := b.Append(context.Background(), i.ID, 0, r)
		ended <- err
	}()
	if _, err := w.Write(content(1, 0, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(context.Background(), i.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "the name goes", func() bool {
		_, err := os.Stat(b.deps.Spool.Path(i.ID))
		return os.IsNotExist(err)
	})
	w.Close()
	<-ended
	until(t, "the file is closed", func() bool {
		wake(b.wakeJanitor) // or it comes by later
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.file == nil
	})
	until(t, "nothing is left to be removed", func() bool {
		wake(b.wakeJanitor)
		return len(b.discarded()) == 0
	})
}

// TestRemovedAtTheEnd: what is removed as the box goes down, by those who end with it, leaves no file.
func TestRemovedAtTheEnd(t *testing.T) {
	b := start(t, setup{dir: t.TempDir(), noRun: true})
	i := mustCreate(t, b, Spec{Size: 1 << 20})
	if err := b.Place(i.ID, 0, content(1, 0, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(context.Background(), i.ID); err != nil {
		t.Fatal(err)
	}
	path := b.deps.Spool.Path(i.ID)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("its file is left: %v", err)
	}
}

// TestFlushUnderLoad: Flush waits for what was placed before it, and not for what is placed meanwhile.
func TestFlushUnderLoad(t *testing.T) {
	disk := spooltest.New(1)
	disk.Fault = func(op spooltest.Op, _ string) error {
		if op == spooltest.Write {
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	}
	b := start(t, setup{disk: disk, dir: t.TempDir()})
	const parts, size = 2000, 1000
	i := mustCreate(t, b, Spec{Size: 2 * parts * size})
	var placed atomic.Int64
	ended := make(chan struct{})
	started, enough := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := range int64(parts) {
			select {
			case <-enough:
				return
			default:
			}
			// With gaps, so that each is a write of its own.
			if err := b.Place(i.ID, 2*n*size, content(1, 2*n*size, size)); err != nil {
				t.Error(err)
				return
			}
			if placed.Add(1) == 20 {
				close(started)
			}
		}
	}()
	<-started
	if err := b.Flush(context.Background(), i.ID); err != nil {
		t.Fatal(err)
	}
	close(enough)
	if n := placed.Load(); n == parts {
		t.Errorf("Flush came back when all %d parts were placed", n)
	}
	if now, err := b.Get(i.ID); err != nil || now.Received < 12*size {
		t.Errorf("%d bytes are durable after Flush, %v", now.Received, err)
	}
	<-ended
}
