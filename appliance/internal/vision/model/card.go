package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/watchpost/watchpost/appliance/internal/vision/output"
)

// Card describes a model: where it is from and how it is fed and read. Keys
// that a card leaves out have the usual values of its output family.
type Card struct {
	// Name is how the model is called for: small letters, digits, dash, dot.
	Name string `yaml:"name"`
	// Title is a line for people.
	Title string `yaml:"title,omitempty"`
	// Licence is the SPDX name of the weights' licence.
	Licence string `yaml:"licence,omitempty"`
	Source  string `yaml:"source,omitempty"`
	// SHA256 of the .onnx file in hexadecimal; empty: not pinned.
	SHA256    string  `yaml:"sha256,omitempty"`
	Labels    Labels  `yaml:"labels"`
	Input     Input   `yaml:"input,omitempty"`
	Output    Output  `yaml:"output"`
	Threshold float32 `yaml:"threshold"`
	// NMSIoU is the overlap above which the weaker of two boxes of one class
	// goes; 0: the model needs no suppression.
	NMSIoU float32 `yaml:"nms_iou"`
}

// Input says how a picture becomes the input tensor: each 8-bit value v of
// channel c becomes (v*scale - mean[c]) / std[c].
type Input struct {
	// Layout is "nchw" or "nhwc".
	Layout string `yaml:"layout"`
	// Colour is the channel order, "rgb" or "bgr".
	Colour string  `yaml:"colour"`
	Scale  float32 `yaml:"scale"`
	// Mean and Std have three numbers, in the order of Colour; empty: 0 and 1.
	Mean []float32 `yaml:"mean,omitempty"`
	Std  []float32 `yaml:"std,omitempty"`
	// Letterbox is "topleft" or "center": the picture keeps its shape and Pad
	// fills the rest; or "stretch": it fills the input.
	Letterbox string `yaml:"letterbox"`
	// Pad is the 8-bit grey of the rest.
	Pad uint8 `yaml:"pad,omitempty"`
	// Size is the width and height, for a model that leaves them open.
	Size []int `yaml:"size,omitempty"`
}

// The ways of fitting a picture into the input.
const (
	TopLeft = "topleft"
	Center  = "center"
	Stretch = "stretch"
)

// Output says how boxes are read from the output tensors.
type Output struct {
	Family  output.Family     `yaml:"family"`
	Strides []int             `yaml:"strides,omitempty"`
	RegMax  int               `yaml:"reg_max,omitempty"`
	Scores  output.Activation `yaml:"scores,omitempty"`
	Decoded bool              `yaml:"decoded,omitempty"`
}

// CardError is what is wrong with a card, and where. Line and Column count from
// 1; 0: the card as a whole.
type CardError struct {
	Line, Column int
	Message      string
}

func (e *CardError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

func positioned(n ast.Node, message string) error {
	e := &CardError{Message: message}
	if n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
		e.Line, e.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	return e
}

// maxCard is far above the largest card there is a use for (a thousand labels).
const maxCard = 256 << 10

// ParseCard reads a card. It is strict: an unknown or doubled key, a wrong type
// or a value out of range is a *CardError.
func ParseCard(text []byte) (Card, error) {
	if len(text) > maxCard {
		return Card{}, &CardError{Message: fmt.Sprintf("the card has %d bytes, more than %d", len(text), maxCard)}
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return Card{}, cardError(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return Card{}, &CardError{Message: fmt.Sprintf("a card is one YAML document, this has %d", len(file.Docs))}
	}
	if n := aliasIn(file.Docs[0].Body); n != nil {
		// Nothing in a card needs them, and they multiply.
		return Card{}, positioned(n, "anchors, aliases and tags have no place in a card")
	}
	// First the family alone, for the values of what is left out.
	var peek struct {
		Output struct {
			Family string `yaml:"family"`
		} `yaml:"output"`
	}
	card := Card{}
	if err := yaml.Unmarshal(text, &peek); err == nil {
		if f, err := output.ParseFamily(peek.Output.Family); err == nil {
			card = FamilyCard(f)
		}
	}
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&card)
	if err != nil && !errors.Is(err, io.EOF) {
		return Card{}, cardError(err)
	}
	if f, err := output.ParseFamily(string(card.Output.Family)); err == nil {
		card.Output.Family = f
	}
	card.SHA256 = strings.ToLower(card.SHA256)
	if p := card.problem(); p != nil {
		return Card{}, locate(file, p)
	}
	return card, nil
}

// aliasIn finds the first anchor, alias, merge or tag below a node.
func aliasIn(n ast.Node) ast.Node {
	f := &finder{}
	ast.Walk(f, n)
	return f.found
}

type finder struct{ found ast.Node }

// Visit is ast.Visitor.
func (f *finder) Visit(n ast.Node) ast.Visitor {
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType:
		if f.found == nil {
			f.found = n
		}
		return nil
	}
	return f
}

