package output

import (
	"math"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// fastestdet decodes FastestDet: planes of one grid: objectness, the centre's
// offset from the cell (tanh), width and height as parts of the picture
// (sigmoid), and one probability per class; score = objectness^0.6 * class^0.4
// (dog-qiuqiu/FastestDet, example/ncnn/FastestDet.cpp; module/custom_layers.py
// has the sigmoid and softmax that are part of the network).
func (d *Decoder) fastestdet(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	t := outputs[0]
	if len(outputs) != 1 || len(t.Shape) != 4 || int(t.Shape[1]) != 5+d.spec.Classes {
		return dst, d.expected("one tensor [1,5+classes,H,W]", outputs)
	}
	h, w := int(t.Shape[2]), int(t.Shape[3])
	n := h * w
	plane := func(i int) []float32 { return t.Data[i*n : (i+1)*n] }
	// A class's probability is at most 1, so the objectness alone must reach
	// the threshold.
	least := float32(math.Pow(float64(threshold), 1/0.6))
	for i, object := range plane(0) {
		if !(object > least) {
			continue
		}
		class, p := -1, float32(0)
		for c := range d.spec.Classes {
			if v := t.Data[(5+c)*n+i]; v > p {
				class, p = c, v
			}
		}
		score := mix(object, p)
		if class < 0 || !(score > threshold) {
			continue
		}
		cx := (float32(i%w) + tanh(plane(1)[i])) / float32(w)
		cy := (float32(i/w) + tanh(plane(2)[i])) / float32(h)
		sw, sh := float32(d.spec.Width), float32(d.spec.Height)
		bw, bh := sigmoid(plane(3)[i])*sw, sigmoid(plane(4)[i])*sh
		if !d.spec.AllClasses {
			dst = d.box(dst, cx*sw, cy*sh, bw, bh, class, score)
			continue
		}
		for c := range d.spec.Classes {
			if score := mix(object, t.Data[(5+c)*n+i]); score > threshold {
				dst = d.box(dst, cx*sw, cy*sh, bw, bh, c, score)
			}
		}
	}
	return dst, nil
}

// mix is the score of a class in a cell.
func mix(object, class float32) float32 {
	return float32(math.Pow(float64(object), 0.6) * math.Pow(float64(class), 0.4))
}

func tanh(x float32) float32 { return float32(math.Tanh(float64(x))) }
