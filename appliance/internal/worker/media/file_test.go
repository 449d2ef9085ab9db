package media

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
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
func analyse(t *testing.T, start link.Start) (summary, []frameRecord) {
	t.Helper()
	s := begin(t, start)
	if err := s.wait(time.Minute); err != nil || s.done == nil {
		t.Fatalf("%s: %v, done %v", start.Source.URL, err, s.done)
	}
	balanced(t, s.done.Ledger)
	var sum summary
	text, err := os.ReadFile(filepath.Join(start.OutDir, summaryName))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Ledger.Ledger != s.done.Ledger || !sum.Ledger.Balanced {
		t.Errorf("the summary's ledger is %+v, that of the worker %+v", sum.Ledger, s.done.Ledger)
	}
	return sum, records(t, filepath.Join(start.OutDir, detectionsName))
}

func records(t *testing.T, path string) []frameRecord {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []frameRecord
	for in := bufio.NewScanner(f); in.Scan(); {
		var r frameRecord
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
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
			if drawn := pictures(t, filepath.Join(start.OutDir, annotatedName)); uint64(len(drawn)) != want {
				t.Errorf("annotated.mp4 has %d frames, the source %d", len(drawn), want)
			}
			raw, err := os.ReadFile(start.Source.URL)
			if err != nil {
				t.Fatal(err)
			}
			if h := sha256.Sum256(raw); sum.Source.SHA256 != hex.EncodeToString(h[:]) || sum.Source.Bytes != int64(len(raw)) {
				t.Errorf("the source is known as %+v", sum.Source)
			}
			if got, want := names(t, start.OutDir), []string{annotatedName, detectionsName, summaryName}; !slices.Equal(got, want) {
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
		text, err := os.ReadFile(filepath.Join(start.OutDir, detectionsName))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, text)
		drawn = append(drawn, pictures(t, filepath.Join(start.OutDir, annotatedName)))
	}
	if !bytes.Equal(lines[0], lines[1]) {
		t.Error("two analyses of one file tell of different objects")
	}
	if !slices.Equal(drawn[0], drawn[1]) {
		t.Error("two analyses of one file draw different pictures")
	}
}

