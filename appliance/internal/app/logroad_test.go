package app

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// gate is a reader of the log that has stopped until it is opened.
type gate struct {
	opened chan struct{}
	mu     sync.Mutex
	lines  []string
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.opened
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines = append(g.lines, string(p))
	return len(p), nil
}

// A reader that has stopped holds nobody up who logs; what it missed is said when it
// goes on.
func TestLogWaitsForNoReader(t *testing.T) {
	g := &gate{opened: make(chan struct{})}
	var q queue.Registry
	road := newLogRoad(g, "text", &q)
	log := newLogger(road, slog.LevelInfo, "text")
	log.Info("line", "n", 0)
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited 20 s for %s", what)
			}
		}
	}
	until("the first line to be on its way", func() bool { return len(road.lines) == 0 })
	const lost = 500
	for i := range logLines + lost { // returns, though nobody reads
		log.Info("line", "n", i+1)
	}
	if f := q.Figures(); len(f) != 1 || f[0].Depth != logLines || f[0].Dropped != lost {
		t.Fatalf("while nobody reads: %+v", f)
	}
	close(g.opened)
	until("the rest to go out", func() bool { return len(road.lines) == 0 })
	log.Info("again")
	road.Close()
	road.Close()
	log.Info("afterwards")
	for i, line := range g.lines {
		want := fmt.Sprintf(" n=%d\n", i)
		switch i - logLines {
		case 1:
			want = fmt.Sprintf("lines of the log are missing: whoever reads it was too slow\" lines=%d\n", lost)
		case 2:
			want = "msg=again\n"
		case 3:
			want = "msg=afterwards\n"
		}
		if !strings.HasSuffix(line, want) {
			t.Fatalf("line %d is %q, want %q", i, line, want)
		}
	}
	if len(g.lines) != logLines+4 {
		t.Errorf("%d lines", len(g.lines))
	}
	if f := q.Figures(); f[0].Instances != 0 {
		t.Errorf("after Close: %+v", f)
	}
}

// A box whose log nobody reads goes down all the same.
func TestLogIsGivenUpAtTheEnd(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	road := newLogRoad(write, "text", nil)
	line := []byte(strings.Repeat("x", 1000) + "\n")
	for range 2 * logLines {
		if n, err := road.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	began := time.Now()
	road.Close()
	if took := time.Since(began); took < logFlush/2 || took > logFlush+20*time.Second {
		t.Errorf("it took %s", took)
	}
	read.Close() // ends the write that hangs
	<-road.ended
	write.Close()
}
