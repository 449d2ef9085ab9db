package model

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/coco"
	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

func fileTime(t *testing.T, path string) time.Time {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime()
}

// made makes a detector of model data and a card's text.
func made(t *testing.T, data []byte, card string, o Options) (*Detector, error) {
	t.Helper()
	c, err := ParseCard([]byte(card))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(t.TempDir(), "m.onnx"), data)
	d, err := NewDetector(acceltest.Runtime(t), Model{Name: c.Name, Path: path, Card: c}, o)
	if err == nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

// TestMapping: a box of known place in the input comes out at the right place
// of the frame, for each way of fitting the picture in.
func TestMapping(t *testing.T) {
	// The box is (24,24)-(40,40) of the 64x64 input.
	for _, c := range []struct {
		letterbox      string
		frameW, frameH int
		w, h           int // of the scaled picture
		want           vision.Box
	}{
		{TopLeft, 640, 640, 64, 64, vision.Box{X0: 240, Y0: 240, X1: 400, Y1: 400}},
		{TopLeft, 1280, 720, 64, 36, vision.Box{X0: 480, Y0: 480, X1: 800, Y1: 720}}, // the padding is cut off
		{TopLeft, 720, 1280, 36, 64, vision.Box{X0: 480, Y0: 480, X1: 720, Y1: 800}},
		{Center, 1280, 720, 64, 36, vision.Box{X0: 480, Y0: 200, X1: 800, Y1: 520}},
		{Center, 720, 1280, 36, 64, vision.Box{X0: 200, Y0: 480, X1: 520, Y1: 800}},
		{Stretch, 1280, 720, 64, 64, vision.Box{X0: 480, Y0: 270, X1: 800, Y1: 450}},
		{Center, 100, 1, 64, 1, vision.Box{}}, // hardly a picture, but no crash
	} {
		t.Run(fmt.Sprintf("%s %dx%d", c.letterbox, c.frameW, c.frameH), func(t *testing.T) {
			d, err := made(t, yolov8(), yolov8Card+"input: {letterbox: "+c.letterbox+"}\n", Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			w, h := d.InputSize(c.frameW, c.frameH)
			if w != c.w || h != c.h {
				t.Fatalf("InputSize = %dx%d, want %dx%d", w, h, c.w, c.h)
			}
			found, err := d.Detect(gradient(w, h), c.frameW, c.frameH)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == (vision.Box{}) {
				return
			}
			if len(found) != 1 || found[0].Label != "dog" || found[0].Class != 1 || found[0].Score != 0.9 {
				t.Fatalf("found %+v", found)
			}
			b := found[0].Box
			for _, diff := range []float32{b.X0 - c.want.X0, b.Y0 - c.want.Y0, b.X1 - c.want.X1, b.Y1 - c.want.Y1} {
				if math.Abs(float64(diff)) > 0.01 {
					t.Fatalf("box %+v, want %+v", b, c.want)
				}
			}
		})
	}
}

// TestFill looks at what stands in the tensor: order of channels, arithmetic,
// padding, also after the picture moved.
func TestFill(t *testing.T) {
	img := vision.RGB{Width: 2, Height: 1, Stride: 8, Pix: []byte{10, 20, 30, 40, 50, 60, 99, 99}}
	in := Input{Layout: "nchw", Colour: "bgr", Scale: 2, Mean: []float32{1, 2, 3}, Std: []float32{1, 2, 4}, Pad: 5}
	// By tensor channel: blue (v*2-1)/1, green (v*2-2)/2, red (v*2-3)/4.
	blue, green, red := func(v float32) float32 { return v*2 - 1 }, func(v float32) float32 { return v - 1 }, func(v float32) float32 { return (v*2 - 3) / 4 }
	f := newFiller(make([]float32, 3*4*2), 4, 2, in)
	f.fill(img, area{0, 0, 2, 1})
	f.fill(img, area{1, 1, 2, 1})
	p := [3]float32{blue(5), green(5), red(5)}
	want := []float32{
		p[0], p[0], p[0], p[0], p[0], blue(30), blue(60), p[0],
		p[1], p[1], p[1], p[1], p[1], green(20), green(50), p[1],
		p[2], p[2], p[2], p[2], p[2], red(10), red(40), p[2],
	}
	if !slices.Equal(f.dst, want) {
		t.Errorf("nchw bgr\ngot  %v\nwant %v", f.dst, want)
	}
	in = Input{Layout: "nhwc", Colour: "rgb", Scale: 1, Pad: 7}
	f = newFiller(make([]float32, 3*2*2), 2, 2, in)
	f.fill(img, area{0, 1, 2, 1})
	if want := []float32{7, 7, 7, 7, 7, 7, 10, 20, 30, 40, 50, 60}; !slices.Equal(f.dst, want) {
		t.Errorf("nhwc rgb: got %v, want %v", f.dst, want)
	}
	in.Colour = "bgr"
	f = newFiller(make([]float32, 3*2*1), 2, 1, in)
	f.fill(img, area{0, 0, 2, 1})
	if want := []float32{30, 20, 10, 60, 50, 40}; !slices.Equal(f.dst, want) {
		t.Errorf("nhwc bgr: got %v, want %v", f.dst, want)
	}
}

func TestDetectRefuses(t *testing.T) {
	d, err := made(t, yolov8(), yolov8Card, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		img  vision.RGB
		w, h int
	}{
		"other size":   {gradient(64, 64), 1280, 720},
		"no frame":     {gradient(64, 64), 0, 0},
		"short":        {vision.RGB{Width: 64, Height: 36, Stride: 192, Pix: make([]byte, 100)}, 1280, 720},
		"small stride": {vision.RGB{Width: 64, Height: 36, Stride: 64, Pix: make([]byte, 1<<16)}, 1280, 720},
	} {
		if _, err := d.Detect(c.img, c.w, c.h); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestClassesAndThreshold(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want int
	}{
		{Options{}, 1}, {Options{Threshold: 0.95}, 0}, {Options{Classes: []string{"cat"}}, 0},
		{Options{Classes: []string{"Dog"}}, 1}, {Options{Threshold: 0.05, AllClasses: true}, 2},
	} {
		c.o.Threads = 1
		d, err := made(t, yolov8(), yolov8Card, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := d.Detect(gradient(64, 64), 640, 640); err != nil || len(found) != c.want {
			t.Errorf("%+v: found %v, %v; want %d", c.o, found, err, c.want)
		}
	}
	if _, err := made(t, yolov8(), yolov8Card, Options{Classes: []string{"unicorn"}}); err == nil || !strings.Contains(err.Error(), "cat, dog") {
		t.Errorf("a class that the model has not: %v", err)
	}
}

// TestDETRExport: RT-DETR's own export asks for the size that its boxes shall
// have, in whole numbers, and answers with whole numbers as labels.
func TestDETRExport(t *testing.T) {
	// boxes = target sizes twice as (x0,y0,x1,y1) times constants.
	g := acceltest.Graph{
		Inputs: []acceltest.Value{
			{Name: "images", Type: acceltest.Float32, Dims: []int64{-1, 3, 64, 64}},
			{Name: "orig_target_sizes", Type: acceltest.Int64, Dims: []int64{-1, 2}}},
		Outputs: []acceltest.Value{
			{Name: "labels", Type: acceltest.Int64, Dims: []int64{1, 1}},
			{Name: "boxes", Type: acceltest.Float32, Dims: []int64{1, 1, 4}},
			{Name: "scores", Type: acceltest.Float32, Dims: []int64{1, 1}}},
		Constants: []acceltest.Constant{
			{Name: "l", Dims: []int64{1, 1}, Data: []float32{1}}, {Name: "s", Dims: []int64{1, 1}, Data: []float32{0.75}},
			{Name: "a", Dims: []int64{1, 2}, Data: []float32{0.25, 0.25}}, {Name: "b", Dims: []int64{1, 2}, Data: []float32{0.5, 0.75}},
			{Name: "one", Dims: []int64{1, 1, 4}, Data: []float32{1, 1, 1, 1}}},
		Nodes: []acceltest.Node{
			{Op: "Cast", In: []string{"orig_target_sizes"}, Out: []string{"f"}, Attr: map[string]int64{"to": acceltest.Float32}},
			{Op: "Mul", In: []string{"f", "a"}, Out: []string{"low"}}, {Op: "Mul", In: []string{"f", "b"}, Out: []string{"high"}},
			{Op: "Concat", In: []string{"low", "high"}, Out: []string{"flat"}, Attr: map[string]int64{"axis": 1}},
			{Op: "Mul", In: []string{"flat", "one"}, Out: []string{"boxes"}},
			{Op: "Cast", In: []string{"l"}, Out: []string{"labels"}, Attr: map[string]int64{"to": acceltest.Int64}},
			{Op: "Identity", In: []string{"s"}, Out: []string{"scores"}}},
	}
	d, err := made(t, g.Bytes(), "name: rtdetr\nlabels: [cat, dog]\noutput: {family: detr}\n", Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.Detect(gradient(64, 64), 1280, 640)
	if err != nil {
		t.Fatal(err)
	}
	want := vision.Detection{Box: vision.Box{X0: 320, Y0: 160, X1: 640, Y1: 480}, Class: 1, Label: "dog", Score: 0.75}
	if len(found) != 1 || found[0] != want {
		t.Errorf("found %+v, want %+v", found, want)
	}
}

func TestUnknownInputIsNamed(t *testing.T) {
	g := acceltest.Graph{
		Inputs: []acceltest.Value{
			{Name: "images", Type: acceltest.Float32, Dims: []int64{1, 3, 64, 64}},
			{Name: "weather", Type: acceltest.Float32, Dims: []int64{3}}},
		Outputs: []acceltest.Value{{Name: "y", Type: acceltest.Float32, Dims: []int64{3}}},
		Nodes:   []acceltest.Node{{Op: "Identity", In: []string{"weather"}, Out: []string{"y"}}},
	}
	if _, err := made(t, g.Bytes(), yolov8Card, Options{}); err == nil || !strings.Contains(err.Error(), `"weather"`) {
		t.Errorf("error %v does not name the input", err)
	}
}

// resident is the process's resident memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	var kb int
	if i := bytes.Index(status, []byte("VmRSS:")); i >= 0 {
		fmt.Sscan(string(status[i+6:]), &kb)
	}
	return kb << 10
}

// TestMemory: a worker has 200 MB for everything; the model may take its part
// once and nothing more with the frames.
func TestMemory(t *testing.T) {
	acceltest.Runtime(t)
	debug.FreeOSMemory()
	before := resident(t)
	d := open(t, acceltest.Media(t, "models/yolox_nano.onnx"), Options{Threads: 2})
	w, h := d.InputSize(1280, 720)
	img := gradient(w, h)
	run := func(n int) int {
		for range n {
			if _, err := d.Detect(img, 1280, 720); err != nil {
				t.Fatal(err)
			}
		}
		debug.FreeOSMemory()
		return resident(t)
	}
	first := run(3)
	later := run(60)
	t.Logf("resident: %d MB before, %d MB with the model, %d MB after 60 more frames", before>>20, first>>20, later>>20)
	if first-before > 80<<20 {
		t.Errorf("the model takes %d MB", (first-before)>>20)
	}
	if later-first > 8<<20 {
		t.Errorf("%d MB more after 60 frames", (later-first)>>20)
	}
	allocs := testing.AllocsPerRun(20, func() {
		if _, err := d.Detect(img, 1280, 720); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 8 {
		t.Errorf("%v allocations a frame", allocs)
	}
}

func BenchmarkFill(b *testing.B) {
	img := gradient(416, 416)
	for _, layout := range []string{"nchw", "nhwc"} {
		b.Run(layout, func(b *testing.B) {
			f := newFiller(make([]float32, 3*416*416), 416, 416, Input{Layout: layout, Colour: "bgr", Scale: 1, Pad: 114})
			b.ReportAllocs()
			for b.Loop() {
				f.fill(img, area{0, 0, 416, 416})
			}
		})
	}
}

func BenchmarkDetect(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, file := range []string{"yolox_nano.onnx", "FastestDet.onnx"} {
			b.Run(fmt.Sprintf("%s/threads=%d", file, threads), func(b *testing.B) {
				d := open(b, acceltest.Media(b, "models/"+file), Options{Threads: threads, Providers: []string{accel.CPU}})
				src := picture(b, "image/yolox_dog.jpg")
				w, h := d.InputSize(src.Width, src.Height)
				img := coco.Scale(src, w, h)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.Detect(img, src.Width, src.Height); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
