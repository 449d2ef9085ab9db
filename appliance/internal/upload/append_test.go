package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

// TestExpress sends fast enough for large buffers and direct writes, from an odd offset, to the real disk.
func TestExpress(t *testing.T) {
	b := start(t, setup{dir: t.TempDir()})
	const size, odd = 24<<20 + 333, 4321
	whole := content(5, 0, size)
	i := mustCreate(t, b, Spec{Size: size, SHA256: sumOf(whole)})
	mustAppend(t, b, i.ID, 0, whole[:odd])
	mustAppend(t, b, i.ID, odd, whole[odd:])
	got := b.untilStatus(i.ID, state.UploadComplete)
	path, err := b.Path(i.ID)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(file, whole) || got.SHA256 != sumOf(whole) {
		t.Fatalf("the file differs: %v, %s", err, got.SHA256)
	}
	mustAppend(t, b, i.ID, odd, whole[odd:]) // repeated when all is done
}

// TestExpressFaults lets writes and syncs of a fast Append fail.
func TestExpressFaults(t *testing.T) {
	const size = 11 << 20
	whole := content(3, 0, size)
	for _, op := range []spooltest.Op{spooltest.Write, spooltest.Datasync, spooltest.WriteBack} {
		for n := int64(1); n < 20; n += 5 {
			disk := spooltest.New(uint64(n))
			var calls atomic.Int64
			disk.Fault = func(got spooltest.Op, _ string) error {
				if got == op && calls.Add(1) == n {
					return syscall.EIO
				}
				return nil
			}
			dir := t.TempDir()
			b := start(t, setup{disk: disk, dir: dir, config: Config{Batch: time.Millisecond}})
			i, err := b.Create(context.Background(), Spec{Size: size, SHA256: sumOf(whole)})
			if err != nil {
				if !errors.Is(err, ErrStorage) {
					t.Fatal(err)
				}
				continue // the sync of the making failed
			}
			got, err := b.Append(context.Background(), i.ID, 0, bytes.NewReader(whole))
			if err == nil != (got == size) || err != nil && !errors.Is(err, ErrStorage) {
				t.Fatalf("%s %d: %d bytes, %v", op, n, got, err)
			}
			if disk.Directs.Load() == 0 && got == size {
				t.Error("nothing was written past the cache")
			}
			after := disk.Crash()
			b.stopAll()
			b = start(t, setup{disk: after, dir: dir})
			now, err := b.Get(i.ID)
			if err != nil || now.Contiguous < got {
				t.Fatalf("%s %d: %d bytes were acknowledged, there are %d, %v", op, n, got, now.Contiguous, err)
			}
			holds(t, after.Content(i.ID), now, 3)
			mustAppend(t, b, i.ID, now.Contiguous, whole[now.Contiguous:])
			b.untilStatus(i.ID, state.UploadComplete)
			b.stopAll()
		}
	}
}

// TestWriteBackFault: an error of early writing is one of the next sync, though that itself succeeds.
func TestWriteBackFault(t *testing.T) {
	disk := spooltest.New(1)
	disk.Fault = func(op spooltest.Op, _ string) error {
		if op == spooltest.WriteBack {
			return syscall.EIO
		}
		return nil
	}
	b := start(t, setup{disk: disk, dir: t.TempDir(), config: Config{Batch: time.Hour}})
	const size = 9 << 20
	i := mustCreate(t, b, Spec{Size: -1})
	n, err := b.Append(context.Background(), i.ID, 0, bytes.NewReader(content(1, 0, size)))
	if n != 0 || !errors.Is(err, ErrStorage) {
		t.Fatalf("%d, %v; want nothing, and an error", n, err)
	}
}

// paced gives its pieces one by one, when it is told to.
type paced struct {
	pieces chan []byte
}

func (p paced) Read(buf []byte) (int, error) {
	piece, ok := <-p.pieces
	if !ok {
		return 0, io.EOF
	}
	return copy(buf, piece), nil
}

