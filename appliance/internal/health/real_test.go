package health

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// blockHere is looked for in the goroutine dump.
//
//go:noinline
func blockHere(d time.Duration) { time.Sleep(d) }

// TestRealStall blocks a real loop for real: the warning, the metric and the
// trace must all be there, and name the loop.
func TestRealStall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "traces")
	book := &logBook{}
	reg := prometheus.NewRegistry()
	m, err := NewMeter(Config{Trace: 250 * time.Millisecond, TraceDir: dir, Keep: 2, TraceEvery: time.Millisecond}, book.logger(), reg)
	if err != nil {
		t.Fatal(err)
	}
	// What a crash left in the middle of a trace goes away.
	if err := os.WriteFile(filepath.Join(dir, "stall-20200101T000000.000-gone.txt.part"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	stopped, cancel := context.WithCancel(t.Context())
	go func() { ended <- m.Run(stopped) }()
	defer cancel()
	work := make(chan func())
	defer close(work)
	l := m.Loop("camera/front door")
	go serve(l, work)
	waitFor(t, "the loop to tick", func() bool { return l.delay.quantile(1) > 0 || l.due.Load() > 0 })

	for n := uint64(1); n <= 3; n++ {
		work <- func() { blockHere(700 * time.Millisecond) }
		waitFor(t, "the trace", func() bool { return m.tracer.written.Load() >= n })
		ticks := ticksOf(l)
		waitFor(t, "the loop to go on", func() bool { return ticksOf(l) >= ticks+2 })
	}
	waitFor(t, "the warning", func() bool { return strings.Contains(book.String(), "control loop stalled") })
	if s := book.String(); !strings.Contains(s, `loop="camera/front door"`) || !strings.Contains(s, "trace of a stall written") {
		t.Errorf("log:\n%s", s)
	}

	hist, stalls := gathered(t, reg, "watchpost_loop_delay_seconds"), gathered(t, reg, "watchpost_loop_stalls_total")
	h := hist["camera/front door"].GetHistogram()
	if h.GetSampleCount() == 0 || h.GetSampleSum() < 1 {
		t.Errorf("histogram %v", h)
	}
	if n := stalls["camera/front door"].GetCounter().GetValue(); n < 3 {
		t.Errorf("%g stalls", n)
	}
	if got := gathered(t, reg, "watchpost_loop_delay_max_seconds")["camera/front door"].GetGauge().GetValue(); got < 0.5 || got > 30 {
		t.Errorf("longest delay %g s", got)
	}
	if hist["runtime"] == nil {
		t.Error("the runtime's own delay is not measured")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	checkTraces(t, dir)
}

// checkTraces looks at what was left: as many as are kept, whole, and of use.
func checkTraces(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// A busy machine holds up the runtime's loop as well: only the dumps of
	// the loop that was blocked show where.
	var traces, dumps, named int
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Ext(path) {
		case ".trace":
			traces++
			if !bytes.HasPrefix(data, []byte("go 1.")) || !bytes.HasPrefix(data[8:], []byte("trace\x00")) || len(data) < 1000 {
				t.Errorf("%s: %d bytes, begins with %q", f.Name(), len(data), data[:min(len(data), 16)])
			}
			if traces == 1 {
				readByTool(t, path)
			}
		case ".txt":
			dumps++
			if !strings.HasSuffix(f.Name(), "-camera_front_door.txt") {
				continue
			}
			named++
			if !bytes.Contains(data, []byte("health.blockHere")) {
				t.Errorf("%s does not show where the loop hangs:\n%s", f.Name(), data)
			}
		default:
			t.Errorf("left over: %s", f.Name())
		}
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info, err)
		}
	}
	if traces != 2 || dumps != 2 || named == 0 {
		t.Errorf("%d traces and %d dumps, want 2 of each; %d of the blocked loop", traces, dumps, named)
	}
}

// readByTool gives a trace to the program that an operator would use.
func readByTool(t *testing.T, path string) {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Log("no go command here: the trace is not read by go tool trace")
		return
	}
	out, err := exec.CommandContext(t.Context(), goTool, "tool", "trace", "-d=parsed", path).CombinedOutput()
	if err != nil {
		t.Errorf("go tool trace: %v\n%.500s", err, out)
	}
	if !bytes.Contains(out, []byte("health.blockHere")) {
		t.Errorf("the trace of %d bytes of text does not show the stall", len(out))
	}
}

func ticksOf(l *Loop) uint64 {
	n, _, _ := l.delay.export()
	return n
}

func gathered(t *testing.T, reg prometheus.Gatherer, name string) map[string]*dto.Metric {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]*dto.Metric)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			found[m.GetLabel()[0].GetValue()] = m
		}
	}
	return found
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}
