package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/gst/plan"
)

// resident is the process's memory in KiB.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

// Every picture and every pipeline must go when it is released, not when the
// collector gets to it.
func TestMemoryStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	file := filepath.Join(media(t), "video/highway_asp.avi")
	frames, early := 0, 0
	for i := range 30 {
		s := readAll(t, plan.Source{URL: file, Threads: 1})
		if s.err != nil {
			t.Fatal(s.err)
		}
		frames += s.frames
		if i == 9 {
			early = resident(t)
		}
	}
	late := resident(t)
	t.Logf("%d frames; resident %d KiB after a third, %d KiB at the end", frames, early, late)
	if late > early+8<<10 {
		t.Errorf("memory grew by %d KiB", late-early)
	}
}