// TestProgress: watchers see durable progress while an Append runs, also when the client pauses.
func TestProgress(t *testing.T) {
	b := start(t, setup{dir: t.TempDir(), config: Config{Batch: 10 * time.Millisecond}})
	i := mustCreate(t, b, Spec{Size: 300})
	var mu sync.Mutex
	var seen []int64
	stop := b.Watch(i.ID, func(i Info) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, i.Contiguous)
	})
	last := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) == 0 {
			return 0
		}
		return seen[len(seen)-1]
	}
	r := paced{make(chan []byte)}
	done := make(chan error, 1)
	go func() {
		_, err := b.Append(context.Background(), i.ID, 0, r)
		done <- err
	}()
	r.pieces <- content(1, 0, 100)
	until(t, "100 bytes are seen", func() bool { return last() == 100 })
	r.pieces <- content(1, 100, 100)
	until(t, "200 bytes are seen", func() bool { return last() == 200 })
	close(r.pieces)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	stop()
	for k := 1; k < len(seen); k++ {
		if seen[k] < seen[k-1] {
			t.Errorf("progress went back: %v", seen)
		}
	}
}

// TestStalledClient: a connection that hangs does not keep its successor from going on.
func TestStalledClient(t *testing.T) {
	b := start(t, setup{dir: t.TempDir(), config: Config{Batch: time.Millisecond}})
	i := mustCreate(t, b, Spec{Size: 300})
	r := paced{make(chan []byte)}
	done := make(chan error, 1)
	go func() {
		_, err := b.Append(context.Background(), i.ID, 0, r)
		done <- err
	}()
	r.pieces <- content(1, 0, 100)
	until(t, "100 bytes are there", func() bool { i, _ := b.Get(i.ID); return i.Contiguous == 100 })
	mustAppend(t, b, i.ID, 100, content(1, 100, 200))
	b.untilStatus(i.ID, state.UploadComplete)
	// The first one wakes up with the same bytes, which is fine, and with others, which is not.
	r.pieces <- content(1, 100, 100)
	r.pieces <- content(2, 200, 100)
	if err := <-done; !errors.Is(err, ErrConflict) {
		t.Fatalf("other bytes over those that are there: %v", err)
	}
}

// TestParallelParts: one upload from several connections at once, any order.
func TestParallelParts(t *testing.T) {
	b := start(t, setup{dir: t.TempDir()})
	const size, part = 3<<20 + 17, 200_000
	whole := content(4, 0, size)
	i := mustCreate(t, b, Spec{Size: size, SHA256: sumOf(whole)})
	var all sync.WaitGroup
	for from := int64(0); from < size; from += part {
		for range 2 { // each twice
			all.Go(func() {
				n, err := b.Append(context.Background(), i.ID, from, bytes.NewReader(whole[from:min(size, from+part)]))
				if err != nil || n != min(size-from, part) {
					t.Errorf("part at %d: %d, %v", from, n, err)
				}
			})
		}
	}
	all.Wait()
	b.untilStatus(i.ID, state.UploadComplete)
}

// TestChecked: bytes that do not have their checksum neither count nor are in the way.
func TestChecked(t *testing.T) {
	b := start(t, setup{dir: t.TempDir()})
	i := mustCreate(t, b, Spec{Size: 1000})
	good, bad := content(1, 0, 1000), content(2, 0, 1000)
	h := checksum("crc32")
	h.Write(good)
	try := func(p []byte, want error) {
		t.Helper()
		n, err := b.AppendChecked(context.Background(), i.ID, 0, bytes.NewReader(p), 1000, "crc32", h.Sum(nil))
		if !errors.Is(err, want) || n != 0 && want != nil {
			t.Fatalf("%d, %v; want %v", n, err, want)
		}
		if now, _ := b.Get(i.ID); want != nil && now.Received != 0 {
			t.Fatalf("%d bytes count", now.Received)
		}
	}
	try(bad, ErrChecksum)
	try(good[:999], io.ErrUnexpectedEOF)
	if _, err := b.AppendChecked(context.Background(), i.ID, 0, bytes.NewReader(good), 1000, "crc99", nil); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	try(good, nil)
	b.untilStatus(i.ID, state.UploadComplete)
}

// TestFragments: the record's size is bounded.
func TestFragments(t *testing.T) {
	f, err := spool.New(spooltest.New(1), "/").Create("f", -1)
	if err != nil {
		t.Fatal(err)
	}
	for k := range int64(spool.MaxExtents) {
		if err := f.Put(context.Background(), []byte{1}, 2*k, time.Second); err != nil {
			t.Fatal(k, err)
		}
	}
	if err := f.Put(context.Background(), []byte{1}, 2*spool.MaxExtents+10, time.Second); !errors.Is(err, spool.ErrFragmented) {
		t.Fatalf("one more: %v", err)
	}
	if err := f.Put(context.Background(), []byte{1}, 1, time.Second); err != nil {
		t.Fatal("a byte that joins two:", err)
	}
}
