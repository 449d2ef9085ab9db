package output

import (
	"math"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// decode decodes with a new decoder and fails the test on an error.
func decode(t *testing.T, s Spec, threshold float32, outputs ...Tensor) []vision.Detection {
	t.Helper()
	d, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var got []vision.Detection
	for range 2 { // scratch memory must not carry over
		if got, err = d.Decode(got[:0], outputs, threshold); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// expect compares with tolerance.
func expect(t *testing.T, got []vision.Detection, want ...vision.Detection) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d objects %v, want %v", len(got), got, want)
	}
	near := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-3 }
	for i, g := range got {
		w := want[i]
		if g.Class != w.Class || !near(g.Score, w.Score) || !near(g.X0, w.X0) || !near(g.Y0, w.Y0) || !near(g.X1, w.X1) || !near(g.Y1, w.Y1) {
			t.Errorf("object %d: got %+v, want %+v", i, g, w)
		}
	}
}

func object(x0, y0, x1, y1 float32, class int, score float32) vision.Detection {
	return vision.Detection{Box: vision.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}, Class: class, Score: score}
}

// tensor is a tensor of zeros.
func tensor(name string, shape ...int64) Tensor {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return Tensor{name, shape, make([]float32, n)}
}

// set writes values from an offset on.
func (t Tensor) set(at int, v ...float32) Tensor {
	copy(t.Data[at:], v)
	return t
}

func TestYOLOX(t *testing.T) {
	// 64x32 at strides 8, 16, 32: 8x4 + 4x2 + 2x1 = 42 rows of 5+3.
	s := Spec{Family: YOLOX, Classes: 3, Width: 64, Height: 32}
	out := tensor("out", 1, 42, 8)
	// Row 11 is cell (3,1) of stride 8: centre (3.5*8, 1.25*8), size (2*8, 8).
	out.set(11*8, 0.5, 0.25, float32(math.Log(2)), 0, 0.9, 0.1, 0.8, 0.2)
	// Row 41 is cell (1,0) of stride 32, and its product is under the threshold.
	out.set(41*8, 0, 0, 0, 0, 0.6, 0.5, 0.1, 0.1)
	// Row 37 is cell (1,1) of stride 16.
	out.set(37*8, 0, 0, 0, 0, 0.6, 0, 0, 1)
	expect(t, decode(t, s, 0.35, out),
		object(20, 6, 36, 14, 1, 0.72), object(8, 8, 24, 24, 2, 0.6))
	s.AllClasses = true
	expect(t, decode(t, s, 0.15, out)[:2],
		object(20, 6, 36, 14, 1, 0.72), object(20, 6, 36, 14, 2, 0.18))
	s.AllClasses, s.Decoded = false, true
	out = tensor("out", 1, 42, 8).set(8, 30, 20, 10, 4, 1, 0, 0, 0.5)
	expect(t, decode(t, s, 0.1, out), object(25, 18, 35, 22, 2, 0.5))
	// Four strides are known by the number of rows.
	expect(t, decode(t, Spec{Family: YOLOX, Classes: 1, Width: 64, Height: 64}, 0.1,
		tensor("out", 1, 85, 6).set(84*6, 0.5, 0.5, 0, 0, 1, 1)), object(0, 0, 64, 64, 0, 1))
}

func TestYOLOv5(t *testing.T) {
	out := tensor("output0", 1, 3, 7).
		set(0, 100, 50, 40, 20, 0.9, 0.5, 0.9).
		set(7, 10, 10, 4, 4, 0.3, 1, 0).
		set(14, 10, 10, 0, 4, 1, 1, 0) // no width
	expect(t, decode(t, Spec{Family: YOLOv5, Classes: 2, Width: 640, Height: 640}, 0.35, out),
		object(80, 40, 120, 60, 1, 0.81))
}

func TestYOLOv8(t *testing.T) {
	s := Spec{Family: YOLOv8, Classes: 2, Width: 640, Height: 640}
	columns := tensor("output0", 1, 6, 3).
		set(0, 100, 10, 300). // cx
		set(3, 50, 10, 200).  // cy
		set(6, 40, 4, 10).    // w
		set(9, 20, 4, 10).    // h
		set(12, 0.4, 0.1, 0.9).
		set(15, 0.7, 0.2, 0.5)
	want := []vision.Detection{object(80, 40, 120, 60, 1, 0.7), object(295, 195, 305, 205, 0, 0.9)}
	expect(t, decode(t, s, 0.35, columns), want...)
	rows := tensor("output0", 1, 3, 6)
	for i := range 3 {
		for k := range 6 {
			rows.Data[i*6+k] = columns.Data[k*3+i]
		}
	}
	expect(t, decode(t, s, 0.35, rows), want...)
	s.AllClasses = true
	if got := decode(t, s, 0.35, columns); len(got) != 4 {
		t.Errorf("all classes: %v", got)
	}
	if got := decode(t, s, 0.35, rows); len(got) != 4 {
		t.Errorf("all classes, rows: %v", got)
	}
}

