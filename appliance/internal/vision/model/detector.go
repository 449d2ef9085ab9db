package model

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/output"
	"github.com/watchpost/watchpost/hw/accel"
)

// MaxObjects is how many objects one picture can give.
const MaxObjects = 300

// Options adjust a detector. The zero value is good.
type Options struct {
	// Threads that one run may use; 0: one for each processor.
	Threads int
	// Threshold is the least score; 0: the card's.
	Threshold float32
	// NMSIoU is the overlap allowed within a class; 0: the card's.
	NMSIoU float32
	// Classes are the labels wanted; empty: all.
	Classes []string
	// AllClasses lets one place of the picture give an object for each class
	// above the threshold: for measuring as benchmarks do, not for people.
	AllClasses bool
	// Providers to try before the CPU; empty: accel's choice.
	Providers []string
	// Log hears which provider was chosen; nil: nobody.
	Log *slog.Logger
}

// Detector runs one model. It is for one goroutine at a time.
type Detector struct {
	model     Model
	session   *accel.Session
	image     int // the input that takes the picture
	fill      *filler
	decoder   *output.Decoder
	suppress  output.Suppressor
	threshold float32
	iou       float32
	all       bool
	wanted    []bool // by class; nil: all
	width     int
	height    int
	outputs   []output.Tensor
	found     []vision.Detection
}

// NewDetector loads the model, verifies that it is the file that its card
// names, and runs it once on an empty picture, so that what does not fit its
// card fails here and the first frame is not the slow one. Errors match ErrHash,
// ErrNotFound, or say what of the card does not fit.
func NewDetector(rt *accel.Runtime, m Model, o Options) (*Detector, error) {
	data, err := readNetwork(m.Path)
	if err != nil {
		return nil, err
	}
	if got := sum(data); m.Card.SHA256 != "" && got != m.Card.SHA256 {
		return nil, fmt.Errorf("%w: %s has %s, its card says %s: install it again", ErrHash, m.Path, got, m.Card.SHA256)
	}
	return newDetector(rt, m, data, o)
}

