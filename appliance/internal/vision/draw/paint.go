package draw

import "github.com/watchpost/watchpost/appliance/internal/vision"

// rect is [x0,x1) x [y0,y1) in pixels.
type rect struct{ x0, y0, x1, y1 int }

func (r rect) empty() bool { return r.x0 >= r.x1 || r.y0 >= r.y1 }

func (r rect) clip(w, h int) rect {
	return rect{max(r.x0, 0), max(r.y0, 0), min(r.x1, w), min(r.y1, h)}
}

func (r rect) overlap(o rect) int {
	w, h := min(r.x1, o.x1)-max(r.x0, o.x0), min(r.y1, o.y1)-max(r.y0, o.y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h
}

// blend moves old towards c by a 256ths.
func blend(old, c uint8, a uint16) uint8 {
	return uint8((uint32(old)*uint32(256-a) + uint32(c)*uint32(a) + 128) >> 8)
}

// fill paints a rectangle. The picture must be sound.
func fill(p *vision.Picture, r rect, c yuv) {
	r = r.clip(p.Width, p.Height)
	if r.empty() || c.a == 0 {
		return
	}
	stride := p.Stride[0]
	rows := p.Planes[0][r.y0*stride:]
	if n := r.x1 - r.x0; n <= 12 { // the sides of boxes
		narrow(rows[r.x0:], stride, n, r.y1-r.y0, c)
	} else {
		for y := range r.y1 - r.y0 {
			wash(rows[y*stride:][r.x0:r.x1], c.y, c.a)
		}
	}
	fillChroma(p, r, c)
}

// narrow blends a colour over a column of n samples width.
func narrow(plane []byte, stride, n, rows int, c yuv) {
	add, keep := uint32(c.y)*uint32(c.a)+128, uint32(256-c.a)
	for y := range rows {
		row := plane[y*stride:][:n]
		for i, old := range row {
			row[i] = uint8((uint32(old)*keep + add) >> 8)
		}
	}
}

// wash blends one colour over a row of samples.
func wash(row []byte, v uint8, a uint16) {
	if a >= 256 {
		if len(row) <= 64 || v == 0 {
			for i := range row {
				row[i] = v
			}
			return
		}
		for i := range row[:32] {
			row[i] = v
		}
		for n := 32; n < len(row); n *= 2 { // copies are far faster than stores
			copy(row[n:], row[:n])
		}
		return
	}
	add, keep := uint32(v)*uint32(a)+128, uint32(256-a)
	for i, old := range row {
		row[i] = uint8((uint32(old)*keep + add) >> 8)
	}
}

// fillChroma paints the chroma samples of a rectangle. A block that the
// rectangle covers in part gets that part of the colour; at odd sizes the last
// blocks hold one pixel of a row or column.
func fillChroma(p *vision.Picture, r rect, c yuv) {
	b0, b1 := r.x0/2, (r.x1-1)/2
	// The first and last block may be covered by half.
	cut0 := b2i(min(r.x1, 2*b0+2)-r.x0 < min(p.Width, 2*b0+2)-2*b0)
	cut1 := b2i(r.x1-max(r.x0, 2*b1) < min(p.Width, 2*b1+2)-2*b1)
	for by := r.y0 / 2; by <= (r.y1-1)/2; by++ {
		rows := min(r.y1, 2*by+2) - max(r.y0, 2*by)
		a := c.a >> b2i(rows < min(p.Height, 2*by+2)-2*by)
		chroma(p, b0, by, c, a>>cut0)
		if b1 > b0 {
			chroma(p, b1, by, c, a>>cut1)
		}
		if b1 > b0+1 {
			chromaRow(p, b0+1, b1, by, c, a)
		}
	}
}

func b2i(b bool) uint {
	if b {
		return 1
	}
	return 0
}

// chromaRow blends the colour of the blocks [b0,b1) of a row.
func chromaRow(p *vision.Picture, b0, b1, by int, c yuv, a uint16) {
	if p.Format == vision.I420 {
		wash(p.Planes[1][by*p.Stride[1]:][b0:b1], c.u, a)
		wash(p.Planes[2][by*p.Stride[2]:][b0:b1], c.v, a)
		return
	}
	row := p.Planes[1][by*p.Stride[1]:][2*b0 : 2*b1]
	if a >= 256 {
		n := min(len(row), 32)
		for i := 0; i+1 < n; i += 2 {
			row[i], row[i+1] = c.u, c.v
		}
		for ; n < len(row); n *= 2 {
			copy(row[n:], row[:n])
		}
		return
	}
	keep, addU, addV := uint32(256-a), uint32(c.u)*uint32(a)+128, uint32(c.v)*uint32(a)+128
	for i := 0; i+1 < len(row); i += 2 {
		row[i] = uint8((uint32(row[i])*keep + addU) >> 8)
		row[i+1] = uint8((uint32(row[i+1])*keep + addV) >> 8)
	}
}

// chroma blends the colour of one block.
func chroma(p *vision.Picture, bx, by int, c yuv, a uint16) {
	if a == 0 {
		return
	}
	if p.Format == vision.NV12 {
		uv := p.Planes[1][by*p.Stride[1]+2*bx:][:2]
		uv[0], uv[1] = blend(uv[0], c.u, a), blend(uv[1], c.v, a)
		return
	}
	u, v := &p.Planes[1][by*p.Stride[1]+bx], &p.Planes[2][by*p.Stride[2]+bx]
	*u, *v = blend(*u, c.u, a), blend(*v, c.v, a)
}

// stamp paints a colour through a mask of coverage (0 to 255), w x h, whose
// corner lies at x, y of the picture. Chroma gets the mean coverage of its block.
func stamp(p *vision.Picture, x, y int, mask []uint8, w, h int, c yuv) {
	r := rect{x, y, x + w, y + h}.clip(p.Width, p.Height)
	if r.empty() || c.a == 0 {
		return
	}
	for py := r.y0; py < r.y1; py++ {
		row := p.Planes[0][py*p.Stride[0]:][r.x0:r.x1]
		m := mask[(py-y)*w+r.x0-x:][:len(row)]
		for i, cover := range m {
			if cover != 0 {
				row[i] = blend(row[i], c.y, weight(uint32(cover), c.a))
			}
		}
	}
	stampChroma(p, r, mask[(r.y0-y)*w+r.x0-x:], w, c)
}

// stampChroma is the chroma part of stamp: mask begins at the corner of r, which
// is inside the picture; its rows are w apart.
func stampChroma(p *vision.Picture, r rect, mask []uint8, w int, c yuv) {
	for by := r.y0 / 2; by <= (r.y1-1)/2; by++ {
		y0, y1 := max(2*by, r.y0), min(2*by+2, r.y1)
		high := min(p.Height-2*by, 2)
		up := mask[(y0-r.y0)*w:][:r.x1-r.x0]
		down := up // of a block that the mask covers by one row, that counts once
		if y1-y0 == 2 {
			down = mask[(y0+1-r.y0)*w:][:r.x1-r.x0]
		}
		for bx := r.x0 / 2; bx <= (r.x1-1)/2; bx++ {
			x0, x1 := max(2*bx, r.x0)-r.x0, min(2*bx+2, r.x1)-r.x0
			sum := uint32(up[x0]) + uint32(down[x0])
			if x1-x0 == 2 {
				sum += uint32(up[x0+1]) + uint32(down[x0+1])
			}
			if sum == 0 {
				continue
			}
			if y1-y0 == 1 {
				sum /= 2
			}
			cover := sum / uint32(high*min(p.Width-2*bx, 2))
			if cover != 0 {
				chroma(p, bx, by, c, weight(cover, c.a))
			}
		}
	}
}

// weight is a coverage of 0 to 255 times an opacity of 0 to 256.
func weight(cover uint32, a uint16) uint16 {
	return uint16((cover + cover>>7) * uint32(a) >> 8)
}

// frame paints the outline of r, t thick, inwards.
func frame(p *vision.Picture, r rect, t int, c yuv) {
	if r.x1-r.x0 <= 2*t || r.y1-r.y0 <= 2*t {
		fill(p, r, c)
		return
	}
	fill(p, rect{r.x0, r.y0, r.x1, r.y0 + t}, c)
	fill(p, rect{r.x0, r.y1 - t, r.x1, r.y1}, c)
	fill(p, rect{r.x0, r.y0 + t, r.x0 + t, r.y1 - t}, c)
	fill(p, rect{r.x1 - t, r.y0 + t, r.x1, r.y1 - t}, c)
}
