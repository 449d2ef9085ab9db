package app

import (
	"log/slog"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The slice is shortened, and nothing else changes.
func TestWakeSooner(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	wakeSooner(slog.New(slog.NewTextHandler(t.Output(), nil)))
	after, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if after.Policy != before.Policy || after.Nice != before.Nice {
		t.Errorf("%+v became %+v", before, after)
	}
	if after.Runtime == 0 {
		t.Skip("this kernel has no slices to be set (Linux 6.12 and later do)")
	}
	if after.Runtime != uint64(controlSlice) {
		t.Errorf("the slice is %d ns", after.Runtime)
	}
}
