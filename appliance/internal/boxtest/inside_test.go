package boxtest

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const exitState = 8

// fetch gets a page of the box as it is.
func fetch(t *testing.T, url string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// awaitLog waits until the box has logged a text n times.
func awaitLog(t *testing.T, b *Box, text string, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); strings.Count(b.Log(), text) < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the box did not log %q %d times", text, n)
		}
	}
}

const demoCamera = "models: {default: motion}\ncameras:\n  - {id: yard, source: \"demo:\"}\n"

// TestOperatorsSignals has SIGUSR1 leave a trace that can be downloaded, and SIGUSR2
// switch debug logging, and neither end anything, whoever of the box is signalled.
func TestOperatorsSignals(t *testing.T) {
	b := start(t, demoCamera)
	before := await(t, b, "yard", 40*time.Second, "plays", playing)
	signalAll := func(s syscall.Signal) {
		for _, pid := range append(b.Processes(), b.PID()) {
			if err := syscall.Kill(pid, s); err != nil && err != syscall.ESRCH {
				t.Fatal(err)
			}
		}
	}
	signalAll(syscall.SIGUSR1)
	awaitLog(t, b, "trace written as asked for by SIGUSR1", 1)
	signalAll(syscall.SIGUSR2)
	awaitLog(t, b, "debug logging is on", 1)
	signalAll(syscall.SIGUSR2)
	awaitLog(t, b, "debug logging is off", 1)

	_, text := fetch(t, b.URL+"/api/v1/traces")
	var all struct {
		Traces []struct{ Name, Kind, Loop string }
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range all.Traces {
		if f.Loop != "" {
			continue // this machine held a loop up
		}
		status, data := fetch(t, b.URL+"/api/v1/traces/"+f.Name)
		begin := map[string]string{"trace": "go 1.", "goroutines": "asked for by hand"}[f.Kind]
		if status != http.StatusOK || !strings.HasPrefix(data, begin) {
			t.Errorf("%s: %d, %.20q", f.Name, status, data)
		}
		found[f.Kind] = true
	}
	if !found["trace"] || !found["goroutines"] {
		t.Errorf("asked for by hand, and listed: %s", text)
	}
	for _, name := range []string{"..%2fpassword", "%2e%2e/password", "..%2f..%2f..%2fetc%2fpasswd", "stall-20260102T030405.000-..%2fpassword.txt"} {
		if status, data := fetch(t, b.URL+"/api/v1/traces/"+name); status == http.StatusOK || strings.Contains(data, "root:") {
			t.Errorf("%s: %d %.60s", name, status, data)
		}
	}
	after := await(t, b, "yard", 20*time.Second, "plays", playing)
	if after.Worker.PID != before.Worker.PID || after.Restarts.Count != 0 {
		t.Errorf("the worker was %d and is %d after %d restarts", before.Worker.PID, after.Worker.PID, after.Restarts.Count)
	}
}

// TestDebugCommand looks into a real box over its socket, and finds no way to do so
// over the network, nor into one that is gone.
func TestDebugCommand(t *testing.T) {
	dir := t.TempDir()
	b, err := kit(t).Start(t.Context(), Config{Dir: dir, YAML: demoCamera})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	await(t, b, "yard", 40*time.Second, "plays", playing)
	if o := program(t, time.Minute, "debug", "goroutines", "--data", b.Data); o.code != 0 || !strings.Contains(o.stdout, "goroutine profile: total") || !strings.Contains(o.stdout, "internal/camera") {
		t.Errorf("goroutines: %d: %s %.300s", o.code, o.stderr, o.stdout)
	}
	out := filepath.Join(t.TempDir(), "cpu.pprof")
	if o := program(t, time.Minute, "debug", "cpu", "--seconds", "1", "--out", out, "--data", b.Data); o.code != 0 || !strings.Contains(o.stdout, "go tool pprof "+out) {
		t.Errorf("cpu: %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if info, err := os.Stat(out); err != nil || info.Size() < 100 {
		t.Errorf("cpu: %v, %v", info, err)
	}
	for _, path := range []string{
		"/debug/pprof/", "/debug/pprof/profile?seconds=1", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/trace?seconds=1",
		"/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/vars", "/cpu?seconds=1", "/heap", "/goroutines", "/trace", "/api/v1/debug/heap",
	} {
		if status, text := fetch(t, b.URL+path); status != http.StatusNotFound || strings.Contains(text, "goroutine") {
			t.Errorf("%s over the network: %d %.100s", path, status, text)
		}
	}

	// A second box has no business in this one's folder.
	o := program(t, time.Minute, "run", "--data", b.Data, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--source", "demo:", "--model", "motion")
	if o.code != exitState || !strings.Contains(o.stderr, "another box runs with the data folder "+b.Data) {
		t.Errorf("a second box: %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if o := program(t, time.Minute, "debug", "heap", "--out", out, "--data", b.Data); o.code != 0 {
		t.Errorf("after a second box was refused: %d: %s", o.code, o.stderr)
	}

	// One that was killed leaves its socket; the next one takes its place.
	b.Kill()
	if _, err := os.Lstat(filepath.Join(b.Data, "debug.sock")); err != nil {
		t.Error(err)
	}
	if o := program(t, time.Minute, "debug", "heap", "--data", b.Data); o.code != exitBox || !strings.Contains(o.stderr, "no box runs with the data folder") {
		t.Errorf("a killed box: %d: %s", o.code, o.stderr)
	}
	again := startIn(t, Config{Dir: dir, YAML: demoCamera})
	if o := program(t, time.Minute, "debug", "heap", "--out", out, "--data", again.Data); o.code != 0 {
		t.Errorf("after a killed box: %d: %s", o.code, o.stderr)
	}
}
