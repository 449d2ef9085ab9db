package results

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

var update = flag.Bool("update", false, "write the golden files")

// analysed makes a folder whose analysis is complete and returns its last checkpoint.
func analysed(t *testing.T, dir string, frames uint64) (*Folder, Checkpoint) {
	t.Helper()
	f, _ := open(t, dir, false)
	at := add(t, f, 1, frames)
	if err := os.WriteFile(f.RecordingPath(), []byte("growing"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := link.Ledger{Decoded: frames, Inferred: frames}
	return f, Checkpoint{Work: work, Frame: frames, Log: at, Ledger: l, Summary: &Summary{
		Format: Format, Analyser: "motion", Settings: work.Settings, Ledger: Ledger{l, true},
		Source: Source{Name: `it's "one".mp4`, Bytes: 5, SHA256: "aa", FPS: 25, Seconds: float64(frames) / 25},
	}}
}

func video(_ context.Context, to string) error {
	return os.WriteFile(to, []byte("fast start"), 0o644)
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range list {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

// A crash anywhere in the making of the final files, between any two steps, costs
// nothing: they are made again, and are the same.
func TestFinishCanBeCutAnywhere(t *testing.T) {
	ref := t.TempDir()
	f, c := analysed(t, ref, 30)
	if _, err := f.Finish(t.Context(), c, video); err != nil {
		t.Fatal(err)
	}
	want := contents(t, ref)
	if got := slices.Sorted(maps.Keys(want)); !slices.Equal(got, slices.Sorted(slices.Values(Names()))) {
		t.Fatalf("the folder holds %v", got)
	}
	moves := Names()
	for cut := -1; cut <= len(moves); cut++ {
		for _, older := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d older %v", cut, older), func(t *testing.T) {
				dir := t.TempDir()
				if older { // results of another analysis stand there
					for _, n := range moves {
						if err := os.WriteFile(filepath.Join(dir, n), []byte("older "+n), 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
				f, c := analysed(t, dir, 30)
				if cut < 0 { // in the middle of the making
					fails := func(context.Context, string) error { return errors.New("the power went") }
					if _, err := f.Finish(t.Context(), c, fails); err == nil {
						t.Fatal("a video that failed was no error")
					}
					if older && contents(t, dir)[SummaryName] != "older "+SummaryName {
						t.Error("the older results do not stand")
					}
				} else {
					if _, err := f.complete(t.Context(), c, video); err != nil {
						t.Fatal(err)
					}
					f.Close()
					step(t, dir, moves[:cut])
				}
				f, _ = open(t, dir, true)
				if f.From == nil || f.From.Summary == nil {
					t.Fatalf("it does not go on: %s", f.Anew)
				}
				if _, err := f.Finish(t.Context(), *f.From, video); err != nil {
					t.Fatal(err)
				}
				if got := contents(t, dir); !reflect.DeepEqual(got, want) {
					t.Errorf("it holds %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
				if _, err := Open(dir, (&teller{}).plan(true)); !errors.Is(err, ErrComplete) {
					t.Errorf("the complete folder opens with %v", err)
				}
			})
		}
	}
}

// step does the first renames by hand.
func step(t *testing.T, dir string, names []string) {
	t.Helper()
	if len(names) > 0 {
		os.Remove(filepath.Join(dir, SummaryName)) // an older one
	}
	for _, n := range names {
		from := n + PartSuffix
		if n == AnnotatedName {
			from = n + wholeSuffix
		}
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// The files that are made of a log are what their formats want.
func TestDerivedFiles(t *testing.T) {
	dir := t.TempDir()
	f, c := analysed(t, dir, 40)
	s, err := f.Finish(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := contents(t, dir)
	if _, ok := got[AnnotatedName]; ok {
		t.Error("there is a video")
	}
	for _, n := range []string{DetectionsName, COCOName, MOTName, VTTName} {
		golden := filepath.Join("testdata", n)
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(got[n]), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != got[n] {
			t.Errorf("%s is not the golden one (%v); see -update", n, err)
		}
	}
	checkCOCO(t, got[COCOName], s)
	if cues := strings.Count(got[VTTName], " --> "); cues == 0 || cues > 40 || strings.Contains(got[VTTName], "a -->") {
		t.Errorf("boxes.vtt has %d cues", cues)
	}
	if n := strings.Count(got[MOTName], "\n"); uint64(n) != s.Objects {
		t.Errorf("tracks.mot.txt has %d lines for %d objects", n, s.Objects)
	}
}

// checkCOCO looks at what pycocotools relies on.
func checkCOCO(t *testing.T, text string, s Summary) {
	t.Helper()
	var set struct {
		Images []struct {
			ID, Width, Height int
			File              string `json:"file_name"`
		}
		Annotations []struct {
			ID       int
			Image    int `json:"image_id"`
			Category int `json:"category_id"`
			BBox     [4]float64
			Area     float64
			Crowd    *int `json:"iscrowd"`
			Score    float64
			Track    int `json:"track_id"`
		}
		Categories []struct {
			ID   int
			Name string
		}
	}
	in := json.NewDecoder(strings.NewReader(text))
	if err := in.Decode(&set); err != nil {
		t.Fatal(err)
	}
	if uint64(len(set.Images)) != s.Results || uint64(len(set.Annotations)) != s.Objects || len(set.Categories) != len(s.Classes) {
		t.Fatalf("%d images, %d annotations, %d categories; the summary has %d, %d, %d",
			len(set.Images), len(set.Annotations), len(set.Categories), s.Results, s.Objects, len(s.Classes))
	}
	images, categories, ids := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, i := range set.Images {
		if images[i.ID] || i.Width < 1 || i.Height < 1 || i.File == "" {
			t.Errorf("image %+v", i)
		}
		images[i.ID] = true
	}
	for _, c := range set.Categories {
		if categories[c.ID] || c.ID < 1 || s.Classes[c.Name] == nil {
			t.Errorf("category %+v", c)
		}
		categories[c.ID] = true
	}
	for _, a := range set.Annotations {
		if ids[a.ID] || a.ID < 1 || !images[a.Image] || !categories[a.Category] || a.BBox[2] <= 0 || a.BBox[3] <= 0 || a.Area <= 0 ||
			a.Crowd == nil || a.Score <= 0 || a.Track < 1 {
			t.Errorf("annotation %+v", a)
		}
		ids[a.ID] = true
	}
}

// A cancelled making ends, and the folder can be finished later.
func TestFinishCanBeCancelled(t *testing.T) {
	dir := t.TempDir()
	f, c := analysed(t, dir, 600)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Finish(ctx, c, video); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	f, _ = open(t, dir, true)
	if f.From == nil || f.From.Summary == nil {
		t.Fatalf("it does not go on: %s", f.Anew)
	}
	if _, err := f.Finish(t.Context(), *f.From, video); err != nil {
		t.Fatal(err)
	}
}

// Discard removes what an analysis at work has made, and nothing else.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{
		"annotated.mp4.part", "annotated.mp4.part.whole", "detections.jsonl.part", "summary.json.part", "coco.json.part",
		"checkpoint.json", "checkpoint.json.part", "annotated.mp4", "notes.part", "film.mp4", "checkpoint.json.old",
	} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Discard(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(contents(t, dir))), []string{"annotated.mp4", "checkpoint.json.old", "film.mp4", "notes.part"}; !slices.Equal(got, want) {
		t.Errorf("what is left: %v, want %v", got, want)
	}
}

// Two logs are the same, or it is said where they are not.
func TestCompareLogs(t *testing.T) {
	text := func(change func(n uint64, l *Line)) []byte {
		var b bytes.Buffer
		for n := uint64(1); n <= 50; n++ {
			l := line(n)
			l.Seq = n
			if change != nil {
				change(n, &l)
			}
			if l.Seq == n {
				if err := json.NewEncoder(&b).Encode(l); err != nil {
					t.Fatal(err)
				}
			}
		}
		return b.Bytes()
	}
	busy := uint64(1) // a frame with objects
	for len(line(busy).Objects) < 2 {
		busy++
	}
	for _, c := range []struct {
		name      string
		tolerance float64
		change    func(n uint64, l *Line)
		want      string
	}{
		{"same", 0, nil, ""},
		{"moved", 0, func(n uint64, l *Line) {
			if n == busy {
				l.Objects[1].X1 += 0.5
			}
		}, "objects[1].x1"},
		{"moved a little", 1, func(n uint64, l *Line) {
			if n == busy {
				l.Objects[1].X1 += 0.5
			}
		}, ""},
		{"moved a lot", 1, func(n uint64, l *Line) {
			if n == busy {
				l.Objects[1].X1 += 5
			}
		}, "objects[1]"},
		{"order and ids", 1, func(n uint64, l *Line) { slices.Reverse(l.Objects); l.Objects = slices.Clone(l.Objects) }, ""},
		{"order", 0, func(n uint64, l *Line) { slices.Reverse(l.Objects) }, "objects[0]"},
		{"fewer objects", 1, func(n uint64, l *Line) {
			if n == busy {
				l.Objects = l.Objects[1:]
			}
		}, "number of objects"},
		{"label", 1, func(n uint64, l *Line) {
			if n == busy {
				l.Objects[0].Label = "cow"
			}
		}, "objects[0]"},
		{"time", 0, func(n uint64, l *Line) { l.Seconds += 0.001 }, "seconds"},
		{"frame", 1, func(n uint64, l *Line) { l.Frame++ }, "frame"},
		{"shorter", 0, func(n uint64, l *Line) {
			if n == 50 {
				l.Seq = 0
			}
		}, "this line was there and is missing"},
	} {
		lines, d, err := CompareLogs(bytes.NewReader(text(nil)), bytes.NewReader(text(c.change)), c.tolerance)
		if err != nil || (d == nil) != (c.want == "") || d != nil && !strings.Contains(d.String(), c.want) || lines == 0 {
			t.Errorf("%s: %d lines, %v, %v", c.name, lines, d, err)
		}
	}
}

// FuzzLog reads anything as a log, and as what a crash left of one.
func FuzzLog(f *testing.F) {
	f.Add([]byte(`{"seq":1,"frame":1,"seconds":0,"width":2,"height":2,"objects":[{"id":1,"class":0,"label":"x","score":0.5,"x0":0,"y0":0,"x1":1,"y1":1}]}` + "\n"))
	f.Add([]byte("{\"seq\":1}\n{\"seq\":2}\n{\"se"))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		end, _, err := whole(bytes.NewReader(b), 1)
		if err != nil || end.Bytes > int64(len(b)) || end.Bytes > 0 && b[end.Bytes-1] != '\n' {
			t.Fatalf("%+v of %d bytes, %v", end, len(b), err)
		}
		var coco, mot, vtt bytes.Buffer
		counts, err := Derive(t.Context(), bytes.NewReader(b), Source{}, Derived{&coco, &mot, &vtt})
		if err == nil && (!json.Valid(coco.Bytes()) || counts.Lines > 0 && len(b) == 0) {
			t.Fatalf("coco.json is no JSON: %s", coco.String())
		}
	})
}
