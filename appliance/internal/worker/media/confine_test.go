package media

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/appliance/internal/worker/sandbox"
)

// workerEnv has this test binary be a worker, with that data folder.
const workerEnv = "WATCHPOST_TEST_MEDIA_WORKER"

// segmentEnv gives it shorter segments, so that a short file has many.
const segmentEnv = "WATCHPOST_TEST_SEGMENT"

// TestWorkerProcess is no test: it is the worker of those below. What locks itself
// in cannot get out again, so it has a process of its own.
func TestWorkerProcess(t *testing.T) {
	data := os.Getenv(workerEnv)
	if data == "" {
		t.Skip("only for the tests of confined workers")
	}
	conn, err := link.Inherited()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	segment, _ := strconv.Atoi(os.Getenv(segmentEnv))
	if err := Run(context.Background(), conn, Config{DataDir: data, Version: "test", SegmentFrames: segment}, log); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0) // before the test framework reports, which may write
}

// end is how a worker's process ended.
type end struct {
	confined *link.Confined
	done     *link.Done
	fault    *link.Fault
	results  []link.Result
	units    []link.AccessUnit
	stderr   string
}

// process runs a worker's process to its end; seen is called with its id when it
// says that it is confined, and began before it is told what to do.
func process(t *testing.T, start link.Start, seen func(pid int, conn *link.Conn), began ...func(pid int, conn *link.Conn)) end {
	t.Helper()
	conn, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorkerProcess$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), workerEnv+"="+t.TempDir())
	cmd.ExtraFiles = []*os.File{file}
	var words bytes.Buffer
	cmd.Stderr = &words
	err = cmd.Start()
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }).Stop()
	for _, do := range began {
		do(cmd.Process.Pid, conn)
	}
	start.Camera = "test"
	if err := conn.Send(link.KindStart, start); err != nil {
		t.Fatal(err)
	}
	var e end
	for {
		m, err := conn.Receive()
		if err != nil {
			break
		}
		switch v := m.Value.(type) {
		case link.Confined:
			e.confined = &v
			if seen != nil {
				seen(cmd.Process.Pid, conn)
			}
		case link.Result:
			e.results = append(e.results, v)
		case link.AccessUnit:
			e.units = append(e.units, v)
		case link.Done:
			e.done = &v
		case link.Fault:
			e.fault = &v
		}
	}
	err = cmd.Wait()
	e.stderr = words.String()
	if e.done != nil && err != nil {
		t.Errorf("it was done, and ended with %v\n%s", err, e.stderr)
	}
	return e
}

// A confined worker gives the same results as a free one, whatever the format, with
// the model, and with the video drawn and encoded.
func TestConfinedWorkerWorksAsAFreeOne(t *testing.T) {
	model := yolox(t)
	for _, name := range []string{
		"video/face_h264.mp4", "video/h265_10bits.mp4", "video/bear_vp9_161x121.webm", "video/face_av1.mp4",
		"video/mpeg4_sp.avi", "video/h264.ts", "mpeg2",
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			var source string
			if name == "mpeg2" {
				source = mpeg2(t)
			} else {
				source = fileStart(t, name).Source.URL
			}
			var lines [2][]byte
			var sums [2]map[string]any
			var drawn [2][]uint64
			for i, confine := range []bool{false, true} {
				start := link.Start{
					Mode: "file", Source: link.Source{URL: source}, Model: model, MaxFPS: 5, Threads: 1,
					OutDir: filepath.Join(t.TempDir(), "out"), Confine: confine,
				}
				e := process(t, start, nil)
				if e.done == nil || (e.confined != nil) != confine {
					t.Fatalf("confined %v: %+v, fault %v\n%s", confine, e.confined, e.fault, e.stderr)
				}
				if confine && sandbox.Survey().LandlockABI != e.confined.LandlockABI {
					t.Errorf("it reports %+v", e.confined)
				}
				lines[i], sums[i] = output(t, start.OutDir)
				drawn[i] = pictures(t, filepath.Join(start.OutDir, results.AnnotatedName))
			}
			if !bytes.Equal(lines[0], lines[1]) || len(lines[0]) == 0 {
				t.Errorf("it finds\n%.300s\nand free\n%.300s", lines[1], lines[0])
			}
			if a, b := fmt.Sprint(sums[0]), fmt.Sprint(sums[1]); a != b {
				t.Errorf("its summary is\n%s\nand free\n%s", b, a)
			}
			if !slices.Equal(drawn[0], drawn[1]) {
				t.Errorf("it draws other pictures: %d and %d of them", len(drawn[1]), len(drawn[0]))
			}
		})
	}
}

