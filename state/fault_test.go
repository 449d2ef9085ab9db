package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A file system that is full: writes fail with ErrUnavailable, what was
// acknowledged can be read meanwhile, and writes work again once there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	// Registered before the database's own clean-up, so that it runs after it.
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d, _ := opened(t, Options{Path: filepath.Join(dir, "watchpost.db"), Keep: 1})
	fill(t, d)
	ballast := filepath.Join(dir, "ballast")
	acked := map[string]bool{}
	for round := range 3 {
		if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err == nil {
			t.Fatal("the file system has no end")
		}
		failed := 0
		for i := 0; failed < 5; i++ {
			id := fmt.Sprintf("x%d-%d", round, i)
			err := d.Uploads().Put(id, Upload{ID: id, Name: strings.Repeat("y", 3000)})
			switch {
			case err == nil:
				acked[id] = true
			case errors.Is(err, ErrUnavailable) && errors.Is(err, unix.ENOSPC):
				failed++
			default:
				t.Fatalf("a full disk gives %v, want ErrUnavailable and ENOSPC", err)
			}
			if i > 1000 {
				t.Fatal("the disk does not fill")
			}
			hasAll(t, d, acked)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("again%d", round)
		if err := d.Uploads().Put(id, Upload{ID: id}); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		acked[id] = true
		hasAll(t, d, acked)
	}
}

// hasAll checks that exactly those uploads, and the fixture's, are there.
func hasAll(t *testing.T, d *DB, acked map[string]bool) {
	t.Helper()
	all, err := d.Uploads().All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(acked)+40 {
		t.Fatalf("%d uploads are there, want %d", len(all), len(acked)+40)
	}
	for _, u := range all {
		if !acked[u.ID] && u.ID[:3] != "u00" {
			t.Fatalf("%s is there, though its write failed", u.ID)
		}
	}
}

// disk lets a test take the open database's file away under bbolt: its
// descriptor then belongs to something else.
type disk struct {
	t    *testing.T
	file *os.File
}

func (k *disk) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	k.file = f
	return f, err
}

func (k *disk) become(name string, flag int) {
	k.t.Helper()
	f, err := os.OpenFile(name, flag, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Dup3(int(f.Fd()), int(k.file.Fd()), unix.O_CLOEXEC); err != nil {
		k.t.Fatal(err)
	}
}

// Writes that the disk refuses, and writes that it swallows until the sync
// fails. The database opens the file anew by its name, where the disk is well.
func TestFailingDisk(t *testing.T) {
	for name, instead := range map[string]struct {
		name string
		flag int
		want error
	}{
		"writes refused":            {"/dev/full", os.O_RDWR, unix.ENOSPC},
		"writes swallowed, no sync": {"/dev/null", os.O_RDWR, unix.EINVAL},
		"read only":                 {"", os.O_RDONLY, unix.EBADF},
	} {
		t.Run(name, func(t *testing.T) {
			k := &disk{t: t}
			d, _ := opened(t, Options{Path: filepath.Join(t.TempDir(), "watchpost.db"), openFile: k.open})
			fill(t, d)
			for i := range 8 { // pages become free, so that the file need not grow
				if err := d.Uploads().Put("kept", Upload{ID: "kept", Size: int64(i)}); err != nil {
					t.Fatal(err)
				}
			}
			if instead.name == "" {
				instead.name = d.opt.Path
			}
			for round := range 3 {
				k.become(instead.name, instead.flag)
				err := d.Uploads().Put("lost", Upload{ID: "lost"})
				if !errors.Is(err, ErrUnavailable) || !errors.Is(err, instead.want) {
					t.Fatalf("round %d: %v, want ErrUnavailable and %v", round, err, instead.want)
				}
				if round == 0 {
					t.Log(err)
				}
				if _, ok, err := d.Uploads().Get("lost"); ok || err != nil {
					t.Fatalf("a write that failed is there: %v %v", ok, err)
				}
				if err := d.Uploads().Put("kept", Upload{ID: "kept", Size: int64(round)}); err != nil {
					t.Fatalf("the disk is well again: %v", err)
				}
			}
			if err := d.Uploads().Delete("kept"); err != nil {
				t.Fatal(err)
			}
			hasFixture(t, "after failed writes", d)
		})
	}
}

// A commit whose last sync failed: its meta page is in the system's cache and
// bbolt would go on from it, but its writer was told that it failed.
func TestUnsyncedCommitIsTakenBack(t *testing.T) {
	d, _ := opened(t, Options{Path: filepath.Join(t.TempDir(), "watchpost.db")})
	fill(t, d)
	for range 3 {
		err := d.bolt.Update(func(tx *bolt.Tx) error {
			return in[Upload](Tx{&txn{bolt: tx}}, bucketUploads).Put("ghost", Upload{ID: "ghost"})
		})
		if err != nil {
			t.Fatal(err)
		}
		d.mend(unix.EIO)
		if _, ok, err := d.Uploads().Get("ghost"); ok || err != nil {
			t.Fatalf("the commit whose sync failed is there: %v %v", ok, err)
		}
		hasFixture(t, "taken back", d)
		if err := d.Jobs().Put("j1", Job{ID: "j1"}); err != nil {
			t.Fatal(err)
		}
		if err := d.Jobs().Delete("j1"); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that cannot be opened again is tried again until it can.
func TestFileAwayForAWhile(t *testing.T) {
	d, _ := opened(t, Options{Path: filepath.Join(t.TempDir(), "watchpost.db")})
	fill(t, d)
	away := d.opt.Path + ".away"
	if err := os.Rename(d.opt.Path, away); err != nil {
		t.Fatal(err)
	}
	d.mend(unix.EIO)
	if err := d.Uploads().Put("x", Upload{}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("write: %v, want ErrUnavailable", err)
	}
	if _, err := d.Jobs().All(); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("read: %v, want ErrUnavailable", err)
	}
	if err := os.Rename(away, d.opt.Path); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := d.Jobs().All(); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the file is back, and is not used")
		}
	}
	hasFixture(t, "back again", d)
}
