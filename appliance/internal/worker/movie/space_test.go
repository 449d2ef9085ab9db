package movie

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk without room, as a bound on the size of files plays it: what was
// committed stays whole, and can be finished once there is room.
func TestNoSpace(t *testing.T) {
	signal.Ignore(unix.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(unix.SIGXFSZ) })
	units, _ := made(rand.New(rand.NewPCG(3, 3)), 300, false)
	path := filepath.Join(t.TempDir(), "growing")
	w, err := Create(path, Video{640, 352})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, units[:100])
	m, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	bound := func(n uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: before.Max}); err != nil {
			t.Skip("files cannot be bounded here: ", err)
		}
	}
	defer bound(before.Cur)
	bound(uint64(m.Bytes) + 1000)
	for _, u := range units[100:] {
		if err = w.Write(u); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EFBIG) {
		t.Fatalf("it wrote on: %v", err)
	}
	if _, err := w.Commit(); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a commit after that: %v", err)
	}
	w.Close()
	if st, err := os.Stat(path); err != nil || st.Size() < m.Bytes {
		t.Fatalf("the committed part is gone: %v", err)
	}
	if w, err = Reopen(path, m); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	bound(uint64(m.Bytes) / 2)
	if err := w.Finish(t.Context(), path+".mp4"); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a finish without room: %v", err)
	}
	if _, err := os.Stat(path + ".mp4"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it left a file: %v", err)
	}
	bound(before.Cur)
	if err := w.Finish(t.Context(), path+".mp4"); err != nil {
		t.Errorf("a finish with room again: %v", err)
	}
}
