package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// fileStart is the analysis of a file of the test media into a new folder.
func fileStart(t *testing.T, name string) link.Start {
	t.Helper()
	return link.Start{Mode: "file", Source: link.Source{URL: acceltest.Media(t, name)}, OutDir: filepath.Join(t.TempDir(), "out"), Threads: 1}
}

// whole is what a complete folder holds.
var whole = slices.Sorted(slices.Values(results.Names()))

// yolox is the model of the test media; the test is skipped without it.
func yolox(t *testing.T) string {
	t.Helper()
	needRuntime(t)
	return acceltest.Media(t, "models/yolox_nano.onnx")
}

// needRuntime leaves the opening of the runtime to the worker: there is one in a
// process.
func needRuntime(t *testing.T) {
	t.Helper()
	if acceltest.Library() == "" {
		t.Skipf("no ONNX Runtime: run scripts/setup, or set %s", accel.LibraryEnv)
	}
}

// analyse runs a start to its good end and returns what it left.
func analyse(t *testing.T, start link.Start) (results.Summary, []results.Line) {
	t.Helper()
	s := begin(t, start)
	if err := s.wait(time.Minute); err != nil || s.done == nil {
		t.Fatalf("%s: %v, done %v", start.Source.URL, err, s.done)
	}
	balanced(t, s.done.Ledger)
	sum, err := results.ReadSummary(start.OutDir)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Ledger.Ledger != s.done.Ledger || !sum.Ledger.Balanced {
		t.Errorf("the summary's ledger is %+v, that of the worker %+v", sum.Ledger, s.done.Ledger)
	}
	return sum, records(t, filepath.Join(start.OutDir, results.DetectionsName))
}

