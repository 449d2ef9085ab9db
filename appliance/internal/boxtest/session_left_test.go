package boxtest

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// gone is how long a session may take to leave nothing behind, once its peer is lost.
const gone = 5 * time.Second

// footprint is what a box has of the machine.
type footprint struct {
	processes  []int
	sockets    int // of the control process, HTTP connections left out
	files      []string
	goroutines int
}

func footprintOf(t *testing.T, b *Box) footprint {
	t.Helper()
	// A connection that idles has goroutines of its own at the box.
	http.DefaultClient.CloseIdleConnections()
	f := footprint{processes: b.Processes(), goroutines: metric(t, b, "go_goroutines")}
	slices.Sort(f.processes)
	inodes := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
			inodes[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	// Ports: what listens and every UDP socket. Connections of HTTP come and go.
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", b.PID(), table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const state, inode, listening = 3, 9, "0A"
			col := strings.Fields(line)
			if len(col) > inode && inodes[col[inode]] && (strings.HasPrefix(table, "udp") || col[state] == listening) {
				f.sockets++
			}
		}
	}
	err = filepath.WalkDir(b.Data, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(b.Data, path)
		if err == nil && !e.IsDir() && !strings.HasPrefix(rel, "state") && !strings.HasPrefix(rel, "traces") && rel != "hardware.json" {
			f.files = append(f.files, rel)
		}
		return nil // a file that goes while we look is what we want
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// again waits until a box has no more of the machine than at the time of f.
func (f footprint) again(t *testing.T, b *Box) {
	t.Helper()
	f.within(t, b, gone)
}

func (f footprint) within(t *testing.T, b *Box, limit time.Duration) time.Duration {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		now := footprintOf(t, b)
		// The request for the figure, its connection, a timer: a handful.
		if slices.Equal(now.processes, f.processes) && now.sockets <= f.sockets && slices.Equal(now.files, f.files) && now.goroutines <= f.goroutines+8 {
			return time.Since(begun)
		}
		if time.Since(begun) > limit {
			t.Errorf("%v after the end, the box has %+v; it was %+v", limit, now, f)
			for _, pid := range now.processes {
				if !slices.Contains(f.processes, pid) {
					t.Logf("%d: %s", pid, commandLine(pid))
				}
			}
			return limit
		}
	}
}

// metric reads one number without labels.
func metric(t *testing.T, b *Box, name string) int {
	t.Helper()
	var text []byte
	if err := b.Get(t.Context(), "/metrics", &text); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("/metrics has no %s", name)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

// rss is the resident memory of a process, bytes.
func rss(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// workers are the processes that a box has and had not.
func (f footprint) workers(b *Box) []int {
	return slices.DeleteFunc(b.Processes(), func(pid int) bool { return slices.Contains(f.processes, pid) })
}
