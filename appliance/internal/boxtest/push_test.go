package boxtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// quiet is a box that does little besides taking files.
const quiet = "models: {default: motion}\njobs: {concurrency: 2, pause_for_live: false}\ncameras:\n" +
	"  - {id: cam, source: \"test:black\", capture: {width: 64, height: 64, fps: 1}}\n"

// memory is an environment in which push remembers nothing of other tests.
func memory(t *testing.T) []string { return []string{"XDG_CACHE_HOME=" + t.TempDir()} }

// push runs "watchpost push" to its end.
func push(t *testing.T, env []string, box string, args ...string) outcome {
	t.Helper()
	return programWith(t, 4*time.Minute, env, append([]string{"push", "--quiet", "--box", box, "--model", "motion"}, args...)...)
}

// uploads lists what a box knows of pushed files.
func uploads(t *testing.T, b *Box) []Upload {
	t.Helper()
	list, err := b.Uploads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// awaitJob asks for the jobs until ok says so of one of them.
func awaitJob(t *testing.T, b *Box, what string, ok func(Job) bool) Job {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list, err := b.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(list, ok); i >= 0 {
			return list[i]
		}
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s: %+v", what, list)
		}
	}
}

// mediaFiles are all files of the media's folders.
func mediaFiles(t *testing.T, folders ...string) (paths []string) {
	t.Helper()
	for _, f := range folders {
		list, err := filepath.Glob(filepath.Join(media(t, f), "*"))
		if err != nil || len(list) == 0 {
			t.Fatalf("no files in %s: %v", f, err)
		}
		paths = append(paths, list...)
	}
	return paths
}

// shown are the files of which the box is asked for an annotated video, too: enough to
// see that it is right, with sizes, rates and rotations of all kinds.
var shown = map[string]bool{
	"bikes_bframes.mp4": true, "rot_0.mov": true, "rot_90.mov": true, "rot_270.mov": true, "h263_qcif.3gp": true,
	"res_change.h264": true, "unordered.mov": true, "bear_vp9_161x121.webm": true, "vvc_unsupported.mp4": true, "corrupted.mp4": true,
}

// TestPushEveryFile pushes each file of the media through the whole road of one box,
// which is killed in the middle of it.
func TestPushEveryFile(t *testing.T) {
	all := mediaFiles(t, "video", "broken")
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	b := startKilled(t, Config{Dir: dir, YAML: quiet})
	var runs [2]outcome
	var running sync.WaitGroup
	for i, video := range []bool{true, false} {
		args := []string{"--out", out}
		if !video {
			args = append(args, "--no-video")
		}
		for _, f := range all {
			if shown[filepath.Base(f)] == video {
				args = append(args, f)
			}
		}
		env, url := memory(t), b.URL
		running.Go(func() { runs[i] = push(t, env, url, args...) })
	}
	done := func() int {
		list, err := b.Jobs(t.Context())
		if err != nil {
			t.Error(err)
		}
		return len(slices.DeleteFunc(list, func(j Job) bool { return j.Status != "done" }))
	}
	for end := time.Now().Add(time.Minute); done() < 5 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	before := done()
	b.Kill()
	b = startIn(t, Config{Dir: dir, YAML: quiet, Listen: strings.TrimPrefix(b.URL, "http://")})
	running.Wait()
	t.Logf("killed with %d of %d files done; the pushes took %v and %v", before, len(all), runs[0].took.Round(time.Second), runs[1].took.Round(time.Second))

	// Each has files that cannot be read.
	for _, o := range runs {
		if o.code != exitInput {
			t.Errorf("exit code %d, want %d: %s", o.code, exitInput, o.stderr)
		}
	}
	said := runs[0].stdout + runs[1].stdout
	var rows []string
	for _, path := range all {
		name := filepath.Base(path)
		row := fmt.Sprintf("%-36s %s", name, checkPushed(t, filepath.Join(out, name), path, said))
		rows = append(rows, row)
	}
	t.Log("\n" + strings.Join(rows, "\n"))
	sameAsAnalyze(t, out, "bikes_bframes.mp4")
	sameAsAnalyze(t, out, "car-detection.mp4", "--no-video")
	notLeft(t, b)
}

