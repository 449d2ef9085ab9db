package media

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
)

// killsEnv asks for more rounds than the test has time for.
const killsEnv = "WATCHPOST_TEST_KILLS"

// victim runs a worker's process and kills it after a while, if it is not done by
// then; 0: never. It returns what the worker committed.
func victim(t *testing.T, start link.Start, after time.Duration) (committed link.Committed, e end) {
	t.Helper()
	conn, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorkerProcess$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), workerEnv+"="+t.TempDir(), segmentEnv+"=10")
	cmd.ExtraFiles = []*os.File{file}
	var words bytes.Buffer
	cmd.Stderr = &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	start.Camera = "test"
	if err := conn.Send(link.KindStart, start); err != nil {
		t.Fatal(err)
	}
	if after > 0 {
		defer time.AfterFunc(after, func() { cmd.Process.Kill() }).Stop()
	}
	for {
		m, err := conn.Receive()
		if err != nil {
			break
		}
		switch v := m.Value.(type) {
		case link.Committed:
			committed = v
		case link.Done:
			e.done = &v
		case link.Fault:
			e.fault = &v
		}
	}
	cmd.Wait() // killed or not; what it said counts
	e.stderr = words.String()
	return committed, e
}

// complete reads all that a complete folder holds, but for the timings.
func complete(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, n := range names(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		if n == results.SummaryName {
			var s map[string]any
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			delete(s, "timing")
			text = []byte(fmt.Sprint(s))
		}
		all[n] = string(text)
	}
	return all
}

// same fails the test for every file that differs.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	for n, w := range want {
		if g := got[n]; g != w {
			i := 0
			for i < min(len(g), len(w)) && g[i] == w[i] {
				i++
			}
			t.Errorf("%s: %s has %d bytes, that of an analysis that was not cut %d; they differ from byte %d on: %.120q, want %.120q",
				what, n, len(g), len(w), i, g[i:min(len(g), i+120)], w[i:min(len(w), i+120)])
		}
	}
	for n := range got {
		if _, ok := want[n]; !ok {
			t.Errorf("%s: there is %s", what, n)
		}
	}
}