// A file that arrives while the worker is locked in is read as far as it comes.
func TestConfinedWorkerReadsAGrowingFile(t *testing.T) {
	whole, err := os.ReadFile(fileStart(t, "video/face_fragmented.mp4").Source.URL)
	if err != nil {
		t.Fatal(err)
	}
	var lines [2][]byte
	for i, confine := range []bool{false, true} {
		dir := t.TempDir()
		source := filepath.Join(dir, "upload")
		half := len(whole) / 2
		if err := os.WriteFile(source, whole[:half], 0o600); err != nil {
			t.Fatal(err)
		}
		grow := func(_ int, conn *link.Conn) {
			f, err := os.OpenFile(source, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(whole[half:]); err != nil {
				t.Fatal(err)
			}
			if err := conn.Send(link.KindGrow, link.Grow{Bytes: int64(len(whole)), Complete: true}); err != nil {
				t.Fatal(err)
			}
		}
		start := link.Start{
			Mode: "file", Source: link.Source{URL: source}, Threads: 1, OutDir: filepath.Join(dir, "out"), NoVideo: true,
			Confine: confine, Feed: &link.Grow{Bytes: int64(half)},
		}
		if !confine {
			start.Feed = &link.Grow{Bytes: int64(len(whole)), Complete: true}
			if err := os.WriteFile(source, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e := process(t, start, grow)
		if e.done == nil {
			t.Fatalf("confined %v: fault %v\n%s", confine, e.fault, e.stderr)
		}
		lines[i], _ = output(t, start.OutDir)
	}
	if !bytes.Equal(lines[0], lines[1]) || len(lines[0]) == 0 {
		t.Errorf("it finds\n%.300s\nand free, at once\n%.300s", lines[1], lines[0])
	}
}

// output is what a run found, and its summary without the time that it took.
func output(t *testing.T, dir string) ([]byte, map[string]any) {
	t.Helper()
	lines, err := os.ReadFile(filepath.Join(dir, results.DetectionsName))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, results.SummaryName))
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	delete(s, "timing")
	return lines, s
}

// mpeg2 is a file of a format that the test media have none of.
func mpeg2(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("gst-launch-1.0")
	if err != nil {
		t.Skip("no gst-launch-1.0 to make an MPEG-2 file with")
	}
	path := filepath.Join(t.TempDir(), "mpeg2.ts")
	out, err := exec.Command(tool, strings.Fields("-q videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "+
		"mpeg2enc ! mpegvideoparse ! mpegtsmux ! filesink location="+path)...).CombinedOutput()
	if err != nil {
		t.Skipf("no MPEG-2 file could be made: %v %s", err, out)
	}
	return path
}

// Every thread that a confined worker has is confined: Go's, GLib's and those that
// they start later.
func TestEveryThreadOfAConfinedWorkerIsConfined(t *testing.T) {
	if r := sandbox.Survey(); !r.Seccomp {
		t.Skip("this kernel has no system call filters, by which a thread shows that it is confined")
	}
	start := fileStart(t, "video/one-by-one-person-detection.mp4")
	start.Confine, start.NoVideo = true, true
	looked := 0
	e := process(t, start, func(pid int, _ *link.Conn) {
		for range 10 { // while GStreamer starts its own
			looked = max(looked, confinedThreads(t, pid))
			time.Sleep(20 * time.Millisecond)
		}
	})
	if e.done == nil || looked < 5 {
		t.Errorf("%d threads were seen; done %v, fault %v\n%s", looked, e.done, e.fault, e.stderr)
	}
	t.Logf("up to %d threads", looked)
}

// confinedThreads counts a process's threads and looks at each (proc(5), "status").
func confinedThreads(t *testing.T, pid int) int {
	t.Helper()
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		count++
		for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(text), line+"\n") {
				t.Errorf("%s lacks %q:\n%s", path, line, text)
			}
		}
		for _, line := range strings.Split(string(text), "\n") {
			// CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, at most, of root's.
			if caps, ok := strings.CutPrefix(line, "CapPrm:\t"); ok && strings.TrimLeft(caps, "0") != "" && strings.TrimLeft(caps, "0") != "6" {
				t.Errorf("%s: %s", path, line)
			}
		}
	}
	return count
}

// Results that grow beyond what a worker may write are a fault like a full disk, and
// not its death by a signal.
func TestConfinedWorkerMeetsItsLimit(t *testing.T) {
	start := fileStart(t, "video/face_h264.mp4")
	start.Confine = true
	e := process(t, start, nil, func(pid int, _ *link.Conn) {
		most := unix.Rlimit{Cur: 40 << 10, Max: 40 << 10}
		if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &most, nil); err != nil {
			t.Fatal(err)
		}
	})
	if e.done != nil || e.fault == nil || e.fault.Kind != link.FaultOutput {
		t.Fatalf("done %v, fault %+v\n%s", e.done, e.fault, e.stderr)
	}
	t.Log(e.fault.Message)
}

// A confined worker says what is wrong as a free one does.
func TestConfinedWorkerReportsItsFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		spin func(*link.Start)
		want link.FaultKind
	}{
		{"no source", func(s *link.Start) { s.Source.URL = filepath.Join(filepath.Dir(s.OutDir), "absent.mp4") }, link.FaultNotFound},
		{"no model", func(s *link.Start) { s.Model = filepath.Join(filepath.Dir(s.OutDir), "absent.onnx") }, link.FaultModel},
		{"no folder", func(s *link.Start) { s.OutDir = s.Source.URL }, link.FaultOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := fileStart(t, "video/h265_video.mp4")
			start.Confine = true
			c.spin(&start)
			e := process(t, start, nil)
			if e.done != nil || e.fault == nil || e.fault.Kind != c.want {
				t.Errorf("done %v, fault %+v, want %s\n%s", e.done, e.fault, c.want, e.stderr)
			}
			if e.fault != nil {
				t.Log(e.fault.Message)
			}
		})
	}
}
