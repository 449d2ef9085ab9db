package output

import (
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// rows decodes YOLOX and YOLOv5: rows of cx, cy, w, h, objectness and one score
// per class, score = objectness * class, all three probabilities.
//
// YOLOX's numbers are relative to the cell: cx = (x+gx)*stride, w =
// exp(w)*stride (Megvii-BaseDetection/YOLOX, yolox/utils/demo_utils.py,
// demo_postprocess). YOLOv5's are pixels (ultralytics/yolov5, models/yolo.py,
// Detect.forward with export).
func (d *Decoder) rows(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	width := 5 + d.spec.Classes
	n, w, ok := rank3(outputs[0])
	if !ok || w != width || len(outputs) != 1 {
		return dst, d.expected("one tensor [1,N,5+classes]", outputs)
	}
	var cells []cell
	if d.spec.Family == YOLOX && !d.spec.Decoded {
		g, err := d.grid(n)
		if err != nil {
			return dst, err
		}
		cells = g.cells
	}
	data := outputs[0].Data
	for i := range n {
		row := data[i*width : i*width+width : i*width+width]
		object := row[4]
		// No class can lift the product above the objectness.
		if !(object > threshold) {
			continue
		}
		class, p := best(row[5:])
		score := object * p
		if class < 0 || !(score > threshold) {
			continue
		}
		cx, cy, bw, bh := row[0], row[1], row[2], row[3]
		if cells != nil {
			c := cells[i]
			cx, cy = (cx+c.x)*c.stride, (cy+c.y)*c.stride
			bw, bh = exp(bw)*c.stride, exp(bh)*c.stride
		}
		if !d.spec.AllClasses {
			dst = d.box(dst, cx, cy, bw, bh, class, score)
			continue
		}
		for k, p := range row[5:] {
			if object*p > threshold {
				dst = d.box(dst, cx, cy, bw, bh, k, object*p)
			}
		}
	}
	return dst, nil
}

// columns decodes YOLOv8 and v11: one column for each candidate, cx, cy, w, h in
// pixels and one probability per class (ultralytics/ultralytics,
// nn/modules/head.py, Detect._inference; utils/nms.py). The transposed layout
// that some converters make is taken as well.
func (d *Decoder) columns(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	width := 4 + d.spec.Classes
	a, b, ok := rank3(outputs[0])
	switch {
	case len(outputs) != 1 || !ok || a != width && b != width:
		return dst, d.expected("one tensor [1,4+classes,N]", outputs)
	case a != width:
		return d.candidates(dst, outputs[0].Data, a, threshold), nil
	}
	n, data := b, outputs[0].Data
	x, y, w, h := data[:n], data[n:2*n], data[2*n:3*n], data[3*n:4*n]
	if d.spec.AllClasses {
		for c := range d.spec.Classes {
			for i, p := range data[(4+c)*n : (5+c)*n] {
				if p > threshold {
					dst = d.box(dst, x[i], y[i], w[i], h[i], c, p)
				}
			}
		}
		return dst, nil
	}
	// Class by class along the memory, instead of column by column across it.
	d.best = slices.Grow(d.best[:0], n)[:n]
	d.class = slices.Grow(d.class[:0], n)[:n]
	top, class := d.best, d.class
	for i := range top {
		top[i], class[i] = threshold, -1
	}
	for c := range d.spec.Classes {
		line := data[(4+c)*n : (5+c)*n]
		for i, p := range line[:len(top)] {
			if p > top[i] {
				top[i], class[i] = p, int32(c)
			}
		}
	}
	for i, c := range class {
		if c >= 0 {
			dst = d.box(dst, x[i], y[i], w[i], h[i], int(c), top[i])
		}
	}
	return dst, nil
}

// candidates decodes the rows of a transposed YOLOv8 output.
func (d *Decoder) candidates(dst []vision.Detection, data []float32, n int, threshold float32) []vision.Detection {
	width := 4 + d.spec.Classes
	for i := range n {
		row := data[i*width : i*width+width : i*width+width]
		class, score := best(row[4:])
		if class < 0 || !(score > threshold) {
			continue
		}
		if !d.spec.AllClasses {
			dst = d.box(dst, row[0], row[1], row[2], row[3], class, score)
			continue
		}
		for k, p := range row[4:] {
			if p > threshold {
				dst = d.box(dst, row[0], row[1], row[2], row[3], k, p)
			}
		}
	}
	return dst
}