// A worker that is killed at any moment, as often as it may be, goes on: what it
// committed stands, nothing is there twice, and in the end the files are those of an
// analysis that was never cut.
func TestKilledWorkerGoesOn(t *testing.T) {
	kills := 4
	if n, err := strconv.Atoi(os.Getenv(killsEnv)); err == nil {
		kills = n
	}
	for _, c := range []struct {
		name, file string
		set        func(t *testing.T, s *link.Start)
	}{
		{"motion", "video/bikes_bframes.mp4", func(t *testing.T, s *link.Start) {}},
		{"model", "video/bikes_bframes.mp4", func(t *testing.T, s *link.Start) { s.Model, s.MaxFPS = yolox(t), 5 }},
		{"model, gate, stream", "video/face.mkv", func(t *testing.T, s *link.Start) {
			s.Model, s.MaxFPS, s.Gate, s.NoVideo = yolox(t), 20, true, true
			info, err := os.Stat(s.Source.URL)
			if err != nil {
				t.Fatal(err)
			}
			s.Feed = &link.Grow{Bytes: info.Size(), Complete: true}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := fileStart(t, c.file)
			start.Resume = true
			c.set(t, &start)
			began := time.Now()
			if _, e := victim(t, start, 0); e.done == nil {
				t.Fatalf("fault %v\n%s", e.fault, e.stderr)
			}
			whole := time.Since(began)
			want := complete(t, start.OutDir)
			rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
			if s := start; s.Feed != nil && os.Getenv(killsEnv) == "" {
				kills = 2 // it takes the longest, and shows the least
			}
			for done := 0; done < kills; {
				start.OutDir = filepath.Join(t.TempDir(), "out")
				done += untilDone(t, start, rng, whole, want, min(4, kills-done))
				same(t, c.name, complete(t, start.OutDir), want)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// untilDone kills a folder's worker at random moments, at most so many times, and
// has it done in the end.
func untilDone(t *testing.T, start link.Start, rng *rand.Rand, whole time.Duration, want map[string]string, most int) (killed int) {
	t.Helper()
	var kept link.Committed
	for {
		after := time.Duration(0)
		if killed < most {
			after = time.Duration(rng.Int64N(int64(whole))) + 50*time.Millisecond
		}
		committed, e := victim(t, start, after)
		if e.fault != nil {
			t.Fatalf("after %d kills: %v\n%s", killed, e.fault, e.stderr)
		}
		if e.done != nil {
			balanced(t, e.done.Ledger)
			return max(killed, 1) // one that was too late for all of them counts too
		}
		killed++
		if committed.Bytes < kept.Bytes && committed.Bytes > 0 {
			t.Errorf("%d bytes were committed, and now it begins with %d", kept.Bytes, committed.Bytes)
		}
		if committed.Bytes > 0 {
			kept = committed
		}
		log, err := os.ReadFile(filepath.Join(start.OutDir, results.DetectionsName+results.PartSuffix))
		if err != nil {
			log, err = os.ReadFile(filepath.Join(start.OutDir, results.DetectionsName))
		}
		if err != nil && kept.Bytes > 0 {
			t.Fatalf("%v, though %d bytes were committed", err, kept.Bytes)
		}
		if int64(len(log)) < kept.Bytes || string(log[:kept.Bytes]) != want[results.DetectionsName][:kept.Bytes] {
			t.Fatalf("after %d kills the log has %d bytes, and the %d that were committed are not the right ones", killed, len(log), kept.Bytes)
		}
		t.Logf("killed after %v of %v: %d lines committed", after.Round(time.Millisecond), whole.Round(time.Millisecond), kept.Seq)
	}
}

// What cannot be gone on with is begun anew, in the same run, and ends well: another
// decoder, other times of the frames, a recording that is not the checkpoint's.
func TestUnfitCheckpointBeginsAnew(t *testing.T) {
	t.Setenv(segmentEnv, "20")
	start := fileStart(t, "video/bikes_bframes.mp4")
	want := start
	want.OutDir = filepath.Join(t.TempDir(), "want")
	analyse(t, want)
	for name, spoil := range map[string]func(c *results.Checkpoint, dir string) error{
		"decoder": func(c *results.Checkpoint, _ string) error { c.Decoder = "avdec_other"; return nil },
		"times":   func(c *results.Checkpoint, _ string) error { c.PTS++; return nil },
		"longer": func(c *results.Checkpoint, _ string) error {
			c.Frame += 100_000
			c.Ledger.Decoded += 100_000
			c.Ledger.SkippedRate += 100_000
			return nil
		},
		"tracker": func(c *results.Checkpoint, _ string) error { c.Tracker.LastID = -1; return nil },
		"recording": func(_ *results.Checkpoint, dir string) error {
			return os.Truncate(filepath.Join(dir, results.AnnotatedName+results.PartSuffix), 100)
		},
		"encoder": func(c *results.Checkpoint, _ string) error { c.Recording.Encoder = "noneenc"; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := start
			s.Resume, s.OutDir = true, filepath.Join(t.TempDir(), "out")
			first := begin(t, s)
			path := filepath.Join(s.OutDir, results.CheckpointName)
			var c results.Checkpoint
			first.until("a checkpoint with a recording", 30*time.Second, func() bool {
				text, err := os.ReadFile(path)
				return err == nil && json.Unmarshal(text, &c) == nil && c.Frame > 0 && c.Summary == nil || first.done != nil
			})
			if c.Frame == 0 || c.Summary != nil {
				t.Skip("it was done before its checkpoint was seen")
			}
			first.stop()
			if err := first.wait(20 * time.Second); err == nil {
				t.Skip("it was done before it was stopped")
			}
			if err := spoil(&c, s.OutDir); err != nil {
				t.Fatal(err)
			}
			if err := c.Save(s.OutDir); err != nil {
				t.Fatal(err)
			}
			second := begin(t, s)
			if err := second.wait(time.Minute); err != nil || second.done == nil {
				t.Fatalf("%v, %+v", err, second.fault)
			}
			balanced(t, second.done.Ledger)
			same(t, name, complete(t, s.OutDir), complete(t, want.OutDir))
		})
	}
}
