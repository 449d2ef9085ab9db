// Package clips holds one very short clip for each codec, and knows what its
// pictures look like: a decoder that turns a clip into other pictures, or into
// none, is not to be used.
//
// The pictures are a grid of grey blocks in an order that no test pattern has,
// sliding by one block a frame, so that neither a driver's own picture, nor grey,
// nor green, nor a picture that stands still passes for them. scripts/clips makes
// the clips anew; they are Matroska, all of them, so that a prover needs one demuxer.
package clips

import (
	"embed"
	"fmt"
	"math"
)

// The shape of every clip. 320x240 is above the smallest size of the hardware
// decoders that have one.
const (
	Width, Height = 320, 240
	Columns, Rows = 16, 12 // blocks of 20x20 pixels
	Frames        = 9
	FPS           = 25
)

// Blocks range from Darkest to Brightest, inside the limited range of video.
const (
	Darkest, Brightest = 36, 216
)

//go:embed *.mkv
var files embed.FS

// The codecs that there are clips for, as caps and cameras call them.
var codecs = [...]string{"h264", "h265", "vp8", "vp9", "av1", "mpeg2", "mpeg4", "jpeg"}

// Codecs returns the codecs that there are clips for.
func Codecs() []string { return codecs[:] }

// Clip returns the Matroska file for a codec; ok is false for a codec that has none.
func Clip(codec string) (data []byte, ok bool) {
	data, err := files.ReadFile(codec + ".mkv")
	return data, err == nil
}

// Grid is a picture's mean luma (0-255) in each of Columns x Rows blocks, row by row.
type Grid [Columns * Rows]float64

// Expected returns what frame n of every clip, counted from 0, looks like.
func Expected(n int) Grid {
	var g Grid
	for row := range Rows {
		for column := range Columns {
			g[row*Columns+column] = float64(block(column+n, row))
		}
	}
	return g
}

// Measure returns the grid of a picture's luma plane: width x height samples, rows
// stride bytes apart. The picture may have another size than the clip (a decoder
// may pad or scale): it is measured in proportion, leaving out each block's rim, which
// compression and scaling blur. A picture smaller than the grid is an error.
func Measure(luma []byte, width, height, stride int) (Grid, error) {
	var g Grid
	if width < 4*Columns || height < 4*Rows {
		return g, fmt.Errorf("a picture of %dx%d is too small to be looked at", width, height)
	}
	if stride < width || len(luma) < stride*(height-1)+width {
		return g, fmt.Errorf("%d bytes are too few for %d rows of %d, %d apart", len(luma), height, width, stride)
	}
	for row := range Rows {
		y0, y1 := inner(row, Rows, height)
		for column := range Columns {
			x0, x1 := inner(column, Columns, width)
			sum := 0
			for y := y0; y < y1; y++ {
				for _, v := range luma[y*stride+x0 : y*stride+x1] {
					sum += int(v)
				}
			}
			g[row*Columns+column] = float64(sum) / float64((y1-y0)*(x1-x0))
		}
	}
	return g, nil
}

// inner is the middle half of block i of n over size pixels.
func inner(i, n, size int) (from, to int) {
	start, end := i*size/n, (i+1)*size/n
	rim := (end - start) / 4
	return start + rim, end - rim
}

// Differs returns the mean distance between two grids, in luma steps (0-255).
func (g Grid) Differs(other Grid) float64 {
	sum := 0.0
	for i := range g {
		sum += math.Abs(g[i] - other[i])
	}
	return sum / float64(len(g))
}

// Misses returns how far g is from frame n, in luma steps. Full range for limited and
// the reverse are not counted: decoders disagree on what a JPEG picture is, and
// that is for the caps to tell, not for a proof.
func (g Grid) Misses(n int) float64 {
	want := Expected(n)
	least := g.Differs(want)
	var squeezed, stretched Grid
	for i, v := range want {
		squeezed[i] = 16 + v*219/255
		stretched[i] = (v - 16) * 255 / 219
	}
	return min(least, g.Differs(squeezed), g.Differs(stretched))
}

// Nearest returns the frame of the clip that g misses least, and by how much.
func (g Grid) Nearest() (frame int, differs float64) {
	differs = math.Inf(1)
	for n := range Frames {
		if d := g.Misses(n); d < differs {
			frame, differs = n, d
		}
	}
	return frame, differs
}

// Picture draws frame n as I420, without padding: what the clips were encoded from.
func Picture(n int) []byte {
	const luma = Width * Height
	pix := make([]byte, luma*3/2)
	for y := range Height {
		for x := range Width {
			pix[y*Width+x] = block(x*Columns/Width+n, y*Rows/Height)
		}
	}
	for i := luma; i < len(pix); i++ {
		pix[i] = 128
	}
	return pix
}

// block is the grey of the block in one column and row. Columns go on for ever:
// frame n begins at column n.
func block(column, row int) byte {
	// A few rounds of mixing; the constants are odd numbers without a pattern.
	h := uint32(column)*2654435761 + uint32(row)*2246822519 + 374761393
	h ^= h >> 15
	h *= 2246822519
	h ^= h >> 13
	h *= 3266489917
	h ^= h >> 16
	return Darkest + byte(h%(Brightest-Darkest+1))
}