func newDetector(rt *accel.Runtime, m Model, data []byte, o Options) (*Detector, error) {
	d := &Detector{model: m, threshold: m.Card.Threshold, iou: m.Card.NMSIoU, all: o.AllClasses}
	if o.Threshold > 0 {
		d.threshold = o.Threshold
	}
	if o.NMSIoU > 0 {
		d.iou = o.NMSIoU
	}
	var err error
	if d.wanted, err = wanted(m.Card.Labels, o.Classes); err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	ao := accel.Options{Threads: o.Threads, Providers: o.Providers, Log: o.Log}
	if s := m.Card.Input.Size; len(s) == 2 {
		ao.InputSize = [2]int(s)
	}
	if d.session, err = rt.Load(data, ao); err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	if err = d.connect(); err == nil {
		d.fill.clear()
		_, err = d.run()
	}
	if err != nil {
		d.session.Close()
		return nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	return d, nil
}

// wanted marks the classes asked for; nil when all are.
func wanted(labels Labels, classes []string) ([]bool, error) {
	if len(classes) == 0 {
		return nil, nil
	}
	w := make([]bool, len(labels))
	for _, c := range classes {
		i := slices.IndexFunc(labels, func(l string) bool { return strings.EqualFold(l, c) })
		if i < 0 {
			return nil, fmt.Errorf("it has no class %q: its classes are %s", c, strings.Join(labels, ", "))
		}
		w[i] = true
	}
	return w, nil
}

// connect finds the picture's input and makes the filler and the decoder.
func (d *Detector) connect() error {
	card := &d.model.Card
	d.image = -1
	inputs := d.session.Inputs()
	for i, t := range inputs {
		switch name := strings.ToLower(t.Name); {
		case len(t.Shape) == 4 && d.image < 0:
			d.image = i
		case len(t.Shape) <= 2 && strings.Contains(name, "target_size"):
			// Filled below: boxes are wanted in pixels of the input.
		case strings.Contains(name, "mask"):
			// DETR's pixel_mask: every pixel is one of the picture.
			for j := range d.session.Input(i) {
				d.session.Input(i)[j] = 1
			}
		default:
			return fmt.Errorf("nobody knows what to put into its input %q %v", t.Name, t.Shape)
		}
	}
	if d.image < 0 {
		return fmt.Errorf("it has no picture input (four dimensions) among %v", inputs)
	}
	s := inputs[d.image].Shape
	channels := s[1]
	d.height, d.width = int(s[2]), int(s[3])
	if card.Input.Layout == "nhwc" {
		channels = s[3]
		d.height, d.width = int(s[1]), int(s[2])
	}
	if channels != 3 || s[0] != 1 {
		return fmt.Errorf("its input %q has the shape %v, which is no single colour picture in %s: check the card's input.layout",
			inputs[d.image].Name, s, card.Input.Layout)
	}
	if z := card.Input.Size; len(z) == 2 && (z[0] != d.width || z[1] != d.height) {
		return fmt.Errorf("its input is %dx%d, but the card's input.size says %dx%d", d.width, d.height, z[0], z[1])
	}
	for i, t := range inputs {
		if v := d.session.Input(i); i != d.image && strings.Contains(strings.ToLower(t.Name), "target_size") && len(v) == 2 {
			v[0], v[1] = float32(d.width), float32(d.height)
		}
	}
	d.fill = newFiller(d.session.Input(d.image), d.width, d.height, card.Input)
	for _, t := range d.session.Outputs() {
		d.outputs = append(d.outputs, output.Tensor{Name: t.Name})
	}
	spec := card.spec(d.width, d.height)
	spec.AllClasses = d.all
	var err error
	d.decoder, err = output.New(spec)
	return err
}

// Model is what the detector runs.
func (d *Detector) Model() Model { return d.model }

// Provider names the execution provider that runs the model ("CPU").
func (d *Detector) Provider() string { return d.session.Provider() }

// Size is the width and height of the model's input in pixels.
func (d *Detector) Size() (w, h int) { return d.width, d.height }

// InputSize is the size in pixels to which a frame must be scaled for Detect:
// the largest that fits the model's input in the frame's shape, or with
// letterbox stretch the input itself.
func (d *Detector) InputSize(frameW, frameH int) (w, h int) {
	if d.model.Card.Input.Letterbox == Stretch || frameW < 1 || frameH < 1 {
		return d.width, d.height
	}
	// Whole numbers, rounded down, as the networks' own preparation does.
	if d.width*frameH <= d.height*frameW {
		return d.width, max(1, d.width*frameH/frameW)
	}
	return max(1, d.height*frameW/frameH), d.height
}

// place is where in the input a picture of this size lies.
func (d *Detector) place(w, h int) area {
	a := area{w: w, h: h}
	if d.model.Card.Input.Letterbox == Center {
		a.x, a.y = (d.width-w)/2, (d.height-h)/2
	}
	return a
}

// Detect finds objects in a frame of frameW x frameH pixels, of which img is the
// whole, scaled to InputSize(frameW, frameH). Boxes are in pixels of the frame,
// inside of it, best score first. The slice belongs to the detector and is valid
// until the next call; img is not kept.
func (d *Detector) Detect(img vision.RGB, frameW, frameH int) ([]vision.Detection, error) {
	w, h := d.InputSize(frameW, frameH)
	if frameW < 1 || frameH < 1 || img.Width != w || img.Height != h {
		return nil, fmt.Errorf("model %s: picture of %dx%d for a frame of %dx%d: it must be %dx%d",
			d.model.Name, img.Width, img.Height, frameW, frameH, w, h)
	}
	if img.Stride < 3*w || len(img.Pix) < (h-1)*img.Stride+3*w {
		return nil, fmt.Errorf("model %s: picture of %dx%d with stride %d has only %d bytes",
			d.model.Name, w, h, img.Stride, len(img.Pix))
	}
	a := d.place(w, h)
	d.fill.fill(img, a)
	found, err := d.run()
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", d.model.Name, err)
	}
	sx, sy := float32(frameW)/float32(w), float32(frameH)/float32(h)
	kept := found[:0]
	for _, f := range found {
		f.Box = vision.Box{
			X0: (f.X0 - float32(a.x)) * sx, Y0: (f.Y0 - float32(a.y)) * sy,
			X1: (f.X1 - float32(a.x)) * sx, Y1: (f.Y1 - float32(a.y)) * sy,
		}.Clip(float32(frameW), float32(frameH))
		if f.Area() <= 0 {
			continue
		}
		f.Label = d.model.Card.Labels[f.Class]
		kept = append(kept, f)
	}
	return kept, nil
}

// run runs the model on what is in its input. Boxes are in pixels of the input.
func (d *Detector) run() ([]vision.Detection, error) {
	if err := d.session.Run(); err != nil {
		return nil, err
	}
	for i := range d.outputs {
		d.outputs[i].Data, d.outputs[i].Shape = d.session.Output(i)
	}
	var err error
	d.found, err = d.decoder.Decode(d.found[:0], d.outputs, d.threshold)
	if err != nil {
		return nil, err
	}
	found := d.found
	if d.wanted != nil {
		found = slices.DeleteFunc(found, func(f vision.Detection) bool { return !d.wanted[f.Class] })
	}
	return d.suppress.Suppress(found, d.iou, MaxObjects), nil
}

// Close releases the model.
func (d *Detector) Close() error { return d.session.Close() }
