package health

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meterWithTraces runs a meter in real time until the test's end.
func meterWithTraces(t *testing.T, cfg Config) *Meter {
	t.Helper()
	cfg.TraceDir = filepath.Join(t.TempDir(), "traces")
	book := &logBook{}
	m, err := NewMeter(cfg, book.logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return m
}

func TestTraceByHand(t *testing.T) {
	for name, cfg := range map[string]Config{
		"with the recorder":    {Trace: time.Hour, Keep: 2},
		"without the recorder": {Keep: 2},
	} {
		t.Run(name, func(t *testing.T) {
			m := meterWithTraces(t, cfg)
			var last string
			for range 3 {
				path, err := m.TraceNow(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				last = path
			}
			all, err := m.Traces()
			if err != nil || len(all) != 4 {
				t.Fatalf("%v, %v: want two traces with their goroutines", all, err)
			}
			if !slices.ContainsFunc(all[:2], func(f Trace) bool { return f.Name == filepath.Base(last) }) {
				t.Errorf("the newest are %v, want %s", all[:2], last)
			}
			for _, f := range all {
				file, same, err := m.OpenTrace(f.Name)
				if err != nil || same != f || f.Loop != "" || time.Since(f.Taken) > time.Minute {
					t.Fatalf("%+v opened as %+v: %v", f, same, err)
				}
				data, err := io.ReadAll(file)
				file.Close()
				begin := []byte("asked for by hand\n")
				if f.Execution {
					begin = []byte("go 1.")
				}
				if err != nil || int64(len(data)) != f.Bytes || !bytes.HasPrefix(data, begin) {
					t.Errorf("%s: %d bytes, %v, begins %.20q", f.Name, len(data), err, data)
				}
			}
		})
	}
}

// Nothing but the tracer's own files is listed or opened.
func TestTracesAreNoWayIntoOtherFiles(t *testing.T) {
	m := meterWithTraces(t, Config{})
	dir := m.tracer.dir
	outside := filepath.Join(filepath.Dir(dir), "stall-20260102T030405.000-outside.txt")
	secret := filepath.Join(filepath.Dir(dir), "password")
	for path, text := range map[string]string{outside: "secret", secret: "secret", filepath.Join(dir, "notes.txt"): "mine"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := "stall-20260102T030405.000-link.txt"
	if err := os.Symlink(secret, filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	folder := "stall-20260102T030405.000-folder.txt"
	if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := "stall-20260102T030405.000-pipe.txt"
	if err := syscall.Mkfifo(filepath.Join(dir, pipe), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := m.Traces(); err != nil || len(all) != 0 {
		t.Errorf("listed %v, %v", all, err)
	}
	for _, name := range []string{
		"", ".", "..", "../password", "/etc/passwd", secret, "notes.txt", link, folder, pipe, "password",
		"../" + filepath.Base(outside), "stall-20260102T030405.000-a/../../password",
		"stall-20260102T030405.000-..%2fpassword.txt", "stall-20260102T030405.000-a.txt\x00",
		"stall-20260102T030405.000-a.txt\n", "stall-20269999T030405.000-a.txt", "stall-20260102T030405.000-gone.trace",
	} {
		f, _, err := m.OpenTrace(name)
		if err == nil {
			f.Close()
			t.Errorf("%q was opened", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, want fs.ErrNotExist", name, err)
		}
	}
}

func TestNoFolderNoTraces(t *testing.T) {
	m, err := NewMeter(Config{}, (&logBook{}).logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.TraceNow(t.Context()); !errors.Is(err, ErrNoTraces) {
		t.Errorf("by hand: %v", err)
	}
	if all, err := m.Traces(); err != nil || all != nil {
		t.Errorf("listed %v, %v", all, err)
	}
	if _, _, err := m.OpenTrace("stall-20260102T030405.000-a.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened: %v", err)
	}
}
