package livebench

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if IsClient() {
		os.Exit(ClientMain())
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	o := Options{Viewers: 4, Measure: time.Second}
	if n, err := strconv.Atoi(os.Getenv("WATCHPOST_BENCH_VIEWERS")); err == nil {
		o.Viewers, o.Measure = n, 10*time.Second
	}
	o.TCP = os.Getenv("WATCHPOST_BENCH_TCP") != ""
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("CPU %v per viewer and second (%v over %v); memory %d KiB per viewer (peak %d), heap %d KiB, %.1f goroutines",
		r.CPUPerViewer, r.CPU, r.BaseCPU, r.MemoryPerViewer>>10, r.PeakMemoryPerViewer>>10, r.HeapPerViewer>>10, r.GoroutinesPerViewer)
	t.Logf("%+v", r)
	want := float64(r.Viewers) * 2e6
	if r.ReceivedBitrate < 0.8*want || r.Lost > int64(r.ReceivedUnits)/10 {
		t.Errorf("viewers got %.0f bit/s of %.0f, %d packets lost", r.ReceivedBitrate, want, r.Lost)
	}
}
