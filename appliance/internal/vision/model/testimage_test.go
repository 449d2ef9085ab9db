package model

import (
	"image"
	"image/jpeg"
	"math"
	"os"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// readJPEG decodes a picture to RGB.
func readJPEG(t testing.TB, path string) vision.RGB {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return toRGB(img)
}

func toRGB(img image.Image) vision.RGB {
	b := img.Bounds()
	out := vision.RGB{Width: b.Dx(), Height: b.Dy(), Stride: 3 * b.Dx(), Pix: make([]byte, 3*b.Dx()*b.Dy())}
	for y := range b.Dy() {
		for x := range b.Dx() {
			r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
			o := y*out.Stride + 3*x
			out.Pix[o], out.Pix[o+1], out.Pix[o+2] = byte(r>>8), byte(g>>8), byte(bl>>8)
		}
	}
	return out
}

// scale is bilinear scaling with pixel centres at .5, without low-pass, as
// OpenCV's INTER_LINEAR, which the networks were trained and measured with.
func scale(src vision.RGB, w, h int) vision.RGB {
	out := vision.RGB{Width: w, Height: h, Stride: 3 * w, Pix: make([]byte, 3*w*h)}
	for y := range h {
		y0, y1, fy := tap(y, h, src.Height)
		for x := range w {
			x0, x1, fx := tap(x, w, src.Width)
			for c := range 3 {
				at := func(x, y int) float64 { return float64(src.Pix[y*src.Stride+3*x+c]) }
				top := at(x0, y0)*(1-fx) + at(x1, y0)*fx
				low := at(x0, y1)*(1-fx) + at(x1, y1)*fx
				out.Pix[y*out.Stride+3*x+c] = byte(math.Round(top*(1-fy) + low*fy))
			}
		}
	}
	return out
}

// tap is the two source pixels of a target pixel and the weight of the second.
func tap(i, n, source int) (a, b int, weight float64) {
	p := (float64(i)+0.5)*float64(source)/float64(n) - 0.5
	a = int(math.Floor(p))
	weight = p - float64(a)
	b = min(max(a+1, 0), source-1)
	a = min(max(a, 0), source-1)
	return a, b, weight
}
