package boxtest

import (
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestPushAnalysedAsItArrives holds a push up half-way: what can be analysed by then
// is, and what cannot says why.
func TestPushAnalysedAsItArrives(t *testing.T) {
	b := start(t, quiet)
	for _, c := range []struct {
		file  string
		ready func(Job) bool
	}{
		{"car-detection.mp4", func(j Job) bool { return j.Status == "running" && j.Results > 0 && j.Streamed }},
		{"highway_asp.avi", func(j Job) bool { return j.Status == "running" && j.Results > 0 && j.Streamed }},
		{"bikes_bframes.mp4", func(j Job) bool {
			return j.Status == "waiting" && strings.Contains(j.Reason, "index at end: analysis starts after the last byte")
		}},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := media(t, "video/"+c.file)
			w := newWire(t, b, nil)
			w.limit.Store(sizeOf(t, path) * 2 / 3)
			out := filepath.Join(t.TempDir(), "out")
			var o outcome
			var running sync.WaitGroup
			running.Go(func() { o = push(t, memory(t), w.URL, "--no-video", "--out", out, path) })
			j := awaitJob(t, b, "something can be said of the first two thirds", func(j Job) bool { return j.Name == c.file && c.ready(j) })
			for _, u := range uploads(t, b) {
				if u.ID == j.Upload && u.Status != "receiving" {
					t.Errorf("the upload is %s already", u.Status)
				}
			}
			t.Logf("before the last byte: %s %q, %d results", j.Status, j.Reason, j.Results)
			w.limit.Store(noLimit)
			running.Wait()
			if o.code != 0 {
				t.Fatalf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
			}
			if s := results(t, filepath.Join(out, c.file), false); s.Ledger.Decoded == 0 {
				t.Error("no frames")
			}
			if j = awaitJob(t, b, "it is done", func(j Job) bool { return j.Name == c.file && j.Status == "done" }); j.Attempts != 1 {
				t.Errorf("it took %d attempts", j.Attempts)
			}
		})
	}
}

// TestJobThatKillsItsWorker has a file whose worker dies twice set aside, and nothing
// else notice.
func TestJobThatKillsItsWorker(t *testing.T) {
	b := start(t, quiet)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	cam := camera(t, b, "cam")
	path := media(t, "video/car-detection.mp4")
	w := newWire(t, b, nil)
	// The rest does not come before both workers are dead: they cannot be done sooner.
	w.limit.Store(sizeOf(t, path) * 2 / 3)
	var o outcome
	var running sync.WaitGroup
	running.Go(func() { o = push(t, memory(t), w.URL, "--wait", path) })
	killed := map[int]bool{}
	var j Job
	for len(killed) < 2 {
		j = awaitJob(t, b, "a worker is at it", func(j Job) bool {
			return j.Status == "running" && j.Worker != nil && j.Worker.PID > 0 && !killed[j.Worker.PID] && j.Results > 0
		})
		if err := syscall.Kill(j.Worker.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed[j.Worker.PID] = true
		if len(killed) == 1 {
			again := awaitJob(t, b, "it is tried again", func(j Job) bool { return j.Deaths == 1 })
			if !strings.Contains(again.Reason, "killed") {
				t.Errorf("after one death: %+v", again)
			}
		}
	}
	j = awaitJob(t, b, "it is set aside", func(j Job) bool { return j.Status == "set_aside" })
	t.Logf("%s", j.Reason)
	if oneLine(j.Reason) != nil || !strings.Contains(j.Reason, "died 2 times") || !strings.Contains(j.Reason, "killed") || j.Attempts != 2 {
		t.Errorf("%+v", j)
	}
	found := j.Results
	w.limit.Store(noLimit)
	running.Wait()
	if o.code != exitInput || !strings.Contains(o.stderr, "died 2 times") {
		t.Errorf("push: exit code %d: %s", o.code, o.stderr)
	}

	// Another file is analysed all the same, and the camera has noticed nothing.
	if o := push(t, memory(t), b.URL, "--wait", media(t, "video/rot_0.mov")); o.code != 0 {
		t.Errorf("another file: exit code %d: %s", o.code, o.stderr)
	}
	if now := camera(t, b, "cam"); now.Worker.PID != cam.Worker.PID || now.Restarts.Count != 0 || !playing(now) || now.Ledger.Decoded <= cam.Ledger.Decoded {
		t.Errorf("the camera was disturbed: %+v", now)
	}
	// What was found stays, and somebody may ask for it again.
	var lines []byte
	if err := b.Get(t.Context(), "/api/v1/jobs/"+j.ID+"/results", &lines); err != nil || uint64(strings.Count(string(lines), "\n")) != found {
		t.Errorf("%d lines of %d can be read: %v", strings.Count(string(lines), "\n"), found, err)
	}
	if res := tus(t, b, "POST", "/api/v1/jobs/"+j.ID+"/retry", nil, nil); res.StatusCode != 200 {
		t.Errorf("retry: %s: %s", res.Status, text(res))
	}
	j = awaitJob(t, b, "it is done when asked for again", func(j Job) bool { return j.Name == "car-detection.mp4" && j.Status == "done" })
	if j.Results < found || !j.Ledger.Balanced || j.Ledger.Decoded != 377 {
		t.Errorf("%+v", j)
	}
}
