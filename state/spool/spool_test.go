package spool_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/state/spool"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

// disks are the implementations of FS; all behave the same while nothing fails.
func disks(t *testing.T, test func(t *testing.T, d *spool.Dir)) {
	t.Run("linux", func(t *testing.T) {
		d, err := spool.Open(filepath.Join(t.TempDir(), "a", "spool"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, d)
	})
	t.Run("memory", func(t *testing.T) { test(t, spool.New(spooltest.New(1), "/spool")) })
}

func put(t *testing.T, f *spool.File, p string, off int64) error {
	t.Helper()
	return f.Put(context.Background(), []byte(p), off, time.Second)
}

func TestFile(t *testing.T) {
	disks(t, func(t *testing.T, d *spool.Dir) {
		f, err := d.Create("a", 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Create("a", 100); !errors.Is(err, fs.ErrExist) {
			t.Error("a second time:", err)
		}
		if f.Allocated() != 100 {
			t.Error("no room is set aside")
		}
		for _, err := range []error{put(t, f, "world", 6), put(t, f, "hello ", 0), put(t, f, "lo wo", 3)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := put(t, f, "lo We", 3); !errors.Is(err, spool.ErrDiffers) {
			t.Error("other bytes:", err)
		}
		have, err := f.Sync()
		if err != nil || len(have) != 1 || have[0] != (spool.Extent{From: 0, To: 11}) {
			t.Fatal(have, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if f, err = d.Open("a", have); err != nil {
			t.Fatal(err)
		}
		if err := put(t, f, "hello World", 0); !errors.Is(err, spool.ErrDiffers) {
			t.Error("other bytes after opening again:", err)
		}
		h := sha256.New()
		if err := f.Hash(context.Background(), h, 0, 11, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256([]byte("hello world")); !bytes.Equal(h.Sum(nil), want[:]) {
			t.Error("wrong hash")
		}
		if err := f.Hash(context.Background(), h, 95, 101, make([]byte, 4)); err == nil {
			t.Error("hashed beyond the end")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		list, err := d.List()
		if err != nil || len(list) != 1 || list[0].Name != "a" || list[0].Size != 100 || !list[0].Regular {
			t.Errorf("%+v, %v", list, err)
		}
		for range 2 {
			if err := d.Remove(context.Background(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.Open("a", nil); !errors.Is(err, fs.ErrNotExist) {
			t.Error("opened what is removed:", err)
		}
		if s, err := d.Space(); err != nil || s.Free <= 0 || s.Total < s.Free {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestDirect writes aligned and other parts past the cache; readers see them in either case.
func TestDirect(t *testing.T) {
	disks(t, func(t *testing.T, d *spool.Dir) {
		const n = 64 << 10
		f, err := d.Create("a", 4*n)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := bytes.Repeat([]byte("watchpost"), 4*n/9+1)
		for _, e := range []spool.Extent{{From: 0, To: n}, {From: n, To: 2*n - 1}, {From: 2 * n, To: 3 * n}, {From: 2*n - 1, To: 2 * n}, {From: 3 * n, To: 4 * n}} {
			if err := f.PutDirect(context.Background(), p[e.From:e.To], e.From, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := f.Sync(); err != nil || spool.Total(have) != 4*n {
			t.Fatal(have, err)
		}
		got := make([]byte, 4*n)
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, p[:4*n]) {
			t.Error("other bytes came back", err)
		}
	})
}

// TestHold: what is not kept does not count, and nobody else writes meanwhile.
func TestHold(t *testing.T) {
	disks(t, func(t *testing.T, d *spool.Dir) {
		f, err := d.Create("a", -1)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		ctx := context.Background()
		h, err := f.Hold(ctx, 10, 20, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Put([]byte("0123456789"), 10); err != nil {
			t.Fatal(err)
		}
		if err := h.Put([]byte("x"), 20); err == nil {
			t.Error("put outside of the hold")
		}
		if err := f.Put(ctx, []byte("ab"), 19, time.Millisecond); !errors.Is(err, spool.ErrBusy) {
			t.Error("somebody else's:", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := f.Put(ended, []byte("ab"), 19, time.Minute); !errors.Is(err, context.Canceled) {
			t.Error("after the end of the context:", err)
		}
		if err := put(t, f, "ab", 8); err != nil {
			t.Error("beside it:", err)
		}
		h.Release()
		if f.Counted(8) != 10 {
			t.Errorf("counted up to %d", f.Counted(8))
		}
		if err := put(t, f, "other byte", 10); err != nil {
			t.Error("over what was not kept:", err)
		}
		if have, err := f.Sync(); err != nil || spool.Total(have) != 12 {
			t.Error(have, err)
		}
	})
}

// TestFailedSync is the lesson of fsync: what a failed one covered is gone, though the next one succeeds.
func TestFailedSync(t *testing.T) {
	disk := spooltest.New(1)
	var fail error
	began, goOn := make(chan bool), make(chan bool)
	disk.Fault = func(op spooltest.Op, _ string) error {
		if op != spooltest.Datasync || fail == nil {
			return nil
		}
		began <- true
		<-goOn
		return fail
	}
	d := spool.New(disk, "/")
	f, err := d.Create("a", -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, f, "durable", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	fail = syscall.EIO
	if err := put(t, f, "covered", 10); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if have, err := f.Sync(); !errors.Is(err, syscall.EIO) || have != nil {
			t.Error("the failed sync:", have, err)
		}
	})
	<-began
	h, err := f.Hold(context.Background(), 30, 37, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Put([]byte("halfway"), 30); err != nil {
		t.Fatal(err)
	}
	if err := put(t, f, "meanwhile", 20); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	wait.Wait()
	if err := h.Keep(); !errors.Is(err, spool.ErrLost) {
		t.Error("written before the failure, kept after it:", err)
	}
	h.Release()
	fail = nil
	if have, err := f.Sync(); err != nil || spool.Total(have) != 7 {
		t.Error("after the failure:", have, err)
	}
	if err := put(t, f, "COVERED", 10); err != nil {
		t.Error("what was lost cannot be written again:", err)
	}
	if have, err := f.Sync(); err != nil || spool.Total(have) != 14 {
		t.Error("written again:", have, err)
	}
	if got := disk.Crash().Content("a"); string(got[:17]) != "durable\x00\x00\x00COVERED" {
		t.Errorf("after the power cut: %q", got)
	}
}

// TestCreateFails: nothing is left behind.
func TestCreateFails(t *testing.T) {
	for _, op := range []spooltest.Op{spooltest.Create, spooltest.Allocate, spooltest.Datasync, spooltest.SyncDir} {
		disk := spooltest.New(1)
		disk.Fault = func(got spooltest.Op, _ string) error {
			if got == op {
				return syscall.ENOSPC
			}
			return nil
		}
		if _, err := spool.New(disk, "/").Create("a", 10); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", op, err)
		}
		if disk.Content("a") != nil {
			t.Errorf("%s left a file", op)
		}
	}
}

// TestPreallocated: the blocks are there before the bytes; and a large file is removed in steps.
func TestPreallocated(t *testing.T) {
	dir := t.TempDir()
	d, err := spool.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.Create("a", 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f.Allocated() == 0 {
		t.Skip("the file system of the folder for temporary files cannot set room aside")
	}
	var st unix.Stat_t
	if err := unix.Stat(d.Path("a"), &st); err != nil || st.Blocks*512 < 8<<20 {
		t.Errorf("%d bytes are set aside, %v", st.Blocks*512, err)
	}
	if err := os.Truncate(d.Path("a"), 5<<30); err != nil { // sparse
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Remove(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Error("removing went on after the end:", err)
	}
	if err := d.Remove(context.Background(), "a"); err != nil {
		t.Error(err)
	}
}

// TestNames: no name leads out of the folder, nor to something that is no file.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	d, err := spool.Open(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600), os.Mkdir(d.Path("folder"), 0o700),
		os.Symlink("../secret", d.Path("link")), os.Symlink("folder", d.Path("inside"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../secret", "link", "inside", "folder", "/etc/passwd", ".", ""} {
		if f, err := d.Open(name, nil); err == nil {
			f.Close()
			t.Errorf("%q was opened", name)
		}
	}
}

// FuzzExtents compares the algebra with one bit per byte.
func FuzzExtents(f *testing.F) {
	f.Add([]byte{0, 10, 20, 10, 9, 2, 130, 14, 5})
	f.Add([]byte{1, 1, 3, 1, 5, 1, 0, 200})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var have []spool.Extent
		var model [600]bool
		for ; len(ops) >= 2; ops = ops[2:] {
			from, n := int64(ops[0]&0x7f)*2, int64(ops[1])
			add := ops[0]&0x80 == 0
			switch {
			case add && n%2 == 0:
				have = spool.Insert(have, spool.Extent{From: from, To: from + n})
			case add:
				have = spool.Union(have, []spool.Extent{{From: from, To: from + n}})
			default:
				have = spool.Remove(have, from, from+n)
			}
			for i := from; i < from+n; i++ {
				model[i] = add
			}
			same(t, have, model[:])
		}
	})
}

func same(t *testing.T, have []spool.Extent, model []bool) {
	t.Helper()
	if !spool.Valid(have) {
		t.Fatalf("not valid: %v", have)
	}
	total := int64(0)
	for i, want := range model {
		at := int64(i)
		end, got := spool.Next(have, at, at+1)
		if got != want || end != at+1 || spool.Overlaps(have, at, at+1) != want || (spool.Reach(have, at) > at) != want {
			t.Fatalf("byte %d: %v, want %v, in %v", i, got, want, have)
		}
		if want {
			total++
		}
	}
	if spool.Total(have) != total {
		t.Fatalf("%d bytes, want %d", spool.Total(have), total)
	}
}