// edges are four distributions, each all but certain of one step.
func edges(bins int, steps ...int) []float32 {
	e := make([]float32, 4*bins)
	for i, s := range steps {
		e[i*bins+s] = 40
	}
	return e
}

func TestNanoDet(t *testing.T) {
	// 64x64 at strides 8, 16, 32, 64: 64+16+4+1 = 85 rows; corners.
	s := Spec{Family: NanoDet, Classes: 2, Width: 64, Height: 64}
	row := func(n int) int { return n * (2 + 32) }
	out := tensor("output", 1, 85, 34)
	// Cell (2,3) of stride 8; left 1, top 2, right 3, bottom 0.5 strides.
	out.set(row(26), 0.2, 0.8).set(row(26)+2, edges(8, 1, 2, 3, 0)...)
	out.Data[row(26)+2+3*8+1] = 40 // half of the weight on step 1
	want := object(16-8, 24-16, 16+24, 24+4, 1, 0.8)
	expect(t, decode(t, s, 0.35, out), want)

	cls, reg := tensor("cls", 1, 85, 2), tensor("reg", 1, 85, 32)
	for i := range 85 {
		cls.set(2*i, out.Data[row(i):row(i)+2]...)
		reg.set(32*i, out.Data[row(i)+2:row(i+1)]...)
	}
	expect(t, decode(t, s, 0.35, cls, reg), want)
	expect(t, decode(t, s, 0.35, reg, cls), want)

	// The first version: three strides, centres; here with logits.
	s.Scores = Sigmoid
	old := tensor("output", 1, 84, 34)
	for i := range 84 {
		old.set(row(i), -9, -9)
	}
	old.set(row(83), -9, 2).set(row(83)+2, edges(8, 0, 1, 0, 0)...)
	expect(t, decode(t, s, 0.35, old)) // no width: nothing
	old.set(row(83)+2, edges(8, 0, 1, 1, 0)...)
	expect(t, decode(t, s, 0.35, old), object(48, 16, 80, 48, 1, 0.8808))
}

func TestFastestDet(t *testing.T) {
	// Two classes on a grid of 4x2 over 352x176.
	out := tensor("758", 1, 7, 2, 4)
	plane := func(p, cell int, v float32) { out.Data[p*8+cell] = v }
	// Cell (1,1): offset tanh(0.5), tanh(-0.5); size sigmoid(0), sigmoid(-1).
	plane(0, 5, 0.9)
	plane(1, 5, 0.5)
	plane(2, 5, -0.5)
	plane(4, 5, -1)
	plane(5, 5, 0.3)
	plane(6, 5, 0.7)
	cx, cy := (1+math.Tanh(0.5))/4*352, (1-math.Tanh(0.5))/2*176
	w, h := 176.0, 176/(1+math.E)
	score := math.Pow(0.9, 0.6) * math.Pow(0.7, 0.4)
	expect(t, decode(t, Spec{Family: FastestDet, Classes: 2, Width: 352, Height: 176}, 0.6, out),
		object(float32(cx-w/2), float32(cy-h/2), float32(cx+w/2), float32(cy+h/2), 1, float32(score)))
	if got := decode(t, Spec{Family: FastestDet, Classes: 2, Width: 352, Height: 176}, 0.9, out); len(got) != 0 {
		t.Errorf("above the score: %v", got)
	}
}

