package coco

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

func set(images int, annotations ...Annotation) *Dataset {
	d := &Dataset{Categories: []Category{{1, "person"}, {3, "car"}}, Annotations: annotations}
	for i := range images {
		d.Images = append(d.Images, Image{ID: i + 1})
	}
	return d
}

func truth(image, category int, x, y, w, h float64) Annotation {
	return Annotation{ID: 1, Image: image, Category: category, Box: [4]float64{x, y, w, h}, Area: w * h}
}

func crowd(a Annotation) Annotation {
	a.Crowd = 1
	return a
}

func found(image, category int, score, x, y, w, h float64) Result {
	return Result{image, category, [4]float64{x, y, w, h}, score}
}

// TestEvaluate holds the evaluation against figures worked out by hand from the
// definition (101 recall points, precision made monotone).
func TestEvaluate(t *testing.T) {
	// IoU of (0,0,10,10) with (0,0,10,8) is 0.8: found at 0.5 ... 0.8, 7 of 10.
	const shift = 0.8
	for _, c := range []struct {
		name    string
		set     *Dataset
		results []Result
		area    Area
		m, m50  float64
	}{
		{"perfect", set(1, truth(1, 1, 0, 0, 10, 10)),
			[]Result{found(1, 1, 0.9, 0, 0, 10, 10)}, All, 1, 1},
		{"nothing found", set(1, truth(1, 1, 0, 0, 10, 10)), nil, All, 0, 0},
		{"nothing there", set(1), []Result{found(1, 1, 0.9, 0, 0, 10, 10)}, All, -1, -1},
		{"overlap 0.8", set(1, truth(1, 1, 0, 0, 10, 10)),
			[]Result{found(1, 1, 0.9, 0, 0, 10, 10*shift)}, All, 0.7, 1},
		// Half of the objects: precision 1 at recalls 0 ... 0.50, 51 of 101.
		{"one of two", set(2, truth(1, 1, 0, 0, 10, 10), truth(2, 1, 0, 0, 10, 10)),
			[]Result{found(1, 1, 0.9, 0, 0, 10, 10)}, All, 51.0 / 101, 51.0 / 101},
		// A wrong one ahead: precision 1/2 throughout.
		{"wrong one first", set(1, truth(1, 1, 0, 0, 10, 10)),
			[]Result{found(1, 1, 0.9, 50, 50, 10, 10), found(1, 1, 0.8, 0, 0, 10, 10)}, All, 0.5, 0.5},
		{"wrong one last", set(1, truth(1, 1, 0, 0, 10, 10)),
			[]Result{found(1, 1, 0.8, 50, 50, 10, 10), found(1, 1, 0.9, 0, 0, 10, 10)}, All, 1, 1},
		// A second result on the same object is wrong.
		{"found twice", set(1, truth(1, 1, 0, 0, 10, 10), truth(1, 1, 50, 0, 10, 10)),
			[]Result{found(1, 1, 0.9, 0, 0, 10, 10), found(1, 1, 0.8, 0, 0, 10, 10), found(1, 1, 0.7, 50, 0, 10, 10)},
			All, (51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101},
		// Precision across images goes by score: right, wrong, right.
		{"two images", set(2, truth(1, 1, 0, 0, 10, 10), truth(2, 1, 0, 0, 10, 10)),
			[]Result{found(2, 1, 0.7, 0, 0, 10, 10), found(2, 1, 0.8, 50, 0, 9, 9), found(1, 1, 0.9, 0, 0, 10, 10)},
			All, (51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101},
		{"wrong category", set(1, truth(1, 1, 0, 0, 10, 10)),
			[]Result{found(1, 3, 0.9, 0, 0, 10, 10)}, All, 0, 0},
		// One category perfect, one not found: the mean of both.
		{"two categories", set(1, truth(1, 1, 0, 0, 10, 10), truth(1, 3, 0, 0, 10, 10)),
			[]Result{found(1, 3, 0.9, 0, 0, 10, 10)}, All, 0.5, 0.5},
		// Results within a crowd are neither right nor wrong, as many as they are.
		{"crowd", set(1, truth(1, 1, 0, 0, 10, 10), crowd(truth(1, 1, 100, 100, 100, 100))),
			[]Result{found(1, 1, 0.9, 110, 110, 10, 10), found(1, 1, 0.8, 150, 110, 10, 10), found(1, 1, 0.7, 0, 0, 10, 10)}, All, 1, 1},
		// An object within a crowd is taken before the crowd.
		{"in a crowd", set(1, crowd(truth(1, 1, 0, 0, 100, 100)), truth(1, 1, 0, 0, 10, 10)),
			[]Result{found(1, 1, 0.9, 0, 0, 10, 10)}, All, 1, 1},
		// Of the sizes, only the one asked for counts: the large one is ignored,
		// and so is the result on it, and a large result on nothing.
		{"small", set(1, truth(1, 1, 0, 0, 10, 10), truth(1, 1, 200, 200, 200, 200)),
			[]Result{found(1, 1, 0.9, 200, 200, 200, 200), found(1, 1, 0.85, 600, 200, 200, 200), found(1, 1, 0.8, 0, 0, 10, 10)}, Small, 1, 1},
		{"no large", set(1, truth(1, 1, 0, 0, 10, 10)), nil, Large, -1, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Evaluate(c.set, c.results, c.area)
			if math.Abs(s.MAP-c.m) > 1e-9 || math.Abs(s.MAP50-c.m50) > 1e-9 {
				t.Errorf("mAP %v, mAP50 %v, want %v and %v", s.MAP, s.MAP50, c.m, c.m50)
			}
		})
	}
}

// TestOnlyTheBestHundred: what comes after a hundred results of an image does
// not count.
func TestOnlyTheBestHundred(t *testing.T) {
	var results []Result
	for i := range 100 {
		results = append(results, found(1, 1, 0.9, float64(1000+i*20), 0, 10, 10))
	}
	d := set(1, truth(1, 1, 0, 0, 10, 10))
	if s := Evaluate(d, append(results, found(1, 1, 0.5, 0, 0, 10, 10)), All); s.MAP != 0 {
		t.Errorf("the 101st counted: %v", s.MAP)
	}
	if s := Evaluate(d, append(results[:99], found(1, 1, 0.5, 0, 0, 10, 10)), All); math.Abs(s.MAP-0.01) > 1e-9 {
		t.Errorf("mAP %v, want 1/100", s.MAP)
	}
}

func TestLoad(t *testing.T) {
	write := func(text string) string {
		p := filepath.Join(t.TempDir(), "instances.json")
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	d, err := Load(write(`{"images":[{"id":7,"file_name":"a.jpg","width":20,"height":10}],
		"annotations":[{"id":1,"image_id":7,"category_id":3,"bbox":[1,2,3,4],"area":11.5,"iscrowd":1}],
		"categories":[{"id":3,"name":"car"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if a := d.Annotations[0]; a.Box != [4]float64{1, 2, 3, 4} || a.Area != 11.5 || a.Crowd != 1 || d.Images[0].FileName != "a.jpg" {
		t.Errorf("read %+v", d)
	}
	rs := d.Results(7, []vision.Detection{
		{Box: vision.Box{X0: 1, Y0: 2, X1: 4, Y1: 6}, Label: "car", Score: 0.5}, {Label: "unicorn"}})
	if len(rs) != 1 || rs[0] != (Result{7, 3, [4]float64{1, 2, 3, 4}, 0.5}) {
		t.Errorf("Results = %v", rs)
	}
	for text, says := range map[string]string{
		`{"annotations":[{"id":1,"image_id":7}]}`: "not in it",
		`[`: "read annotations",
	} {
		if _, err := Load(write(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Load(%s): %v", text, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a missing file was read")
	}
}
