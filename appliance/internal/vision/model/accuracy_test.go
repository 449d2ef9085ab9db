package model

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/coco"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

func open(t testing.TB, path string, o Options) *Detector {
	t.Helper()
	rt := acceltest.Runtime(t)
	m, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDetector(rt, m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func picture(t testing.TB, name string) vision.RGB {
	t.Helper()
	img, err := coco.ReadJPEG(acceltest.Media(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func detect(t testing.TB, d *Detector, img vision.RGB) []vision.Detection {
	t.Helper()
	w, h := d.InputSize(img.Width, img.Height)
	found, err := d.Detect(coco.Scale(img, w, h), img.Width, img.Height)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestAccuracy holds the whole road from pixels to boxes against figures of an
// independent implementation, measured with pycocotools: every class above 0.01,
// overlap 0.65.
func TestAccuracy(t *testing.T) {
	set, err := coco.Load(acceltest.Media(t, "coco/instances.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, acceltest.Media(t, "models/yolox_nano.onnx"), Options{Threads: 2, Threshold: 0.01, NMSIoU: 0.65, AllClasses: true})
	results, err := coco.Run(context.Background(), d, set, acceltest.Media(t, "coco/images"))
	if err != nil {
		t.Fatal(err)
	}
	all := coco.Evaluate(set, results, coco.All)
	t.Logf("%d images, %d results: mAP50-95 %.4f, mAP50 %.4f, mAP75 %.4f; small %.4f, medium %.4f, large %.4f",
		len(set.Images), len(results), all.MAP, all.MAP50, all.MAP75,
		coco.Evaluate(set, results, coco.Small).MAP, coco.Evaluate(set, results, coco.Medium).MAP,
		coco.Evaluate(set, results, coco.Large).MAP)
	if math.Abs(all.MAP-0.356) > 0.01 || math.Abs(all.MAP50-0.551) > 0.01 {
		t.Errorf("mAP50-95 %.4f and mAP50 %.4f, want 0.356 and 0.551, within 0.01", all.MAP, all.MAP50)
	}
}

// TestReferencePictures looks for what is plainly in the pictures.
func TestReferencePictures(t *testing.T) {
	for _, c := range []struct {
		model, picture string
		threshold      float32
		want           []string // any of the names separated by a bar
	}{
		{"models/yolox_nano.onnx", "image/yolox_dog.jpg", 0, []string{"dog", "bicycle", "car|truck"}},
		{"models/yolox_nano.onnx", "image/rf_crowd.jpg", 0, []string{"person"}},
		{"models/FastestDet.onnx", "image/yolox_dog.jpg", 0, []string{"dog|cat"}},
	} {
		t.Run(filepath.Base(c.model)+"/"+filepath.Base(c.picture), func(t *testing.T) {
			d := open(t, acceltest.Media(t, c.model), Options{Threads: 2, Threshold: c.threshold})
			img := picture(t, c.picture)
			found := detect(t, d, img)
			labels := map[string]int{}
			for _, f := range found {
				labels[f.Label]++
				t.Logf("%-12s %.2f  %4.0f,%4.0f - %4.0f,%4.0f", f.Label, f.Score, f.X0, f.Y0, f.X1, f.Y1)
				if f.X0 < 0 || f.Y0 < 0 || f.X1 > float32(img.Width) || f.Y1 > float32(img.Height) {
					t.Errorf("box %v reaches out of the %dx%d frame", f.Box, img.Width, img.Height)
				}
			}
			for _, w := range c.want {
				if !slices.ContainsFunc(strings.Split(w, "|"), func(l string) bool { return labels[l] > 0 }) {
					t.Errorf("no %s found, only %v", w, labels)
				}
			}
		})
	}
}
