package boxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

// TestKilledWorker kills a camera's worker under a viewer.
func TestKilledWorker(t *testing.T) {
	source := rtspCamera(t, clip(t, 640, 360), RTSPConfig{})
	b := start(t, fmt.Sprintf(`
models: {default: motion}
cameras:
  - {id: victim, source: "%s"}
  - {id: other, source: "test:ball", capture: {width: 320, height: 240, fps: 30}}
`, source.URL("", "")))
	v := watch(t, b, "victim", viewer.Options{})
	other := watch(t, b, "other", viewer.Options{})
	await(t, b, "victim", 20*time.Second, "plays", playing)
	neighbour := await(t, b, "other", 20*time.Second, "plays", playing)
	more(t, v, 60, 20*time.Second, "pictures of the victim")
	more(t, other, 60, 20*time.Second, "pictures of the other")

	quickest := time.Hour
	for round := range 3 {
		before := camera(t, b, "victim")
		undisturbed := camera(t, b, "other")
		packets := other.Stats()
		killed := time.Now()
		if err := syscall.Kill(before.Worker.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s := seen(t, v, 10*time.Second, "a picture after the kill", func(s viewer.Stats) bool { return s.LastUnit.After(killed.Add(50 * time.Millisecond)) })
		took := s.LastUnit.Sub(killed)
		t.Logf("round %d: the next picture came %v after the kill", round, took.Round(time.Millisecond))
		quickest = min(quickest, took)
		after := await(t, b, "victim", 10*time.Second, "plays with another worker", func(c Camera) bool { return playing(c) && c.Worker.PID != before.Worker.PID })
		if after.Ledger.Decoded < before.Ledger.Decoded {
			t.Errorf("the ledger went back from %d decoded frames to %d", before.Ledger.Decoded, after.Ledger.Decoded)
		}
		balanced(t, after)
		if after.Restarts.Count != before.Restarts.Count+1 {
			t.Errorf("%d restarts after %d", after.Restarts.Count, before.Restarts.Count)
		}
		if !strings.Contains(after.Restarts.Exit, "killed") {
			t.Errorf("the exit is told as %q", after.Restarts.Exit)
		}
		more(t, v, 30, 10*time.Second, "pictures of the new worker")

		now := camera(t, b, "other")
		if now.Worker.PID != undisturbed.Worker.PID || now.Restarts.Count != 0 {
			t.Errorf("the other camera's worker was %d and is %d", undisturbed.Worker.PID, now.Worker.PID)
		}
		then := other.Stats()
		if then.Lost != packets.Lost || then.Damaged != packets.Damaged {
			t.Errorf("the other viewer lost packets: %+v, before %+v", then, packets)
		}
		balanced(t, now)
	}
	// A round may take as long as a machine with other things to do makes it, but
	// not all of them.
	if quickest > 2*time.Second {
		t.Errorf("the viewer waited for %v at least", quickest)
	}
	if neighbour.Since != camera(t, b, "other").Since {
		t.Error("the other camera did not play all the while")
	}
	s := v.Stats()
	if s.Lost != 0 || s.Damaged != 0 {
		t.Errorf("the viewer lost packets: %+v", s)
	}
}

// TestWorkerThatCannotLive has a camera whose worker comes to nothing each time,
// beside one that works.
func TestWorkerThatCannotLive(t *testing.T) {
	needModel(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := kit(t).Data(data); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(data, "models", Model, "model.onnx")
	if _, err := os.Stat(garbage); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbage, []byte("this is no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startIn(t, Config{Dir: dir, YAML: `
cameras:
  - {id: sick, source: "test:ball", model: yolox-nano, capture: {width: 320, height: 240, fps: 15}}
  - {id: well, source: "test:ball", model: motion, capture: {width: 320, height: 240, fps: 15}}
`})
	v := watch(t, b, "sick", viewer.Options{})
	well := watch(t, b, "well", viewer.Options{})
	await(t, b, "well", 20*time.Second, "plays", playing)
	pid := camera(t, b, "well").Worker.PID
	c := await(t, b, "sick", 20*time.Second, "is given up for now", func(c Camera) bool {
		return (c.State == "offline" || c.State == "failing") && c.Restarts.Count >= 2
	})
	t.Logf("%s: %s", c.State, c.Reason)
	if err := oneLine(c.Reason); err != nil || !strings.Contains(c.Reason, "model") {
		t.Errorf("the reason: %q: %v", c.Reason, err)
	}
	more(t, v, 3, 20*time.Second, "the slate of the camera that cannot play")
	more(t, well, 30, 20*time.Second, "pictures of the other")
	if now := camera(t, b, "well"); now.Worker.PID != pid || now.Restarts.Count != 0 {
		t.Errorf("the other camera was disturbed: %+v", now)
	}
}

// TestCrashLoop has workers that die of a signal as soon as they start, as of a
// fault in a library.
func TestCrashLoop(t *testing.T) {
	b := start(t, `
cameras:
  - {id: doomed, source: "test:ball", model: motion, capture: {width: 320, height: 240, fps: 15}}
  - {id: well, source: "test:ball", model: motion, capture: {width: 320, height: 240, fps: 15}}
`)
	well := watch(t, b, "well", viewer.Options{})
	pid := await(t, b, "well", 20*time.Second, "plays", playing).Worker.PID
	await(t, b, "doomed", 20*time.Second, "plays", playing)
	// Whatever comes up for that camera is aborted at once, until it is reported.
	deaths, last := 0, 0
	seen := map[int]time.Time{}
	var c Camera
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		for _, p := range b.Processes() {
			if _, ok := seen[p]; !ok {
				seen[p] = time.Now()
			}
			// A process that has no runtime yet would die without a word.
			if p != pid && p != last && time.Since(seen[p]) > 60*time.Millisecond {
				// The runtime writes its stacks and dies, as of a crash.
				if syscall.Kill(p, syscall.SIGABRT) == nil {
					deaths++
					last = p
				}
			}
		}
		if c = camera(t, b, "doomed"); c.State == "failing" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after %d deaths it is %s: %s", deaths, c.State, c.Reason)
		}
	}
	t.Logf("after %d deaths: %s", deaths, c.Reason)
	// A dump ends with registers; its beginning is what tells.
	if said := strings.Join(c.Restarts.Stderr, "\n"); !strings.Contains(said, "SIGABRT") {
		t.Errorf("what the worker last said does not tell why it died:\n%s", said)
	}
	if err := oneLine(c.Reason); err != nil {
		t.Errorf("the reason: %v", err)
	}
	more(t, well, 30, 10*time.Second, "pictures of the other")
	if now := camera(t, b, "well"); now.Worker.PID != pid || now.Restarts.Count != 0 {
		t.Errorf("the other camera was disturbed: %+v", now)
	}
	if s := well.Stats(); s.Lost != 0 {
		t.Errorf("the other viewer lost packets: %+v", s)
	}
	await(t, b, "doomed", 40*time.Second, "plays again by itself", playing)
}

// TestKilledControlProcess leaves the workers without a parent.
func TestKilledControlProcess(t *testing.T) {
	dir := t.TempDir()
	conf := Config{Dir: dir, YAML: `
models: {default: motion}
cameras:
  - {id: a, source: "test:ball", capture: {width: 320, height: 240, fps: 15}}
  - {id: b, source: "demo:"}
`}
	b, err := kit(t).Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Log(b.Log())
		}
	}()
	await(t, b, "a", 20*time.Second, "plays", playing)
	await(t, b, "b", 20*time.Second, "plays", playing)
	if n := len(b.Processes()); n < 2 {
		t.Fatalf("%d workers", n)
	}
	b.Kill()
	killed := time.Now()
	for len(b.Processes()) > 0 {
		if time.Since(killed) > 2*time.Second {
			t.Fatalf("%d workers are left %v after the control process was killed", len(b.Processes()), time.Since(killed))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("all workers were gone %v after", time.Since(killed).Round(time.Millisecond))

	// The same data folder serves the next one.
	b = startIn(t, conf)
	await(t, b, "a", 20*time.Second, "plays after the crash", playing)
}

// TestStops has the box end in order on one signal, and at once on two.
func TestStops(t *testing.T) {
	dir := t.TempDir()
	conf := Config{Dir: dir, YAML: "cameras:\n  - {id: a, source: 'test:ball', model: motion, capture: {width: 320, height: 240, fps: 15}}\n"}
	k := kit(t)
	b, err := k.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	v := watch(t, b, "a", viewer.Options{})
	more(t, v, 5, 20*time.Second, "pictures")
	asked := time.Now()
	if err := b.Stop(); err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}
	t.Logf("one SIGTERM: gone after %v", time.Since(asked).Round(time.Millisecond))
	seen(t, v, 15*time.Second, "the viewer hears of it", func(s viewer.Stats) bool {
		return s.State.String() == "closed" || s.State.String() == "failed" || s.State.String() == "disconnected"
	})

	// A new viewer of a new process.
	if b, err = k.Start(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	again := watch(t, b, "a", viewer.Options{})
	more(t, again, 5, 20*time.Second, "pictures of the next process")

	// The control process is held up with a worker that cannot stop: the second
	// signal does not wait for it.
	worker := camera(t, b, "a").Worker.PID
	if err := syscall.Kill(worker, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	asked = time.Now()
	_ = b.Signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	_ = b.Signal(syscall.SIGTERM)
	select {
	case <-b.Exited():
		t.Logf("two SIGTERM: gone after %v", time.Since(asked).Round(time.Millisecond))
	case <-time.After(time.Second):
		t.Error("a second SIGTERM did not end it")
		b.Kill()
	}
	for end := time.Now().Add(2 * time.Second); len(b.Processes()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("workers are left: %v", b.Processes())
		}
	}
}
