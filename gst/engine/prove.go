package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// Proof is what a decoder or encoder made of a clip.
type Proof struct {
	Frames        int
	Width, Height int
	// Luma is the last frame's brightness, means over a grid of 16 x 9 cells,
	// row by row, 0-255.
	Luma [9][16]float64
	// Each is the mean time for one frame.
	Each time.Duration
}

// Prove decodes a small clip (a whole file of any container, or raw H.264 or
// H.265) with this decoder and no other. An error means that it is not to be
// used for this codec here.
func Prove(ctx context.Context, element, codec string, clip []byte) (Proof, error) {
	dir, err := os.MkdirTemp("", "watchpost-prove-")
	if err != nil {
		return Proof{}, fmt.Errorf("prove %s: %w", element, err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "clip")
	if err := os.WriteFile(file, clip, 0o600); err != nil {
		return Proof{}, fmt.Errorf("prove %s: %w", element, err)
	}
	var p Proof
	var used string
	start := time.Now()
	src := plan.Source{URL: file, Decoders: map[string][]string{codec: {element}}, Threads: 1}
	err = Read(ctx, src, Handlers{
		Info: func(i Info) { used, p.Width, p.Height = i.Decoder, i.Width, i.Height },
		Frame: func(f *Frame) {
			p.Frames++
			p.Luma = grid(f)
			f.Release()
		},
	})
	if err != nil {
		return p, fmt.Errorf("prove %s: %w", element, err)
	}
	if used != element {
		return p, fmt.Errorf("prove %s: the clip is not %s, %s decoded it", element, codec, used)
	}
	p.Each = time.Since(start) / time.Duration(p.Frames)
	return p, nil
}

// grid is the mean brightness of 16 x 9 cells.
func grid(f *Frame) (g [9][16]float64) {
	for cy := range g {
		for cx := range g[cy] {
			x0, x1 := cx*f.Width/16, max((cx+1)*f.Width/16, cx*f.Width/16+1)
			y0, y1 := cy*f.Height/9, max((cy+1)*f.Height/9, cy*f.Height/9+1)
			sum, n := 0, 0
			for y := y0; y < min(y1, f.Height); y++ {
				for _, v := range f.Planes[0][y*f.Stride[0]+x0 : y*f.Stride[0]+min(x1, f.Width)] {
					sum += int(v)
					n++
				}
			}
			if n > 0 {
				g[cy][cx] = float64(sum) / float64(n)
			}
		}
	}
	return g
}

// proofFrames and its size are what an encoder is proven with: long enough for
// a keyframe and what follows it.
const (
	proofFrames = 12
	proofWidth  = 640
	proofHeight = 360
)

// ProveEncoder encodes a moving ramp with this encoder and sees that a keyframe
// comes first and every frame comes out. It does not look at the picture:
// decode the units with a proven decoder for that.
func ProveEncoder(ctx context.Context, element, codec string) ([]Unit, error) {
	var units []Unit
	x, err := NewEncoder(plan.Encode{
		Codec: codec, Width: proofWidth, Height: proofHeight, Elements: []string{element}, Live: true,
	}, func(u Unit) { units = append(units, u) })
	if err != nil {
		return nil, fmt.Errorf("prove %s: %w", element, err)
	}
	push := func() error {
		for i := range proofFrames {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := NewFrame(plan.I420, proofWidth, proofHeight)
			if err != nil {
				return err
			}
			ramp(f, i)
			if err := x.Push(f); err != nil {
				return err
			}
		}
		return nil
	}
	err = errors.Join(push(), x.Close())
	switch {
	case err != nil:
		return nil, fmt.Errorf("prove %s: %w", element, err)
	case len(units) != proofFrames:
		return nil, fmt.Errorf("prove %s: %d frames went in, %d came out", element, proofFrames, len(units))
	case !units[0].Keyframe:
		return nil, fmt.Errorf("prove %s: it does not begin with a keyframe", element)
	}
	return units, nil
}

func ramp(f *Frame, i int) {
	f.PTS = time.Duration(i) * time.Second / 30
	for y := range f.Height {
		row := f.Planes[0][y*f.Stride[0]:]
		for x := range f.Width {
			row[x] = byte(16 + (x/4+y/4+i*3)%200)
		}
	}
	for p := 1; p < 3; p++ {
		for j := range f.Planes[p] {
			f.Planes[p][j] = 128
		}
	}
}