func TestDETR(t *testing.T) {
	s := Spec{Family: DETR, Classes: 2, Width: 200, Height: 100}
	boxes := tensor("pred_boxes", 1, 2, 4).set(0, 0.5, 0.5, 0.2, 0.4, 0.1, 0.1, 0.1, 0.1)
	// Sigmoid: as many logits as classes.
	logits := tensor("logits", 1, 2, 2).set(0, 0, 2, -3, -3)
	want := object(80, 30, 120, 70, 1, 0.8808)
	expect(t, decode(t, s, 0.5, boxes, logits), want)
	expect(t, decode(t, s, 0.5, logits, boxes), want)
	// Softmax: one more, "no object".
	logits = tensor("logits", 1, 2, 3).set(0, 0, 2, 0, 0, 1, 9)
	want.Score = float32(math.Exp(2) / (math.Exp(2) + 2))
	expect(t, decode(t, s, 0.5, boxes, logits), want)
	// Four logits are told from four coordinates by name.
	four := Spec{Family: DETR, Classes: 4, Width: 200, Height: 100}
	want.Score, want.Class = 0.8808, 3
	expect(t, decode(t, four, 0.5, tensor("pred_logits", 1, 2, 4).set(0, -9, -9, -9, 2, -9, -9, -9, -9), boxes), want)
	// An export with post-processing.
	expect(t, decode(t, s, 0.5,
		tensor("labels", 1, 2).set(0, 1, 7), tensor("boxes", 1, 2, 4).set(0, 80, 30, 120, 70, 1, 1, 2, 2),
		tensor("scores", 1, 2).set(0, 0.8808, 0.9)), object(80, 30, 120, 70, 1, 0.8808))
}

func TestErrorsNameTheMismatch(t *testing.T) {
	for _, c := range []struct {
		name    string
		spec    Spec
		outputs []Tensor
		says    []string
	}{
		{"other classes", Spec{Family: YOLOX, Classes: 80, Width: 416, Height: 416},
			[]Tensor{tensor("out", 1, 3549, 9)}, []string{"80 classes", `"out" [1 3549 9]`, "labels"}},
		{"other size", Spec{Family: YOLOX, Classes: 1, Width: 640, Height: 640},
			[]Tensor{tensor("out", 1, 3549, 6)}, []string{"3549 rows", "640x640", "8400 or 8500"}},
		{"other family", Spec{Family: YOLOv8, Classes: 80, Width: 416, Height: 416},
			[]Tensor{tensor("out", 1, 3549, 85)}, []string{"yolov8", "[1,4+classes,N]", "[1 3549 85]"}},
		{"batch", Spec{Family: YOLOv5, Classes: 1, Width: 64, Height: 64},
			[]Tensor{tensor("out", 2, 10, 6)}, []string{"batch of 2"}},
		{"short data", Spec{Family: YOLOv5, Classes: 1, Width: 64, Height: 64},
			[]Tensor{{"out", []int64{1, 10, 6}, make([]float32, 59)}}, []string{"59 values"}},
		{"none", Spec{Family: DETR, Classes: 1, Width: 64, Height: 64}, nil, []string{"no output"}},
		{"one of two", Spec{Family: DETR, Classes: 1, Width: 64, Height: 64},
			[]Tensor{tensor("boxes", 1, 10, 4)}, []string{"logits"}},
		{"nanodet bins", Spec{Family: NanoDet, Classes: 1, Width: 64, Height: 64, RegMax: 15},
			[]Tensor{tensor("out", 1, 85, 33)}, []string{"reg_max"}},
		{"fastestdet rank", Spec{Family: FastestDet, Classes: 1, Width: 64, Height: 64},
			[]Tensor{tensor("out", 1, 6, 4)}, []string{"[1,5+classes,H,W]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := New(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Decode(nil, c.outputs, 0.3)
			for _, s := range c.says {
				if err == nil || !strings.Contains(err.Error(), s) {
					t.Errorf("error %v does not say %q", err, s)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := Spec{Family: YOLOX, Classes: 1, Width: 64, Height: 64}
	for name, change := range map[string]func(*Spec){
		"family": func(s *Spec) { s.Family = "ssd" }, "classes": func(s *Spec) { s.Classes = 0 },
		"size": func(s *Spec) { s.Width = 1 << 20 }, "stride": func(s *Spec) { s.Strides = []int{0} },
		"cells":   func(s *Spec) { s.Strides, s.Width, s.Height = []int{1, 1}, 8192, 8192 },
		"reg_max": func(s *Spec) { s.RegMax = -1 }, "activation": func(s *Spec) { s.Scores = "relu" },
		"softmax": func(s *Spec) { s.Scores = Softmax },
	} {
		s := good
		change(&s)
		if _, err := New(s); err == nil {
			t.Errorf("%s: New(%+v) took it", name, s)
		}
	}
	for _, alias := range []string{"YOLOv11", "yolo11", "yolov8", "RT-DETR", "yolov7", "nanodet"} {
		if _, err := ParseFamily(alias); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseFamily("ssd"); err == nil {
		t.Error("ssd is no family")
	}
}
