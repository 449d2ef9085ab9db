package coco

import (
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Detector is what is measured: a picture of w x h pixels, scaled to InputSize,
// goes in, boxes in pixels of the picture come out, valid until the next call.
type Detector interface {
	InputSize(w, h int) (int, int)
	Detect(img vision.RGB, w, h int) ([]vision.Detection, error)
}

// Run puts every image of the set, JPEG files in dir, through the detector. For
// figures like the published ones it must let objects of low score through (0.01)
// and give each class its own chance.
func Run(ctx context.Context, d Detector, set *Dataset, dir string) ([]Result, error) {
	var results []Result
	for _, img := range set.Images {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		picture, err := ReadJPEG(filepath.Join(dir, filepath.Base(img.FileName)))
		if err != nil {
			return nil, err
		}
		w, h := d.InputSize(picture.Width, picture.Height)
		found, err := d.Detect(Scale(picture, w, h), picture.Width, picture.Height)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", img.FileName, err)
		}
		results = append(results, set.Results(img.ID, found)...)
	}
	return results, nil
}

// ReadJPEG reads a picture file.
func ReadJPEG(path string) (vision.RGB, error) {
	f, err := os.Open(path)
	if err != nil {
		return vision.RGB{}, fmt.Errorf("read picture: %w", err)
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		return vision.RGB{}, fmt.Errorf("read picture %s: %w", path, err)
	}
	b := img.Bounds()
	rgba := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(rgba, rgba.Bounds(), img, b.Min, draw.Src)
	out := vision.RGB{Width: b.Dx(), Height: b.Dy(), Stride: 3 * b.Dx(), Pix: make([]byte, 0, 3*b.Dx()*b.Dy())}
	for p := rgba.Pix; len(p) >= 4; p = p[4:] {
		out.Pix = append(out.Pix, p[0], p[1], p[2])
	}
	return out, nil
}

// Scale is bilinear scaling with pixel centres at .5 and without a low-pass: the
// way of OpenCV's INTER_LINEAR, which detection networks are trained and
// measured with.
func Scale(src vision.RGB, w, h int) vision.RGB {
	out := vision.RGB{Width: w, Height: h, Stride: 3 * w, Pix: make([]byte, 3*w*h)}
	columns := make([]tap, w)
	for x := range columns {
		columns[x] = tapOf(x, w, src.Width)
	}
	for y := range h {
		r := tapOf(y, h, src.Height)
		top, low := src.Pix[r.a*src.Stride:], src.Pix[r.b*src.Stride:]
		for x, c := range columns {
			for k := range 3 {
				a, b := 3*c.a+k, 3*c.b+k
				t := float64(top[a]) + c.weight*(float64(top[b])-float64(top[a]))
				l := float64(low[a]) + c.weight*(float64(low[b])-float64(low[a]))
				out.Pix[y*out.Stride+3*x+k] = byte(math.Round(t + r.weight*(l-t)))
			}
		}
	}
	return out
}

// tap is the two source pixels of a target pixel and the weight of the second.
type tap struct {
	a, b   int
	weight float64
}

func tapOf(i, n, source int) tap {
	p := (float64(i)+0.5)*float64(source)/float64(n) - 0.5
	at := int(math.Floor(p))
	return tap{a: min(max(at, 0), source-1), b: min(max(at+1, 0), source-1), weight: p - float64(at)}
}
