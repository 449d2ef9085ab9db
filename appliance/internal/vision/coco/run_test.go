package coco

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

func TestScale(t *testing.T) {
	src := vision.RGB{Width: 2, Height: 1, Stride: 6, Pix: []byte{0, 100, 200, 100, 200, 0}}
	if got := Scale(src, 2, 1); !bytes.Equal(got.Pix, src.Pix) {
		t.Errorf("the same size: %v", got.Pix)
	}
	// Centres of four pixels over two: -0.25, 0.25, 0.75, 1.25.
	want := []byte{0, 100, 200, 25, 125, 150, 75, 175, 50, 100, 200, 0}
	got := Scale(src, 4, 2)
	if !bytes.Equal(got.Pix[:12], want) || !bytes.Equal(got.Pix[12:], want) {
		t.Errorf("larger: %v, want %v twice", got.Pix, want)
	}
	if got := Scale(src, 1, 1); !bytes.Equal(got.Pix, []byte{50, 150, 100}) {
		t.Errorf("smaller: %v", got.Pix)
	}
}

// bright finds one car: the bright half of a picture.
type bright struct{ w, h int }

func (b bright) InputSize(int, int) (int, int) { return b.w, b.h }

func (b bright) Detect(img vision.RGB, w, h int) ([]vision.Detection, error) {
	if img.Width != b.w || img.Height != b.h {
		return nil, errors.New("not the size asked for")
	}
	first := img.Width
	for x := range img.Width {
		if img.Pix[3*x] > 128 {
			first = min(first, x)
		}
	}
	return []vision.Detection{{Label: "car", Score: 0.9,
		Box: vision.Box{X0: float32(first*w) / float32(b.w), X1: float32(w), Y1: float32(h)}}}, nil
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 64, 32))
	for y := range 32 {
		for x := 32; x < 64; x++ {
			img.Set(x, y, color.White)
		}
	}
	var b bytes.Buffer
	if err := errors.Join(jpeg.Encode(&b, img, nil), os.WriteFile(filepath.Join(dir, "a.jpg"), b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	d := set(1, truth(1, 3, 32, 0, 32, 32))
	d.Images[0].FileName = "a.jpg"
	results, err := Run(context.Background(), bright{16, 8}, d, dir)
	if err != nil {
		t.Fatal(err)
	}
	if s := Evaluate(d, results, All); s.MAP < 0.999 {
		t.Errorf("results %v: %+v", results, s)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(stopped, bright{16, 8}, d, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	d.Images[0].FileName = "b.jpg"
	if _, err := Run(context.Background(), bright{16, 8}, d, dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such picture: %v", err)
	}
}
