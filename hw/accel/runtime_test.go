package accel_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// TestOpenSaysWhatToDo runs in a process of its own: in this one another test
// may have opened the runtime already.
func TestOpenSaysWhatToDo(t *testing.T) {
	if os.Getenv("WATCHPOST_TEST_OPEN") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOpenSaysWhatToDo$", "-test.v")
		cmd.Env = append(os.Environ(), "WATCHPOST_TEST_OPEN=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	garbage := filepath.Join(dir, "libonnxruntime.so.1")
	if err := os.WriteFile(garbage, []byte("not a library, but long enough to look at: "+strings.Repeat("x", 4096)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		is         error
		says       string
	}{
		{"none", "", accel.ErrNoLibrary, "scripts/setup"},
		{"missing", filepath.Join(dir, "nothing.so"), accel.ErrNoLibrary, "nothing.so"},
		{"folder", dir, accel.ErrLibrary, "not a file"},
		{"garbage", garbage, accel.ErrLibrary, "does not load on this machine"},
		{"another library", libm(), accel.ErrLibrary, "not ONNX Runtime"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name != "none" && c.path == "" {
				t.Skip("no libm.so.6 at a known place")
			}
			_, err := accel.Open(c.path)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Open(%q) = %v, want %v saying %q", c.path, err, c.is, c.says)
			}
		})
	}
}

func libm() string {
	for _, p := range []string{"/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

func TestFind(t *testing.T) {
	t.Setenv(accel.LibraryEnv, "/set/by/hand.so")
	if got := accel.Find("/data"); got != "/set/by/hand.so" {
		t.Errorf("Find = %q: the setting was passed over", got)
	}
	t.Setenv(accel.LibraryEnv, "")
	dir := t.TempDir()
	lib := filepath.Join(dir, "lib", "libonnxruntime.so.1")
	if got := accel.Find(dir); got == lib {
		t.Errorf("Find = %q, which is not there", got)
	}
	if err := errors.Join(os.Mkdir(filepath.Dir(lib), 0o755), os.WriteFile(lib, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if got := accel.Find(dir); got != lib {
		t.Errorf("Find = %q, want %q", got, lib)
	}
}

func TestProviders(t *testing.T) {
	rt := acceltest.Runtime(t)
	got := rt.Providers()
	if len(got) == 0 || got[len(got)-1] != accel.CPU {
		t.Fatalf("Providers() = %v, want CPU last", got)
	}
	for _, r := range rt.Refusals() {
		if r.Reason == "" || slices.Contains(got, r.Provider) {
			t.Errorf("refusal %+v", r)
		}
		t.Logf("refused %s: %s", r.Provider, r.Reason)
	}
	t.Logf("ONNX Runtime %s: %v", rt.Version(), got)
	if _, err := accel.Open(rt.Library()); !errors.Is(err, accel.ErrOpen) {
		t.Errorf("second Open: %v, want ErrOpen", err)
	}
}

// The runtime keeps no files of its own about the machine and its user, which is how
// its telemetry shows even where there is no network. A process of its own has a home
// of its own.
func TestRuntimeTellsNobody(t *testing.T) {
	library := acceltest.Library()
	if library == "" {
		t.Skipf("no ONNX Runtime: run scripts/setup, or set %s", accel.LibraryEnv)
	}
	if os.Getenv("WATCHPOST_TEST_TELLS") != "" {
		rt, err := accel.Open(library)
		if err != nil {
			t.Fatal(err)
		}
		if err := rt.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	home := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRuntimeTellsNobody$")
	cmd.Env = append(os.Environ(), "WATCHPOST_TEST_TELLS=1", "HOME="+home, "XDG_CACHE_HOME=", accel.LibraryEnv+"="+library)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("it left %v in its user's home (%v)", left, err)
	}
	if _, err := os.Stat(fmt.Sprintf("/tmp/mat-debug-%d.log", cmd.Process.Pid)); err == nil {
		t.Error("its telemetry wrote a log")
	}
}
