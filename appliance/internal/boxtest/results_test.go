package boxtest

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// summary is what of summary.json is looked at.
type summary struct {
	Source struct {
		Codec    string  `json:"codec"`
		Width    int     `json:"width"`
		Height   int     `json:"height"`
		FPS      float64 `json:"fps"`
		Rotation int     `json:"rotation"`
		SHA256   string  `json:"sha256"`
		Seconds  float64 `json:"seconds"`
	} `json:"source"`
	Analyser string `json:"analyser"`
	Ledger   Ledger `json:"ledger"`
	Objects  uint64 `json:"objects"`
	Classes  map[string]struct {
		Boxes  uint64 `json:"boxes"`
		Tracks int    `json:"tracks"`
	} `json:"classes"`
	Warnings []string `json:"warnings"`
}

// results reads a results folder and fails the test for what is wrong with it,
// the annotated video included.
func results(t *testing.T, dir string, video bool) summary {
	t.Helper()
	var s summary
	text, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	want := []string{"annotated.mp4", "boxes.vtt", "coco.json", "detections.jsonl", "summary.json", "tracks.mot.txt"}
	if !video {
		want = want[1:]
	}
	var names []string
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("the results are %v, want %v", names, want)
	}
	l := s.Ledger
	if !l.Balanced || l.Sum() != l.Decoded || l.Pending != 0 || l.Decoded == 0 {
		t.Errorf("the ledger does not balance: %+v", l)
	}
	if n, objects := records(t, filepath.Join(dir, "detections.jsonl"), s); n != l.Inferred || objects != s.Objects {
		t.Errorf("%d records with %d objects, the summary says %d and %d", n, objects, l.Inferred, s.Objects)
	}
	if video {
		if n := countFrames(t, filepath.Join(dir, "annotated.mp4")); n != l.Decoded {
			t.Errorf("annotated.mp4 has %d frames, %d were decoded", n, l.Decoded)
		}
	}
	return s
}

// records counts the lines of detections.jsonl and looks into each.
func records(t *testing.T, path string, s summary) (lines, objects uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	var last uint64
	before, repeated := -1.0, 0
	for in.Scan() {
		var d struct {
			Detections
			Seconds float64 `json:"seconds"`
		}
		if err := json.Unmarshal(in.Bytes(), &d); err != nil {
			t.Fatalf("line %d: %v", lines+1, err)
		}
		if d.Frame <= last || d.Frame > s.Ledger.Decoded {
			t.Fatalf("line %d is of frame %d, after %d, of %d", lines+1, d.Frame, last, s.Ledger.Decoded)
		}
		last = d.Frame
		if d.Seconds <= before {
			repeated++
		}
		before = d.Seconds
		for _, o := range d.Objects {
			if o.X0 < 0 || o.Y0 < 0 || o.X1 > float64(d.Width) || o.Y1 > float64(d.Height) || o.X0 >= o.X1 || o.Y0 >= o.Y1 || o.ID < 1 || o.Label == "" {
				t.Fatalf("frame %d of %dx%d has %+v", d.Frame, d.Width, d.Height, o)
			}
		}
		lines, objects = lines+1, objects+uint64(len(d.Objects))
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if repeated > 0 {
		t.Errorf("%d of %d frames are not later than the frame before", repeated, lines)
	}
	return lines, objects
}

func countFrames(t *testing.T, path string) (n uint64) {
	t.Helper()
	gstreamer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := engine.Read(ctx, plan.Source{URL: path}, engine.Handlers{
		Info:    func(engine.Info) {},
		Frame:   func(f *engine.Frame) { n++; f.Release() },
		Warning: func(s string) { t.Errorf("%s: %s", path, s) },
	})
	if err != nil {
		t.Errorf("%s does not play: %v", path, err)
	}
	return n
}
