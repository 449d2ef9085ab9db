package output

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Family names a layout of output tensors.
type Family string

// The families.
const (
	// YOLOX: [1,N,5+C], cells of three grids one after the other.
	YOLOX Family = "yolox"
	// YOLOv5 (also v7): [1,N,5+C], boxes in pixels.
	YOLOv5 Family = "yolov5"
	// YOLOv8 (also v9, v11): [1,4+C,N], no objectness.
	YOLOv8 Family = "yolov8"
	// NanoDet: [1,N,C+4*(R+1)], or the two parts as two tensors.
	NanoDet Family = "nanodet"
	// FastestDet: [1,5+C,H,W], one grid.
	FastestDet Family = "fastestdet"
	// DETR and its relatives: boxes [1,Q,4] and logits [1,Q,C or C+1], or
	// labels, boxes and scores of an export that includes post-processing.
	DETR Family = "detr"
)

// Families lists the families by the names that cards use.
func Families() []Family {
	return []Family{YOLOX, YOLOv5, YOLOv8, NanoDet, FastestDet, DETR}
}

// ParseFamily reads a family's name; yolov11, yolo11 and yolov9 are yolov8, and
// yolov7 is yolov5: their outputs have the same layout.
func ParseFamily(name string) (Family, error) {
	f := Family(strings.ToLower(name))
	switch f {
	case "yolov9", "yolov11", "yolo11":
		f = YOLOv8
	case "yolov7":
		f = YOLOv5
	case "rtdetr", "rt-detr":
		f = DETR
	}
	if !slices.Contains(Families(), f) {
		return "", fmt.Errorf("unknown output family %q: known are %s", name, joined(Families()))
	}
	return f, nil
}

