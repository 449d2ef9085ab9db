package engine

import (
	"os"
	"path/filepath"
	"testing"
)

// media is the folder of the test media; the test is skipped without it.
func media(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("WATCHPOST_MEDIA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.mod above the test: cannot tell where the test media are")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(filepath.Dir(dir), "shared", "media")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("test media are missing: set WATCHPOST_MEDIA to their folder")
	}
	return dir
}