// cardError takes the place and the plain message out of the YAML package's
// errors.
func cardError(err error) error {
	var own *CardError
	if errors.As(err, &own) {
		return own
	}
	var y yaml.Error
	if errors.As(err, &y) {
		e := &CardError{Message: y.GetMessage()}
		if t := y.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
		return e
	}
	return &CardError{Message: strings.Join(strings.Fields(err.Error()), " ")}
}

// problem is a value out of range and the path of its key.
type problem struct{ key, message string }

// locate puts a problem where its key is, or where the nearest one above is.
func locate(file *ast.File, p *problem) error {
	for key := p.key; ; {
		if path, err := yaml.PathString("$." + key); err == nil {
			if n, err := path.FilterFile(file); err == nil && n != nil {
				return positioned(n, p.key+": "+p.message)
			}
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return &CardError{Message: p.key + ": " + p.message}
		}
		key = key[:i]
	}
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// problem finds the first value that is out of range.
func (c *Card) problem() *problem {
	bad := func(key, format string, args ...any) *problem { return &problem{key, fmt.Sprintf(format, args...)} }
	in := &c.Input
	switch {
	case !namePattern.MatchString(c.Name):
		return bad("name", "%q must be small letters, digits, dashes and dots, at most 64", c.Name)
	case c.SHA256 != "" && !hashPattern.MatchString(c.SHA256):
		return bad("sha256", "%q is not 64 hexadecimal digits", c.SHA256)
	case len(c.Labels) == 0:
		return bad("labels", "missing: write %s or the list of names", COCO80)
	case slices.Contains(c.Labels, ""):
		return bad("labels", "a name is empty")
	case !line(c.Labels...):
		return bad("labels", "a name is not one line of printable text, at most %d bytes", maxLine)
	case !line(c.Title):
		return bad("title", "it is not one line of printable text, at most %d bytes", maxLine)
	case !line(c.Licence):
		return bad("licence", "it is not one line of printable text, at most %d bytes", maxLine)
	case !line(c.Source):
		return bad("source", "it is not one line of printable text, at most %d bytes", maxLine)
	case c.Output.Family == "":
		return bad("output.family", "missing: one of %v", output.Families())
	case !slices.Contains(output.Families(), c.Output.Family):
		return bad("output.family", "%q is not known: one of %v", c.Output.Family, output.Families())
	case in.Layout != "nchw" && in.Layout != "nhwc":
		return bad("input.layout", "%q is neither nchw nor nhwc", in.Layout)
	case in.Colour != "rgb" && in.Colour != "bgr":
		return bad("input.colour", "%q is neither rgb nor bgr", in.Colour)
	case !finite(in.Scale) || in.Scale == 0:
		return bad("input.scale", "%v is no factor", in.Scale)
	case in.Letterbox != TopLeft && in.Letterbox != Center && in.Letterbox != Stretch:
		return bad("input.letterbox", "%q is none of topleft, center, stretch", in.Letterbox)
	case len(in.Mean) != 0 && len(in.Mean) != 3 || !finite(in.Mean...):
		return bad("input.mean", "%v is not three numbers", in.Mean)
	case len(in.Std) != 0 && len(in.Std) != 3 || !finite(in.Std...) || slices.Contains(in.Std, 0):
		return bad("input.std", "%v is not three numbers other than 0", in.Std)
	case len(in.Size) != 0 && len(in.Size) != 2:
		return bad("input.size", "%v is not [width, height]", in.Size)
	case !(c.Threshold > 0 && c.Threshold < 1):
		return bad("threshold", "%v is not between 0 and 1", c.Threshold)
	case !(c.NMSIoU >= 0 && c.NMSIoU < 1):
		return bad("nms_iou", "%v is not in [0,1)", c.NMSIoU)
	}
	// The decoder knows the rest; its size stands for the model's where that
	// is not known yet.
	size := [2]int{416, 416}
	if len(in.Size) == 2 {
		size = [2]int(in.Size)
	}
	if _, err := output.New(c.spec(size[0], size[1])); err != nil {
		return bad("output", "%v", err)
	}
	return nil
}

// maxLine bounds texts that end up in lists, logs and on pictures.
const maxLine = 500

// line tells whether all texts are printable and of one line, without space
// around them.
func line(texts ...string) bool {
	for _, t := range texts {
		if len(t) > maxLine || !utf8.ValidString(t) || strings.TrimSpace(t) != t {
			return false
		}
		for _, r := range t {
			if !unicode.IsPrint(r) {
				return false
			}
		}
	}
	return true
}

func finite(v ...float32) bool {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}

// spec is the decoder's part of the card, for a model input of this size.
func (c *Card) spec(w, h int) output.Spec {
	return output.Spec{
		Family: c.Output.Family, Classes: len(c.Labels), Width: w, Height: h,
		Strides: c.Output.Strides, RegMax: c.Output.RegMax, Scores: c.Output.Scores, Decoded: c.Output.Decoded,
	}
}

// Encode writes the card as ParseCard reads it.
func (c Card) Encode() ([]byte, error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write card %s: %w", c.Name, err)
	}
	return text, nil
}