// startKilled starts a box that the test kills.
func startKilled(t *testing.T, c Config) *Box {
	t.Helper()
	b, err := kit(t).Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkPushed looks at what became of one pushed file and says it in a few words.
func checkPushed(t *testing.T, folder, path, said string) string {
	t.Helper()
	name := filepath.Base(path)
	if _, err := os.Stat(filepath.Join(folder, "summary.json")); err == nil {
		s := results(t, folder, shown[name])
		if unreadable[name] {
			t.Errorf("%s was analysed, though it cannot be", name)
		}
		if !strings.Contains(said, name+": "+folder+"\n") {
			t.Errorf("%s: it is not said where the results are", name)
		}
		return fmt.Sprintf("%d frames, %d objects", s.Ledger.Decoded, s.Objects)
	}
	_, reason, found := strings.Cut(said, name+": FAILED: ")
	reason, _, _ = strings.Cut(reason, "\n")
	if !found || oneLine(reason) != nil {
		t.Errorf("%s: neither results nor a reason in one line: %q", name, reason)
	}
	if filepath.Base(filepath.Dir(path)) == "video" && !unreadable[name] {
		t.Errorf("%s was not analysed: %s", name, reason)
	}
	return reason
}

// sameAsAnalyze compares a pushed file's results with those of the program without a
// box, and has them verified.
func sameAsAnalyze(t *testing.T, out, name string, more ...string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if err := kit(t).Data(data); err != nil {
		t.Fatal(err)
	}
	source, own := media(t, "video/"+name), filepath.Join(t.TempDir(), "own")
	args := append([]string{"analyze", source, "--out", own, "--data", data, "--model", "motion"}, more...)
	if o := program(t, time.Minute, args...); o.code != 0 {
		t.Fatalf("analyze: exit code %d: %s", o.code, o.stderr)
	}
	pushed := filepath.Join(out, name)
	list, err := os.ReadDir(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		want, err := os.ReadFile(filepath.Join(own, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(pushed, e.Name()))
		if err != nil {
			t.Error(err)
			continue
		}
		if e.Name() == "summary.json" {
			want, got = lasting(t, want), lasting(t, got)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %s of the push has %d bytes and is not that of analyze, with %d", name, e.Name(), len(got), len(want))
			if e.Name() == "summary.json" {
				t.Logf("push:    %s\nanalyze: %s", got, want)
			}
		}
	}
	if o := program(t, time.Minute, "verify", pushed, source, "--data", data); o.code != 0 || !strings.Contains(o.stdout, "the same") {
		t.Errorf("verify: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	// It must be able to say the opposite, too.
	log := filepath.Join(pushed, "detections.jsonl")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`"frame":2,`), []byte(`"frame":3,`), 1)
	if err := os.WriteFile(log, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := program(t, time.Minute, "verify", pushed, source, "--data", data); o.code == 0 {
		t.Errorf("verify finds nothing in changed results: %s", o.stdout)
	}
}

// lasting is a summary without what differs from run to run.
func lasting(t *testing.T, text []byte) []byte {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	delete(s, "timing")
	if set, ok := s["settings"].(map[string]any); ok {
		delete(set, "streamed")
	}
	again, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// notLeft looks for what belongs to analyses that are over. What one found that failed
// stays readable.
func notLeft(t *testing.T, b *Box) {
	t.Helper()
	for _, pattern := range []string{"*.part", "checkpoint.json*", "*.tmp*"} {
		left, err := filepath.Glob(filepath.Join(b.Data, "jobs", "*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range left {
			_, err := os.Stat(filepath.Join(filepath.Dir(path), "summary.json"))
			if err == nil || filepath.Base(path) != "detections.jsonl.part" {
				t.Errorf("left behind: %s", path)
			}
		}
	}
}