func records(t *testing.T, path string) []results.Line {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []results.Line
	if err := results.Read(f, func(l results.Line) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// pictures are hashes of the frames of a video.
func pictures(t *testing.T, path string) []uint64 {
	t.Helper()
	var all []uint64
	err := engine.Read(t.Context(), plan.Source{URL: path, Threads: 1}, engine.Handlers{
		Info:    func(engine.Info) {},
		Warning: func(w string) { t.Errorf("%s: %s", path, w) },
		Frame: func(f *engine.Frame) {
			defer f.Release()
			h := fnv.New64a()
			for p, rows := range []int{f.Height, (f.Height + 1) / 2, (f.Height + 1) / 2} {
				width := f.Width
				if p > 0 {
					width = (f.Width + 1) / 2
				}
				for y := range rows {
					if f.Planes[p] != nil {
						h.Write(f.Planes[p][y*f.Stride[p]:][:width])
					}
				}
			}
			all = append(all, h.Sum64())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every frame of a file is analysed, told of, and drawn: B-frames, a stream that
// changes its size, and HEVC included.
func TestFilesAreCompleteAndExact(t *testing.T) {
	for _, c := range []struct {
		file   string
		frames uint64
	}{
		{"video/face_h264.mp4", 0}, {"video/res_change.h264", 0}, {"video/h265_video.mp4", 0},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			start := fileStart(t, c.file)
			sum, lines := analyse(t, start)
			want := uint64(len(pictures(t, start.Source.URL)))
			l := sum.Ledger
			if l.Decoded != want || l.Inferred != want || l.PicturesSent != want || l.PicturesLate != 0 || uint64(len(lines)) != want {
				t.Errorf("of %d frames: %+v, %d lines", want, l, len(lines))
			}
			for i, r := range lines {
				if r.Frame != uint64(i+1) {
					t.Fatalf("line %d is of frame %d", i+1, r.Frame)
				}
			}
			if drawn := pictures(t, filepath.Join(start.OutDir, results.AnnotatedName)); uint64(len(drawn)) != want {
				t.Errorf("annotated.mp4 has %d frames, the source %d", len(drawn), want)
			}
			raw, err := os.ReadFile(start.Source.URL)
			if err != nil {
				t.Fatal(err)
			}
			if h := sha256.Sum256(raw); sum.Source.SHA256 != hex.EncodeToString(h[:]) || sum.Source.Bytes != int64(len(raw)) {
				t.Errorf("the source is known as %+v", sum.Source)
			}
			if got, want := names(t, start.OutDir), whole; !slices.Equal(got, want) {
				t.Errorf("the folder holds %v, want %v", got, want)
			}
		})
	}
}

// The same file gives the same results to the byte, drawn boxes included,
// whichever stage is ahead of the other.
func TestSameFileSameResults(t *testing.T) {
	var lines [][]byte
	var drawn [][]uint64
	for range 2 {
		start := fileStart(t, "video/face_h264.mp4")
		start.Model, start.MaxFPS = yolox(t), 10
		sum, found := analyse(t, start)
		if sum.Objects == 0 || len(found) == 0 || sum.Ledger.SkippedRate == 0 || sum.Ledger.Dropped != 0 {
			t.Fatalf("%d objects in %d frames, %+v", sum.Objects, len(found), sum.Ledger)
		}
		raw, err := os.ReadFile(start.Model)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256(raw)
		if sum.Model == nil || sum.Model.SHA256 != hex.EncodeToString(h[:]) || sum.Model.Name != sum.Analyser || sum.Settings.Threshold <= 0 {
			t.Errorf("analysed with %+v, settings %+v", sum.Model, sum.Settings)
		}
		text, err := os.ReadFile(filepath.Join(start.OutDir, results.DetectionsName))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, text)
		drawn = append(drawn, pictures(t, filepath.Join(start.OutDir, results.AnnotatedName)))
	}
	if !bytes.Equal(lines[0], lines[1]) {
		t.Error("two analyses of one file tell of different objects")
	}
	if !slices.Equal(drawn[0], drawn[1]) {
		t.Error("two analyses of one file draw different pictures")
	}
}

// An analysis that is stopped half-way is not called done, and leaves what it can
// go on from.
func TestStoppedFileIsNotDone(t *testing.T) {
	for _, how := range []string{"stop", "signal", "parent gone"} {
		t.Run(how, func(t *testing.T) {
			start := fileStart(t, "video/one-by-one-person-detection.mp4")
			s := begin(t, start)
			s.until("frames", 20*time.Second, func() bool {
				n := len(s.beats)
				return n > 0 && s.beats[n-1].Ledger.Decoded > 10
			})
			switch how {
			case "stop":
				s.send(link.KindStop, nil)
			case "signal":
				s.stop()
			default:
				s.conn.Close()
			}
			if err := s.wait(5 * time.Second); err == nil {
				t.Error("half a file was no error")
			}
			if s.done != nil || s.fault != nil {
				t.Errorf("done %v, fault %v", s.done, s.fault)
			}
			left := names(t, start.OutDir)
			if want := []string{results.AnnotatedName + results.PartSuffix, results.CheckpointName, results.DetectionsName + results.PartSuffix}; !slices.Equal(left, want) {
				t.Errorf("it left %v, want %v", left, want)
			}
			if err := results.Discard(start.OutDir); err != nil || len(names(t, start.OutDir)) > 0 {
				t.Errorf("what is left cannot be discarded: %v, %v", err, names(t, start.OutDir))
			}
		})
	}
}

// What cannot be written ends the analysis with its first write, and is told as
// what it is.
func TestUnwritableResults(t *testing.T) {
	long := "video/one-by-one-person-detection.mp4"
	for _, c := range []struct {
		name, file string
		block      func(dir string) error
	}{
		{"picture", long, func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, results.AnnotatedName+results.PartSuffix), 0o755)
		}},
		{"detections", long, func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, results.DetectionsName+results.PartSuffix), 0o755)
		}},
		{"folder", long, func(dir string) error { return os.WriteFile(dir, nil, 0o600) }},
		{"last step", "video/h265_video.mp4", func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, results.AnnotatedName, "full"), 0o755)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := fileStart(t, c.file)
			if err := c.block(start.OutDir); err != nil {
				t.Fatal(err)
			}
			s := begin(t, start)
			if err := s.wait(20 * time.Second); err == nil || s.done != nil || s.fault == nil || s.fault.Kind != link.FaultOutput {
				t.Fatalf("%v, done %v, fault %+v", err, s.done, s.fault)
			}
			t.Log(s.fault.Message)
			if c.file == long && len(s.beats) > 0 {
				if l := s.beats[len(s.beats)-1].Ledger; l.Decoded > 200 {
					t.Errorf("it went on for %d frames", l.Decoded)
				}
			}
			if c.name == "folder" {
				return
			}
			for _, n := range names(t, start.OutDir) {
				if n == results.SummaryName {
					t.Errorf("it left %s", n)
				}
			}
		})
	}
}

// A folder that is used again holds the last run's files only.
func TestOlderVideoDoesNotStay(t *testing.T) {
	start := fileStart(t, "video/h265_video.mp4")
	analyse(t, start)
	start.NoVideo = true
	analyse(t, start)
	if got, want := names(t, start.OutDir), slices.DeleteFunc(slices.Clone(whole), func(n string) bool { return n == results.AnnotatedName }); !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var w warnings
	for i := range 1000 {
		w.add(fmt.Sprintf("block %d is damaged", i))
		w.add(fmt.Sprintf("block %d is damaged (%d times more)", i/2, i))
	}
	got := w.list()
	if len(got) != maxWarnings+1 || !strings.HasPrefix(got[maxWarnings], "950 more") {
		t.Errorf("%d warnings, the last %q", len(got), got[len(got)-1])
	}
}
