// Package acceltest is for tests that run models: it opens the real ONNX
// Runtime, finds the test media, and writes small ONNX models to order.
package acceltest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/watchpost/watchpost/hw/accel"
)

// process is the one runtime of a test process.
var process = sync.OnceValues(func() (*accel.Runtime, error) { return accel.Open(Library()) })

// Library is the ONNX Runtime for tests: as accel.Find has it for the data
// folder of this checkout; "" when there is none.
func Library() string { return accel.Find(filepath.Join(root(), "data")) }

// Runtime opens the process's runtime, once; it stays open. The test is skipped
// when there is no library.
func Runtime(t testing.TB) *accel.Runtime {
	t.Helper()
	if Library() == "" {
		t.Skipf("no ONNX Runtime: run scripts/setup, or set %s", accel.LibraryEnv)
	}
	rt, err := process()
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// Media is the path of a file of the test media (folder WATCHPOST_MEDIA, or
// shared/media beside the checkout). The test is skipped when it is not there.
func Media(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("WATCHPOST_MEDIA")
	if dir == "" {
		dir = filepath.Join(root(), "..", "shared", "media")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test media %s: set WATCHPOST_MEDIA", name)
	}
	return path
}

// root is the folder of go.mod, above the test's.
func root() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}
