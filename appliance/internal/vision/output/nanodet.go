package output

import (
	"math"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// nanodet decodes NanoDet: C class scores and, for each of the four edges, a
// distribution over 0..reg_max strides; an edge's distance from the cell's
// reference point is the distribution's mean times the stride (RangiLyu/nanodet,
// nanodet/model/head/nanodet_plus_head.py: get_bboxes, _forward_onnx, which
// applies the sigmoid; gfl_head.py for the first version, whose reference point
// is the cell's centre).
func (d *Decoder) nanodet(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	classes, bins := d.spec.Classes, d.spec.RegMax+1
	n, scores, edges, ok := nanodetParts(outputs, classes, 4*bins)
	if !ok {
		return dst, d.expected("one tensor [1,N,classes+4*(reg_max+1)], or [1,N,classes] and [1,N,4*(reg_max+1)],", outputs)
	}
	g, err := d.grid(n)
	if err != nil {
		return dst, err
	}
	for i := range n {
		class, score := best(scores.row(i))
		if class < 0 {
			continue
		}
		if d.spec.Scores == Sigmoid {
			score = sigmoid(score)
		}
		if !(score > threshold) {
			continue
		}
		c, e := g.cells[i], edges.row(i)
		x, y := (c.x+g.shift)*c.stride, (c.y+g.shift)*c.stride
		x0, y0 := x-c.stride*mean(e[:bins]), y-c.stride*mean(e[bins:2*bins])
		x1, y1 := x+c.stride*mean(e[2*bins:3*bins]), y+c.stride*mean(e[3*bins:])
		if !d.spec.AllClasses {
			dst = d.corners(dst, x0, y0, x1, y1, class, score)
			continue
		}
		for k, p := range scores.row(i) {
			if d.spec.Scores == Sigmoid {
				p = sigmoid(p)
			}
			if p > threshold {
				dst = d.corners(dst, x0, y0, x1, y1, k, p)
			}
		}
	}
	return dst, nil
}

// table is a part of the columns of a tensor of rows.
type table struct {
	data        []float32
	pitch       int
	first, last int
}

func (t table) row(i int) []float32 { return t.data[i*t.pitch+t.first : i*t.pitch+t.last] }

// nanodetParts finds the class scores and the edges in one tensor or in two.
func nanodetParts(outputs []Tensor, classes, edges int) (n int, c, e table, ok bool) {
	a, w, ok := rank3(outputs[0])
	switch {
	case !ok:
	case len(outputs) == 1 && w == classes+edges:
		return a, table{outputs[0].Data, w, 0, classes}, table{outputs[0].Data, w, classes, w}, true
	case len(outputs) == 2:
		b, v, ok := rank3(outputs[1])
		if !ok || a != b {
			break
		}
		if w == classes && v == edges {
			return a, table{outputs[0].Data, w, 0, w}, table{outputs[1].Data, v, 0, v}, true
		}
		if v == classes && w == edges {
			return a, table{outputs[1].Data, v, 0, v}, table{outputs[0].Data, w, 0, w}, true
		}
	}
	return 0, table{}, table{}, false
}

// mean is the expected index of a distribution given as logits.
func mean(logits []float32) float32 {
	_, top := best(logits)
	var sum, weighted float64
	for i, v := range logits {
		p := math.Exp(float64(v - top))
		sum += p
		weighted += p * float64(i)
	}
	return float32(weighted / sum)
}