// An analysis that is stopped half-way leaves nothing and is not called done.
func TestStoppedFileLeavesNothing(t *testing.T) {
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
			if left := names(t, start.OutDir); len(left) > 0 {
				t.Errorf("it left %v", left)
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
		{"picture", long, func(dir string) error { return os.MkdirAll(filepath.Join(dir, annotatedName+partSuffix), 0o755) }},
		{"detections", long, func(dir string) error { return os.MkdirAll(filepath.Join(dir, detectionsName+partSuffix), 0o755) }},
		{"folder", long, func(dir string) error { return os.WriteFile(dir, nil, 0o600) }},
		{"last step", "video/h265_video.mp4", func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, annotatedName, "full"), 0o755)
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
				if n == summaryName || strings.HasSuffix(n, partSuffix) && c.name != "detections" {
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
	if got, want := names(t, start.OutDir), []string{detectionsName, summaryName}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

func TestUnusableModels(t *testing.T) {
	needRuntime(t)
	bad := filepath.Join(t.TempDir(), "bad.onnx")
	if err := os.WriteFile(bad, []byte("this is no network"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]link.Start{
		"no file":   {Model: filepath.Join(t.TempDir(), "none.onnx")},
		"no model":  {Model: bad},
		"no labels": {Model: yolox(t), Classes: []string{"persn"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fileStart(t, "video/face_h264.mp4")
			f.Model, f.Classes = start.Model, start.Classes
			s := begin(t, f)
			if err := s.wait(10 * time.Second); err == nil || s.fault == nil || s.fault.Kind != link.FaultModel || strings.Contains(s.fault.Message, "\n") {
				t.Fatalf("%v, fault %+v", err, s.fault)
			}
			t.Log(s.fault.Message)
			if left := names(t, f.OutDir); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// brittle fails at every frame from one on.
type brittle struct{ good, seen int }

var errBrittle = errors.New("the accelerator is gone")

func (*brittle) InputSize(int, int) (int, int) { return 64, 64 }
func (*brittle) Close() error                  { return nil }
func (b *brittle) Detect(vision.RGB, int, int) ([]vision.Detection, error) {
	if b.seen++; b.seen > b.good {
		return nil, errBrittle
	}
	return nil, nil
}

// drawn plays n frames of noise-free pictures and counts those that came back.
func drawn(n int) read {
	return func(ctx context.Context, _ plan.Source, h engine.Handlers) error {
		h.Info(engine.Info{Codec: "drawn", Width: 320, Height: 240, FPS: 30})
		for i := range n {
			f, err := engine.NewFrame(plan.I420, 320, 240)
			if err != nil {
				return err
			}
			for p := range f.Planes {
				for k := range f.Planes[p] {
					f.Planes[p][k] = 128
				}
			}
			f.PTS = time.Duration(i) * time.Second / 30
			h.Frame(f)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	}
}

// A model that fails now and then is counted; one that goes on failing ends the
// road, with no frame and no balance lost.
func TestFailingModel(t *testing.T) {
	for _, c := range []struct {
		name         string
		frames, good int
		ends         bool
	}{
		{"at the end of a file", 40, 20, false},
		{"for good", 400, 5, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tracker, err := track.New(track.Config{})
			if err != nil {
				t.Fatal(err)
			}
			lines := 0
			r := &road{
				read: drawn(c.frames), ledger: &ledger{}, limiter: &limiter{}, rate: &rateMeter{},
				analysis: &analysis{detector: &brittle{good: c.good}, scaler: engine.NewScaler(), tracker: tracker},
				analyse:  newQueue(fileDepth, false), log: slog.New(slog.DiscardHandler),
				onInfo:     func(engine.Info) {},
				onAnalysed: func(*job, int, int, []vision.Track) error { lines++; return nil },
			}
			defer r.analysis.close()
			err = r.run(t.Context())
			l := r.ledger.snapshot()
			balanced(t, l)
			if lines != c.good || l.Inferred != uint64(c.good) {
				t.Errorf("%d frames were told of, %+v", lines, l)
			}
			if !c.ends {
				if err != nil || l.Decoded != uint64(c.frames) || l.Failed != uint64(c.frames-c.good) || !errors.Is(r.failure, errBrittle) {
					t.Errorf("%v, %+v", err, l)
				}
				return
			}
			if f := faultOf(err); f.Kind != link.FaultModel || !strings.Contains(f.Message, errBrittle.Error()) {
				t.Errorf("it ended with %v", err)
			}
			if l.Failed != tooManyFailures || l.Decoded > uint64(c.good+tooManyFailures+2*fileDepth) {
				t.Errorf("it went on: %+v", l)
			}
		})
	}
}

// A file of which no frame could be analysed is no result, however short.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name  string
		fates []fate
		err   error
		want  link.FaultKind // empty: a result
		warns bool
	}{
		{name: "all analysed", fates: []fate{inferred, inferred}},
		{name: "nothing decoded", want: link.FaultDamaged},
		{name: "nothing decoded, for a reason", err: &engine.Error{Kind: engine.NoVideo, Message: "sound only"}, want: link.FaultNoVideo},
		{name: "model failed throughout", fates: []fate{failed, failed}, want: link.FaultModel},
		{name: "some failed", fates: []fate{failed, inferred}},
		{name: "nothing moves", fates: []fate{skippedMotion}},
		{name: "breaks off", fates: []fate{inferred}, err: &engine.Error{Kind: engine.Damaged, Message: "cut"}, warns: true},
		{name: "disk full", fates: []fate{inferred}, err: link.Fault{Kind: link.FaultOutput, Message: "no space"}, want: link.FaultOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &worker{road: &road{failure: errBrittle}}
			for _, f := range c.fates {
				w.ledger.decoded()
				w.ledger.settle(f)
			}
			res := &results{}
			err := w.verdict(c.err, res)
			if (err == nil) != (c.want == "") || err != nil && faultOf(err).Kind != c.want {
				t.Errorf("%v, want %q", err, c.want)
			}
			if warned := len(res.listWarnings()) > 0; warned != c.warns {
				t.Errorf("warnings: %v", res.listWarnings())
			}
		})
	}
}

// A stage that is ahead must not lend its tracks to a picture that it has passed:
// a frame in which nothing was found is drawn without boxes.
func TestFilePictureHasItsOwnTracks(t *testing.T) {
	asked := 0
	p := &pictureStage{
		patient: true, rate: &rateMeter{}, out: &renditions{},
		tracks: func(time.Duration) []vision.Track { asked++; return nil },
	}
	for _, tracked := range []bool{true, false} {
		f, err := engine.NewFrame(plan.I420, 64, 64)
		if err != nil {
			t.Fatal(err)
		}
		j := &job{frame: f, tracked: tracked, analysed: make(chan struct{})}
		close(j.analysed)
		p.artist = artist(t)
		if err := p.show(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("the tracker was asked %d times, want once, for the frame that was not analysed", asked)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	res := &results{}
	for i := range 1000 {
		res.warn(fmt.Sprintf("block %d is damaged", i))
		res.warn(fmt.Sprintf("block %d is damaged", i))
	}
	got := res.listWarnings()
	if len(got) != maxWarnings+1 || !strings.HasPrefix(got[maxWarnings], "1950 more") {
		t.Errorf("%d warnings, the last %q", len(got), got[len(got)-1])
	}
}

// What a killed analysis leaves is removed, and nothing else.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"annotated.mp4.part", "annotated.mp4.part.faststart", "detections.jsonl.part", "summary.json.part", "annotated.mp4", "notes.part", "film.mp4"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Discard(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{"annotated.mp4", "film.mp4", "notes.part"}; !slices.Equal(got, want) {
		t.Errorf("what is left: %v, want %v", got, want)
	}
}
