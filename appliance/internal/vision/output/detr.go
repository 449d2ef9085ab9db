package output

import (
	"math"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// detr decodes boxes (cx, cy, w, h as parts of the picture) with logits. The
// first DETR has one logit more than classes, "no object", and a softmax
// (facebookresearch/detr, models/detr.py, PostProcess); Deformable DETR, RT-DETR
// and their like have a sigmoid (lyuwenyu/RT-DETR,
// rtdetr_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py). Where that one lists a
// query once for each class, this takes its best class.
//
// RT-DETR's own export has the post-processing inside: labels [1,Q], boxes
// [1,Q,4] as corners in units of the input orig_target_sizes, which must be the
// model's input size, and scores [1,Q].
func (d *Decoder) detr(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	switch len(outputs) {
	case 2:
		return d.queries(dst, outputs, threshold)
	case 3:
		return d.finished(dst, outputs, threshold)
	}
	return dst, d.expected("boxes [1,Q,4] and logits [1,Q,classes], or labels, boxes and scores", outputs)
}

func (d *Decoder) queries(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	what := "boxes [1,Q,4] and logits [1,Q,classes or classes+1]"
	boxes, logits := outputs[0], outputs[1]
	if n, w, ok := rank3(boxes); !ok || w != 4 || n < 0 || strings.Contains(strings.ToLower(boxes.Name), "logit") {
		boxes, logits = logits, boxes
	}
	n, four, ok := rank3(boxes)
	m, width, also := rank3(logits)
	if !ok || !also || four != 4 || m != n || width != d.spec.Classes && width != d.spec.Classes+1 {
		return dst, d.expected(what, outputs)
	}
	activation := d.spec.Scores
	if activation == Auto {
		activation = Sigmoid
		if width == d.spec.Classes+1 {
			activation = Softmax
		}
	}
	sw, sh := float32(d.spec.Width), float32(d.spec.Height)
	for i := range n {
		row := logits.Data[i*width : (i+1)*width]
		class, score := best(row[:d.spec.Classes])
		if class < 0 {
			continue
		}
		score = activate(activation, row, score)
		if !(score > threshold) {
			continue
		}
		b := boxes.Data[4*i : 4*i+4]
		if !d.spec.AllClasses {
			dst = d.box(dst, b[0]*sw, b[1]*sh, b[2]*sw, b[3]*sh, class, score)
			continue
		}
		for k, v := range row[:d.spec.Classes] {
			if p := activate(activation, row, v); p > threshold {
				dst = d.box(dst, b[0]*sw, b[1]*sh, b[2]*sw, b[3]*sh, k, p)
			}
		}
	}
	return dst, nil
}

// activate turns one logit of a row into a probability.
func activate(a Activation, row []float32, logit float32) float32 {
	switch a {
	case Sigmoid:
		return sigmoid(logit)
	case Softmax:
		return softmax(row, logit)
	}
	return logit
}

// softmax is the share of one logit among all.
func softmax(logits []float32, one float32) float32 {
	_, top := best(logits)
	var sum float64
	for _, v := range logits {
		sum += math.Exp(float64(v - top))
	}
	return float32(math.Exp(float64(one-top)) / sum)
}

// finished decodes an export that includes the post-processing.
func (d *Decoder) finished(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	var boxes, labels, scores *Tensor
	for i := range outputs {
		t := &outputs[i]
		switch name := strings.ToLower(t.Name); {
		case strings.Contains(name, "label"):
			labels = t
		case strings.Contains(name, "score"):
			scores = t
		case strings.Contains(name, "box"):
			boxes = t
		}
	}
	if boxes == nil || labels == nil || scores == nil || len(boxes.Data) != 4*len(scores.Data) || len(labels.Data) != len(scores.Data) {
		return dst, d.expected("labels [1,Q], boxes [1,Q,4] and scores [1,Q], so named,", outputs)
	}
	for i, score := range scores.Data {
		class := labels.Data[i]
		if !(score > threshold) || !(class >= 0 && class < float32(d.spec.Classes)) {
			continue
		}
		b := boxes.Data[4*i : 4*i+4]
		dst = d.corners(dst, b[0], b[1], b[2], b[3], int(class), score)
	}
	return dst, nil
}
