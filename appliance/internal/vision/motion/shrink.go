package motion

import "encoding/binary"

// targetWidth is about how many cells a picture is wide.
const targetWidth = 160

// maxRows is how many pixel rows of a cell are averaged; of taller cells evenly
// spaced rows are taken: 32 pixels at 720p, which is accurate enough, and half
// the memory traffic.
const maxRows = 4

// grid is a picture shrunk to cells of size x size pixels by area averaging.
// The last column and row may hold cells of fewer pixels.
type grid struct {
	width, height int // of the picture
	size          int // pixels
	cols, rows    int
	cells         []float32 // mean luma, rows x cols
	pairs         []uint64  // column sums of two pixels each, four 16-bit lanes
}

// cellSize is the side of a cell for a picture of this width: 1, or an even
// number.
func cellSize(width int) int {
	n := (width + targetWidth/2) / targetWidth
	if n <= 1 {
		return 1
	}
	return (n + 1) &^ 1
}

func newGrid(width, height int) *grid {
	n := cellSize(max(width, height*4/3))
	g := &grid{width: width, height: height, size: n,
		cols: (width + n - 1) / n, rows: (height + n - 1) / n}
	g.cells = make([]float32, g.cols*g.rows)
	g.pairs = make([]uint64, (width+7)/8+n) // room beyond the edge for a partial cell
	return g
}

// shrink fills the cells from a luma plane with rows stride bytes apart.
func (g *grid) shrink(luma []byte, stride int) {
	if g.size == 1 {
		for y := range g.rows {
			row := luma[y*stride:][:g.cols]
			out := g.cells[y*g.cols:][:g.cols]
			for x, v := range row {
				out[x] = float32(v)
			}
		}
		return
	}
	for cy := range g.rows {
		y0 := cy * g.size
		have := min(g.size, g.height-y0)
		take := min(have, maxRows)
		clear(g.pairs)
		for k := range take {
			g.addRow(luma[(y0+k*have/take)*stride:][:g.width])
		}
		g.average(cy, take)
	}
}

// addRow adds one row of pixels to the pair sums, eight pixels at a time. A lane
// holds at most 2 * 255 * maxRows.
func (g *grid) addRow(row []byte) {
	const even = 0x00ff00ff00ff00ff
	n := len(row) / 8
	pairs, words := g.pairs, row
	for i := range pairs[:n] { // advancing the slice spares the bounds checks
		v := binary.LittleEndian.Uint64(words)
		words = words[8:]
		pairs[i] += (v & even) + (v >> 8 & even)
	}
	if tail := row[8*n:]; len(tail) > 0 {
		var v uint64
		for i, b := range tail {
			v |= uint64(b) << (8 * i)
		}
		pairs[n] += (v & even) + (v >> 8 & even)
	}
}

// average turns the pair sums of one row of cells into means.
func (g *grid) average(cy, rows int) {
	out := g.cells[cy*g.cols:][:g.cols]
	lanes := g.size / 2
	full := 1 / float32(g.size*rows)
	if g.size%8 == 0 {
		words := g.size / 8
		for cx := range out {
			var sum uint64
			for _, p := range g.pairs[cx*words:][:words] {
				// Lane sums of one word stay below 2^16: 4 * 2 * 255 * maxRows.
				sum += p * 0x0001000100010001 >> 48
			}
			out[cx] = float32(sum) * full
		}
	} else {
		lane := 0
		for cx := range out {
			var sum uint64
			for range lanes {
				sum += g.pairs[lane>>2] >> (16 * (lane & 3)) & 0xffff
				lane++
			}
			out[cx] = float32(sum) * full
		}
	}
	if rest := g.width % g.size; rest != 0 {
		out[g.cols-1] *= float32(g.size) / float32(rest)
	}
}
