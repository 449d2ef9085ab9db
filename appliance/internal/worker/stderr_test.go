package worker

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// TestCrashDump has what a crashed worker writes: the reason and what led to it
// stay, the registers at the dump's end do not.
func TestCrashDump(t *testing.T) {
	for _, c := range []struct{ name, headline string }{
		{"in a C library", "SIGSEGV: segmentation violation"},
		{"in Go", "panic: runtime error: index out of range [3] with length 3"},
		{"in the runtime", "fatal error: all goroutines are asleep - deadlock!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			said := newTail(r, nil, slog.New(slog.DiscardHandler))
			go func() {
				for i := range 30 {
					fmt.Fprintf(w, "frame %d is late\n", i)
				}
				io.WriteString(w, "free(): invalid pointer\n"+c.headline+"\nPC=0x7f\n")
				for i := range 300 {
					fmt.Fprintf(w, "r%d 0x0\n", i)
				}
				w.Close()
			}()
			said.read()
			r.Close()
			lines, count := said.last()
			if len(lines) != tailLines || count != 333 {
				t.Errorf("%d of %d lines are kept", len(lines), count)
			}
			all := strings.Join(lines, "\n")
			if !strings.Contains(all, "free(): invalid pointer\n"+c.headline+"\nPC=0x7f\nr0 0x0") || strings.Contains(all, "r299") {
				t.Errorf("kept is:\n%s", all)
			}
			if got := link.LastWord(lines); got != c.headline {
				t.Errorf("the last word is %q", got)
			}
		})
	}
	if got := link.LastWord([]string{"first", "SIGN IN", "last"}); got != "last" {
		t.Errorf("the last word of a worker that did not crash is %q", got)
	}
}
