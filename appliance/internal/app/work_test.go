package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// children are the processes that this one has started and not reaped.
func children(t *testing.T) []int {
	t.Helper()
	var pids []int
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread is gone
		}
		for _, s := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(s); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// analysis is a file's analysis into a new folder, with a registry of plugins
// that is there already.
func analysis(t *testing.T, file string) AnalyzeOptions {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	linkRegistry(t, data)
	return AnalyzeOptions{File: file, Out: filepath.Join(dir, "out"), Model: config.Motion, Threads: 1, DataDir: data, Quiet: true}
}

// linkRegistry spares a test the scan of GStreamer's plugins, which takes seconds.
func linkRegistry(t *testing.T, data string) {
	t.Helper()
	old := filepath.Join(filepath.Dir(acceltest.Library()), "..", "gst-registry.bin")
	if text, err := os.ReadFile(old); err == nil {
		if err := os.WriteFile(filepath.Join(data, "gst-registry.bin"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func holds(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestAnalyze(t *testing.T) {
	o := analysis(t, acceltest.Media(t, "video/h265_video.mp4"))
	if err := program(t.Output()).Analyze(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(results.Names()))
	if got := holds(t, o.Out); !slices.Equal(got, want) {
		t.Errorf("the results are %v, want %v", got, want)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestAnalyzeTellsKindsApart(t *testing.T) {
	video := acceltest.Media(t, "video/h265_video.mp4")
	text := filepath.Join(t.TempDir(), "text.mp4")
	if err := os.WriteFile(text, []byte(strings.Repeat("no video ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*AnalyzeOptions)
		want   error
	}{
		{"no video in it", func(o *AnalyzeOptions) { o.File = text }, ErrInput},
		{"no such model", func(o *AnalyzeOptions) { o.Model = "none" }, ErrModel},
		{"no such class", func(o *AnalyzeOptions) {
			if acceltest.Library() == "" {
				t.Skip("no ONNX Runtime: run scripts/setup")
			}
			t.Setenv("WATCHPOST_ORT_LIBRARY", acceltest.Library())
			o.Model, o.Classes = acceltest.Media(t, "models/yolox_nano.onnx"), []string{"persn"}
		}, ErrModel},
		{"results in the way", func(o *AnalyzeOptions) {
			if err := os.MkdirAll(filepath.Join(o.Out, "annotated.mp4", "full"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, ErrOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := analysis(t, video)
			c.change(&o)
			err := program(io.Discard).Analyze(t.Context(), o)
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want %v", err, c.want)
			}
			t.Log(err)
			for _, n := range holds(t, o.Out) {
				if strings.HasSuffix(n, ".part") || n == "summary.json" {
					t.Errorf("it left %s", n)
				}
			}
		})
	}
}

// An analysis whose worker is killed, or that is interrupted, leaves no half
// results and no process.
func TestAnalyzeThatEndsEarly(t *testing.T) {
	for _, how := range []string{"worker killed", "worker terminated", "interrupted"} {
		t.Run(how, func(t *testing.T) {
			o := analysis(t, acceltest.Media(t, "video/one-by-one-person-detection.mp4"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- program(io.Discard).Analyze(ctx, o) }()
			// Until it writes its picture.
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(filepath.Join(o.Out, "annotated.mp4.part")); err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("it does not begin")
				}
			}
			want := ErrInput
			switch how {
			case "interrupted":
				want = context.Canceled
				cancel()
			default:
				sig := syscall.SIGKILL
				if how == "worker terminated" {
					sig = syscall.SIGTERM
				}
				for _, pid := range children(t) {
					_ = syscall.Kill(pid, sig)
				}
			}
			select {
			case err := <-ended:
				if !errors.Is(err, want) {
					t.Errorf("it ended with %v, want %v", err, want)
				}
				t.Log(err)
			case <-time.After(10 * time.Second):
				t.Fatal("it does not end")
			}
			if got := holds(t, o.Out); len(got) > 0 {
				t.Errorf("it left %v", got)
			}
			if left := children(t); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

// The box on the scene that it draws itself: it plays, tells of itself, and ends
// without an error and without a process when it is told to.
func TestBox(t *testing.T) {
	cfg, err := Program{}.configure(RunOptions{Sources: []string{"demo:"}, Listen: "127.0.0.1:0", Model: config.Motion, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cfg.WebRTC.Listen = "127.0.0.1:0"
	linkRegistry(t, cfg.DataDir)
	b, err := program(t.Output()).newBox(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.run(ctx) }()
	url := "http://" + b.listener.Addr().String()
	get := func(path string) []byte {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s, %v\n%s", path, res.Status, err, body)
		}
		return body
	}
	id := cfg.Cameras[0].ID
	var c api.Camera
	for end := time.Now().Add(15 * time.Second); c.State != "playing" || c.Ledger.Inferred < 30; time.Sleep(50 * time.Millisecond) {
		if err := json.Unmarshal(get("/api/v1/cameras/"+id), &c); err != nil {
			t.Fatal(err)
		}
		if !c.Ledger.Balanced {
			t.Fatalf("the ledger does not balance: %+v", c.Ledger)
		}
		if time.Now().After(end) {
			t.Fatalf("it does not play: %+v", c)
		}
	}
	metrics := string(get("/metrics"))
	for _, want := range []string{
		fmt.Sprintf(`watchpost_camera_playing{camera=%q} 1`, id), `end="inferred"`, `watchpost_camera_frames_pending`, `watchpost_camera_worker_resident_bytes`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	get("/healthz")
	get("/readyz")
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("told to end, it fails: %v", err)
		}
	case <-time.After(8 * time.Second):
		t.Fatal("it does not end")
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}
