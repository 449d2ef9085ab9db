package workflow

import (
	"encoding/json"
	"fmt"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Request is what is to be compiled.
type Request struct {
	// Specification is the workflow_specification, as it came.
	Specification json.RawMessage
	// ImageInput is image_input_name: which input the frames are; "": "image", or
	// the only image input there is.
	ImageInput string
	// Parameters are workflows_parameters: what $inputs.NAME stands for.
	Parameters map[string]json.RawMessage
}

// Model is one that is installed on the box.
type Model struct {
	Name   string
	Labels []string // of its classes; empty: not known
}

// Models lists what is installed, the motion analyser included.
type Models func() []Model

// Graph is what a box has to do for a workflow.
type Graph struct {
	// Model is the installed model's name. NoModel: no output needs detections,
	// so that none is loaded.
	Model   string
	NoModel bool
	// Threshold is the least score of a detection; 0: the model's. IoU is that of
	// non-maximum suppression; 0: the model's.
	Threshold, IoU float32
	// Classes are the labels to keep; empty: all.
	Classes []string
	// Tracker is nil where no output needs tracks.
	Tracker *link.Tracker
	// Outputs in the workflow's order.
	Outputs []link.Output
	// Notes say in words what of the workflow has no effect on this box.
	Notes []string
}

// The most that a specification may be.
const (
	MaxSpecification = 1 << 20 // bytes
	maxDepth         = 32      // of nested JSON
	maxItems         = 256     // inputs, and steps
	maxNotes         = 32
)

// The paths of what a request consists of.
const (
	configuration     = "workflow_configuration"
	specificationPath = configuration + ".workflow_specification"
	parametersPath    = configuration + ".workflows_parameters"
	imageInputPath    = configuration + ".image_input_name"
)

// Compile makes the graph of a workflow. Its error is a *Refusal.
func Compile(r Request, models Models) (*Graph, error) {
	c := &compiler{request: r, models: models, root: specificationPath}
	return c.compile()
}

// check tells whether a specification can be compiled once its parameters are
// known; root is its path in refusals.
func check(specification json.RawMessage, models Models, root string) (*Graph, error) {
	c := &compiler{request: Request{Specification: specification}, models: models, root: root, open: true}
	return c.compile()
}

// compiler holds what is known so far.
type compiler struct {
	request Request
	models  Models
	root    string
	// open: parameters have values that are not known yet.
	open bool

	image      string // the input that the frames are
	images     []string
	metadata   map[string]bool
	parameters map[string]json.RawMessage // nil value: there is none

	steps         []*step
	byName        map[string]*step
	detect, track *step
	outputs       []output
	graph         Graph
	unnoted       int
}

// compile does one thing after the other; the first that is not as it must be
// ends it.
func (c *compiler) compile() (*Graph, error) {
	for _, do := range []func() *Refusal{c.read, c.settle, c.connect, c.configure} {
		if r := do(); r != nil {
			return nil, r
		}
	}
	if c.unnoted > 0 {
		c.graph.Notes = append(c.graph.Notes, fmt.Sprintf("and %d more of the kind", c.unnoted))
	}
	return &c.graph, nil
}

// note remembers what has no effect.
func (c *compiler) note(format string, args ...any) {
	if len(c.graph.Notes) >= maxNotes {
		c.unnoted++
		return
	}
	c.graph.Notes = append(c.graph.Notes, fmt.Sprintf(format, args...))
}