func joined(fs []Family) string {
	var names []string
	for _, f := range fs {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// Activation says what must still be done to class scores.
type Activation string

// The activations.
const (
	// Auto is what the family's usual export needs.
	Auto Activation = ""
	// None: the network's scores are probabilities already.
	None Activation = "none"
	// Sigmoid: each class's logit for itself.
	Sigmoid Activation = "sigmoid"
	// Softmax over all classes (and, for DETR, "no object" as the last).
	Softmax Activation = "softmax"
)

// Spec is what a decoder must know beside the tensors.
type Spec struct {
	Family Family
	// Classes is the number of labels.
	Classes int
	// Width and Height of the model's input in pixels.
	Width, Height int
	// Strides of the grids in pixels, in the order of the rows; empty: the
	// family's (8, 16, 32, and 64 where the number of rows asks for it).
	Strides []int
	// RegMax is NanoDet's number of distance steps; 0: 7.
	RegMax int
	// Scores of NanoDet and DETR; the YOLO exports and FastestDet need none.
	Scores Activation
	// Decoded tells that a YOLOX export did the grid arithmetic itself
	// (decode_in_inference).
	Decoded bool
	// AllClasses lets one row give an object for each class above the
	// threshold, as benchmarks count them (it raises mAP by some points of a
	// hundred). For people one object shall have one box: leave it false.
	AllClasses bool
}

// Tensor is one output of a network.
type Tensor struct {
	Name  string
	Shape []int64
	Data  []float32
}

// maxSide bounds the input size that a decoder prepares its grids for.
const maxSide = 1 << 13

// Decoder decodes the outputs of one model. It is not safe for concurrent use:
// it keeps scratch memory from frame to frame.
type Decoder struct {
	spec Spec
	// grids that the family may have, most likely first.
	grids []grid
	// limit on coordinates: far outside of the picture, near enough for an
	// area not to overflow.
	limit float32
	best  []float32
	class []int32
}

// grid is the cells of all strides in the order of the output's rows.
type grid struct {
	cells []cell
	// centred: a cell's reference point is its centre, not its corner.
	shift float32
}

type cell struct{ x, y, stride float32 }

// New checks the specification and prepares a decoder for it.
func New(s Spec) (*Decoder, error) {
	if !slices.Contains(Families(), s.Family) {
		return nil, fmt.Errorf("unknown output family %q: known are %s", s.Family, joined(Families()))
	}
	if s.Classes < 1 || s.Classes > 1<<16 {
		return nil, fmt.Errorf("%d classes: there must be 1 to %d", s.Classes, 1<<16)
	}
	if s.Width < 1 || s.Height < 1 || s.Width > maxSide || s.Height > maxSide {
		return nil, fmt.Errorf("input size %dx%d: sides must be 1 to %d", s.Width, s.Height, maxSide)
	}
	if s.RegMax < 0 || s.RegMax > 64 {
		return nil, fmt.Errorf("reg_max %d: it must be 1 to 64", s.RegMax)
	}
	if s.RegMax == 0 {
		s.RegMax = 7
	}
	if !slices.Contains([]Activation{Auto, None, Sigmoid, Softmax}, s.Scores) {
		return nil, fmt.Errorf("unknown activation %q: known are none, sigmoid, softmax", s.Scores)
	}
	if s.Scores == Softmax && s.Family != DETR {
		return nil, fmt.Errorf("activation softmax: only family %s has it, not %s", DETR, s.Family)
	}
	for _, n := range s.Strides {
		if n < 1 || n > 1024 {
			return nil, fmt.Errorf("stride %d: it must be 1 to 1024", n)
		}
	}
	if len(s.Strides) > 8 {
		return nil, fmt.Errorf("%d strides: there can be 8", len(s.Strides))
	}
	d := &Decoder{spec: s, limit: 4 * float32(max(s.Width, s.Height))}
	switch s.Family {
	case YOLOX:
		d.grids = d.makeGrids(0, 0)
	case NanoDet:
		// The first version had three levels and centred cells, the "plus"
		// version has four and takes their corners.
		d.grids = d.makeGrids(0.5, 0)
	}
	for _, g := range d.grids {
		if len(g.cells) > 1<<22 {
			return nil, fmt.Errorf("strides %v on %dx%d make %d cells", s.Strides, s.Width, s.Height, len(g.cells))
		}
	}
	return d, nil
}

// makeGrids makes the grids of the given strides, or of 8..32 (whose cells are
// shifted by three) and 8..64 (shifted by four).
func (d *Decoder) makeGrids(three, four float32) []grid {
	if len(d.spec.Strides) > 0 {
		shift := four
		if len(d.spec.Strides) <= 3 {
			shift = three
		}
		return []grid{d.makeGrid(d.spec.Strides, shift)}
	}
	return []grid{d.makeGrid([]int{8, 16, 32}, three), d.makeGrid([]int{8, 16, 32, 64}, four)}
}

func (d *Decoder) makeGrid(strides []int, shift float32) grid {
	g := grid{shift: shift}
	for _, s := range strides {
		w, h := (d.spec.Width+s-1)/s, (d.spec.Height+s-1)/s
		if len(g.cells)+w*h > 1<<22 {
			// Reported by New; do not fill memory first.
			g.cells = make([]cell, 1<<22+1)
			return g
		}
		for y := range h {
			for x := range w {
				g.cells = append(g.cells, cell{float32(x), float32(y), float32(s)})
			}
		}
	}
	return g
}

// grid picks the grid that has as many cells as the output has rows.
func (d *Decoder) grid(rows int) (grid, error) {
	var have []string
	for _, g := range d.grids {
		if len(g.cells) == rows {
			return g, nil
		}
		have = append(have, fmt.Sprint(len(g.cells)))
	}
	return grid{}, fmt.Errorf("%s: the output has %d rows, but the grids of a %dx%d input have %s: check the card's strides and size",
		d.spec.Family, rows, d.spec.Width, d.spec.Height, strings.Join(have, " or "))
}

// Decode appends to dst the objects with a score above threshold, before any
// suppression, in the order of the output. Unless AllClasses is set, each row of
// an output gives at most one object, of its best class. Boxes are in pixels of the model's input and
// may reach a little outside of it; scores are in [0,1]; labels are left empty.
func (d *Decoder) Decode(dst []vision.Detection, outputs []Tensor, threshold float32) ([]vision.Detection, error) {
	if err := check(outputs); err != nil {
		return dst, fmt.Errorf("%s: %w", d.spec.Family, err)
	}
	// Everything has a score above "not a number"; nobody means that.
	if !(threshold >= 0) {
		threshold = 0
	}
	switch d.spec.Family {
	case YOLOX, YOLOv5:
		return d.rows(dst, outputs, threshold)
	case YOLOv8:
		return d.columns(dst, outputs, threshold)
	case NanoDet:
		return d.nanodet(dst, outputs, threshold)
	case FastestDet:
		return d.fastestdet(dst, outputs, threshold)
	default:
		return d.detr(dst, outputs, threshold)
	}
}

// check refuses tensors whose data is not of their shape, and batches.
func check(outputs []Tensor) error {
	if len(outputs) == 0 {
		return fmt.Errorf("there is no output")
	}
	for _, t := range outputs {
		n := int64(1)
		for _, s := range t.Shape {
			if s < 0 || s > math.MaxInt32 || n*s > math.MaxInt32 {
				return fmt.Errorf("output %q: shape %v", t.Name, t.Shape)
			}
			n *= s
		}
		if len(t.Shape) == 0 || n != int64(len(t.Data)) {
			return fmt.Errorf("output %q: shape %v, but %d values", t.Name, t.Shape, len(t.Data))
		}
		if len(t.Shape) > 1 && t.Shape[0] != 1 {
			return fmt.Errorf("output %q: shape %v is a batch of %d: only batches of 1 are decoded", t.Name, t.Shape, t.Shape[0])
		}
	}
	return nil
}

// rank3 returns the last two dimensions of a [1,A,B] tensor.
func rank3(t Tensor) (a, b int, ok bool) {
	if len(t.Shape) != 3 {
		return 0, 0, false
	}
	return int(t.Shape[1]), int(t.Shape[2]), true
}

// expected says what an output should have been.
func (d *Decoder) expected(what string, outputs []Tensor) error {
	var got []string
	for _, t := range outputs {
		got = append(got, fmt.Sprintf("%q %v", t.Name, t.Shape))
	}
	return fmt.Errorf("%s with %d classes puts out %s, but this model puts out %s: check the card's family and labels",
		d.spec.Family, d.spec.Classes, what, strings.Join(got, ", "))
}

// box appends a box given by centre and size, unless it is empty or not finite.
func (d *Decoder) box(dst []vision.Detection, cx, cy, w, h float32, class int, score float32) []vision.Detection {
	return d.corners(dst, cx-w/2, cy-h/2, cx+w/2, cy+h/2, class, score)
}

func (d *Decoder) corners(dst []vision.Detection, x0, y0, x1, y1 float32, class int, score float32) []vision.Detection {
	// Comparisons are false for NaN, and infinities end at the limit.
	if !(x1 > x0 && y1 > y0) {
		return dst
	}
	b := vision.Box{
		X0: max(x0, -d.limit), Y0: max(y0, -d.limit),
		X1: min(x1, d.limit), Y1: min(y1, d.limit),
	}
	if b.Area() <= 0 {
		return dst
	}
	return append(dst, vision.Detection{Box: b, Class: class, Score: min(score, 1)})
}

// best returns the index and value of the largest number; -1 when all are NaN.
func best(v []float32) (int, float32) {
	at, top := -1, float32(math.Inf(-1))
	for i, x := range v {
		if x > top {
			at, top = i, x
		}
	}
	return at, top
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }
