package boxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/sandbox"
)

// The exit codes, as the program's help gives them.
const (
	exitUsage  = 2
	exitInput  = 4
	exitModel  = 5
	exitOutput = 6
	exitBox    = 7
)

// outcome is how one run of the program ended.
type outcome struct {
	code   int
	stdout string
	stderr string
	took   time.Duration
}

// program runs the binary to its end.
func program(t *testing.T, limit time.Duration, args ...string) outcome {
	t.Helper()
	return programWith(t, limit, nil, args...)
}

// programWith runs the binary with more in its environment.
func programWith(t *testing.T, limit time.Duration, env []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := kit(t).Command(ctx, args...)
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Dir = t.TempDir() // what it writes here is seen
	began := time.Now()
	err := cmd.Run()
	o := outcome{stdout: out.String(), stderr: errs.String(), took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%s did not end within %v\n%s", strings.Join(args, " "), limit, o.stderr)
	case errors.As(err, &exit):
		o.code = exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	if o.code < 0 {
		t.Errorf("%s was ended by a signal: %v\n%s", strings.Join(args, " "), err, o.stderr)
	}
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("%s left something where it was started: %v %v", strings.Join(args, " "), left, err)
	}
	return o
}

// refused fails the test unless a run ended with code and one clear line.
func refused(t *testing.T, o outcome, code int, words ...string) {
	t.Helper()
	line, marked := strings.CutPrefix(strings.TrimSpace(o.stderr), "watchpost: ")
	if o.code != code || !marked || oneLine(line) != nil {
		t.Errorf("exit code %d, want %d, with one line:\n%s", o.code, code, o.stderr)
	}
	for _, w := range words {
		if !strings.Contains(line, w) {
			t.Errorf("%q does not say %q", line, w)
		}
	}
}

// unreadable are the files of the media that nothing can be had of; about the
// other broken ones nothing is said but that they end in results or in an error.
var unreadable = map[string]bool{"vvc_unsupported.mp4": true}

// long are files whose pictures are many or large: their annotated video costs
// more than it shows.
var long = map[string]bool{
	"one-by-one-person-detection.mp4": true, "phone_4k60_portrait.mp4": true, "bbb_vp8_1080p60.webm": true,
	"phone_hevc10_portrait_editlist.mp4": true, "car-detection.mp4": true, "editlist_shift.mp4": true,
}

// TestAnalyzeEveryFile sends each file of the media through the program.
func TestAnalyzeEveryFile(t *testing.T) {
	k := kit(t)
	if k.Media == "" {
		t.Skip("no test media")
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := k.Data(data); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var rows []string
	head := fmt.Sprintf("%-36s %6s %5s  %s", "file", "frames", "took", "outcome")
	t.Cleanup(func() {
		slices.Sort(rows)
		t.Log("\n" + head + "\n" + strings.Join(rows, "\n"))
	})
	for _, folder := range []string{"video", "broken"} {
		files, err := os.ReadDir(filepath.Join(k.Media, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			t.Run(folder+"/"+f.Name(), func(t *testing.T) {
				t.Parallel()
				out := filepath.Join(t.TempDir(), "out")
				args := []string{"analyze", filepath.Join(k.Media, folder, f.Name()), "--out", out, "--data", data, "--model", "motion"}
				if long[f.Name()] {
					args = append(args, "--no-video")
				}
				o := program(t, time.Minute, args...)
				what := strings.TrimSpace(o.stderr)
				var frames uint64
				if o.code == 0 {
					s := results(t, out, !long[f.Name()])
					frames = s.Ledger.Decoded
					what = fmt.Sprintf("%s %dx%d, rotated %d, %d objects %v", s.Source.Codec, s.Source.Width, s.Source.Height, s.Source.Rotation, s.Objects, s.Warnings)
					if unreadable[f.Name()] {
						t.Error("it was analysed, though it cannot be")
					}
				} else {
					refused(t, o, exitInput)
					emptyOrAbsent(t, out)
					if folder == "video" && !unreadable[f.Name()] {
						t.Errorf("it was not analysed: %s", what)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, fmt.Sprintf("%-36s %6d %4.1fs  %s", f.Name(), frames, o.took.Seconds(), what))
			})
		}
	}
}

// emptyOrAbsent fails the test if a failed run left anything in its results.
func emptyOrAbsent(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if len(list) > 0 {
		t.Errorf("the failed run left %v", list)
	}
}

// TestAnalyzeFindsWhatIsThere has the model see the cars and the people.
func TestAnalyzeFindsWhatIsThere(t *testing.T) {
	needModel(t)
	data := filepath.Join(t.TempDir(), "data")
	if err := kit(t).Data(data); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, class   string
		least, tracks int
		args          []string
	}{
		{"video/highway_asp.avi", "car", 500, 5, []string{"--max-fps", "5"}},
		{"video/one-by-one-person-detection.mp4", "person", 50, 3, []string{"--max-fps", "1", "--no-video"}},
		{"video/bikes_bframes.mp4", "person", 10, 1, []string{"--max-fps", "5", "--motion-gate"}},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string{"analyze", media(t, c.file), "--out", out, "--data", data}, c.args...)
			o := program(t, 2*time.Minute, args...)
			if o.code != 0 {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
			s := results(t, out, !slices.Contains(c.args, "--no-video"))
			got := s.Classes[c.class]
			t.Logf("%v: %s: %d frames, %d inferred, classes %v", o.took.Round(100*time.Millisecond), s.Analyser, s.Ledger.Decoded, s.Ledger.Inferred, s.Classes)
			if s.Analyser != Model || got.Boxes < uint64(c.least) || got.Tracks < c.tracks {
				t.Errorf("%d boxes of %d %ss, want at least %d and %d", got.Boxes, got.Tracks, c.class, c.least, c.tracks)
			}
			if s.Ledger.SkippedRate == 0 {
				t.Error("no frame was skipped for its rate")
			}
		})
	}
}

// TestAnalyzeRefusals has what is no video, or cannot be written.
func TestAnalyzeRefusals(t *testing.T) {
	k := kit(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := k.Data(data); err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	video := "video/face_h264.mp4"
	analyze := func(t *testing.T, file string, more ...string) outcome {
		out := filepath.Join(t.TempDir(), "out")
		o := program(t, time.Minute, append([]string{"analyze", file, "--out", out, "--data", data, "--model", "motion"}, more...)...)
		if o.code != 0 {
			emptyOrAbsent(t, out)
		}
		return o
	}
	for _, c := range []struct {
		name, file string
		words      string
	}{
		{"empty", write("empty.mp4", nil), "empty"},
		{"text", write("notes.txt", []byte(strings.Repeat("It rains in the yard.\n", 200))), ""},
		{"text that claims to be a video", write("notes.mp4", []byte(strings.Repeat("It rains in the yard.\n", 200))), ""},
		{"noise", write("noise.mkv", noise(1<<16)), ""},
		{"sound", write("sound.wav", wav()), "video"},
		{"directory", dir, "not a file"},
		{"missing", filepath.Join(dir, "nowhere.mp4"), "no such file"},
		{"pipe", "/dev/null", "not a file"},
		{"name with a line break", filepath.Join(dir, "a\nb.mp4"), "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, analyze(t, c.file), exitInput, c.words) })
	}
	t.Run("picture", func(t *testing.T) {
		var pic bytes.Buffer
		if err := png.Encode(&pic, image.NewRGBA(image.Rect(0, 0, 64, 48))); err != nil {
			t.Fatal(err)
		}
		o := analyze(t, write("still.png", pic.Bytes()))
		if o.code != 0 {
			refused(t, o, exitInput)
		}
		t.Logf("a PNG: exit code %d: %s", o.code, strings.TrimSpace(o.stderr))
		o = analyze(t, media(t, "image/yolox_dog.jpg"))
		if o.code != 0 {
			refused(t, o, exitInput)
		}
		t.Logf("a JPEG: exit code %d: %s", o.code, strings.TrimSpace(o.stderr))
	})
	t.Run("results where a file is", func(t *testing.T) {
		at := write("taken", []byte("mine"))
		refused(t, program(t, time.Minute, "analyze", media(t, video), "--out", at, "--data", data), exitOutput)
		if text, err := os.ReadFile(at); err != nil || string(text) != "mine" {
			t.Errorf("the file in the way is %q: %v", text, err)
		}
	})
	t.Run("results that cannot be written", func(t *testing.T) {
		// /proc takes no files, whoever asks.
		refused(t, program(t, time.Minute, "analyze", media(t, video), "--out", "/proc/self/task", "--data", data, "--model", "motion"), exitOutput)
		refused(t, program(t, time.Minute, "analyze", media(t, video), "--out", "/proc/results", "--data", data), exitOutput)
	})
	t.Run("full disk", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out")
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		// Everything written to detections.jsonl fails as on a full disk: it is the
		// device of full(4), and no link to it, for the worker follows none out of its folder.
		if err := syscall.Mknod(filepath.Join(out, "detections.jsonl.part"), syscall.S_IFCHR|0o600, 1<<8|7); err != nil {
			t.Skipf("no full disk can be made (it takes root): %v", err)
		}
		refused(t, program(t, time.Minute, "analyze", media(t, "video/car-detection.mp4"), "--out", out, "--data", data, "--model", "motion", "--no-video"), exitOutput, "no space")
	})
	t.Run("link in the results", func(t *testing.T) {
		if sandbox.Survey().LandlockABI == 0 {
			t.Skip("this kernel has no Landlock: the worker follows the link")
		}
		out, victim := filepath.Join(t.TempDir(), "out"), write("victim", []byte("mine"))
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, filepath.Join(out, "detections.jsonl.part")); err != nil {
			t.Fatal(err)
		}
		refused(t, program(t, time.Minute, "analyze", media(t, video), "--out", out, "--data", data, "--model", "motion", "--no-video"), exitOutput, "permission denied")
		if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
			t.Errorf("the file that the link names is %q: %v", text, err)
		}
	})
	t.Run("model that is not installed", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out")
		refused(t, program(t, time.Minute, "analyze", media(t, video), "--out", out, "--data", data, "--model", "yolo9000"), exitModel, "yolo9000")
	})
	t.Run("wrong use", func(t *testing.T) {
		for _, args := range [][]string{{"analyze"}, {"analyze", media(t, video)}, {"analyse", media(t, video)}, {"analyze", media(t, video), "--out", dir, "--threads", "many"}} {
			if o := program(t, time.Minute, args...); o.code != exitUsage {
				t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
			}
		}
	})
}

// noise is no file format; always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// wav is a second of silence, mono, 8 bit, 8 kHz.
func wav() []byte {
	head := []byte("RIFF\x64\x1f\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data\x40\x1f\x00\x00")
	return append(head, bytes.Repeat([]byte{128}, 8000)...)
}
