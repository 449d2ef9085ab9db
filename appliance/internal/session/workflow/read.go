package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// maxName bounds the names of inputs, steps and outputs, in bytes.
const maxName = 256

// read takes the specification apart: inputs, steps, and outputs, of which each
// step and each output is looked at later.
func (c *compiler) read() *Refusal {
	raw := c.request.Specification
	if len(raw) == 0 || string(raw) == "null" {
		return refuse(c.root, "there is no workflow").want("an object with version, inputs, steps and outputs")
	}
	if len(raw) > MaxSpecification {
		return refuse(c.root, "it has %d bytes, the most is %d", len(raw), MaxSpecification)
	}
	if d := depth(raw); d > maxDepth {
		return refuse(c.root, "its values are nested more than %d deep", maxDepth)
	}
	top, r := object(c.root, raw)
	if r != nil {
		return r
	}
	for _, name := range sorted(top) {
		if !slices.Contains([]string{"version", "inputs", "steps", "outputs"}, name) {
			c.note("%.64q of the workflow is not used", name)
		}
	}
	if r := c.readInputs(top["inputs"]); r != nil {
		return r
	}
	if r := c.readSteps(top["steps"]); r != nil {
		return r
	}
	return c.readOutputs(top["outputs"])
}

func (c *compiler) readInputs(raw json.RawMessage) *Refusal {
	path := c.root + ".inputs"
	list, r := array(path, raw, maxItems)
	if r != nil {
		return r
	}
	c.metadata, c.parameters = map[string]bool{}, map[string]json.RawMessage{}
	for i, raw := range list {
		path := fmt.Sprintf("%s[%d]", path, i)
		in, r := object(path, raw)
		if r != nil {
			return r
		}
		name, r := nameOf(path, in)
		if r != nil {
			return r
		}
		if _, twice := c.parameters[name]; twice || c.metadata[name] || slices.Contains(c.images, name) {
			return refuse(path+".name", "there are two inputs of the name %.64q", name)
		}
		kind, r := stringOf(path, in, "type")
		if r != nil {
			return r
		}
		switch kind {
		case "WorkflowImage", "InferenceImage":
			c.images = append(c.images, name)
		case "WorkflowVideoMetadata":
			c.metadata[name] = true
		case "WorkflowParameter", "InferenceParameter":
			c.parameters[name] = given(in["default_value"])
		default:
			return refuse(path+".type", "this box knows no input of the type %.64q", kind).
				have([]string{"WorkflowImage", "InferenceImage", "WorkflowParameter", "InferenceParameter", "WorkflowVideoMetadata"})
		}
	}
	return nil
}

// given is nil for null.
func given(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// settle decides which input the frames are, and what the parameters stand for.
func (c *compiler) settle() *Refusal {
	c.image = c.request.ImageInput
	if c.image == "" {
		c.image = "image"
		if len(c.images) == 1 {
			c.image = c.images[0]
		}
	}
	if !slices.Contains(c.images, c.image) {
		field := imageInputPath
		if c.open {
			field = c.root + ".inputs"
		}
		return refuse(field, "the workflow has no image input %.64q", c.image).
			want("the name of an input of the type WorkflowImage").have(c.images)
	}
	for _, name := range sorted(c.request.Parameters) {
		if _, known := c.parameters[name]; !known {
			c.note("the workflow has no parameter %.64q", name)
			continue
		}
		if v := given(c.request.Parameters[name]); v != nil {
			c.parameters[name] = v
		}
	}
	return nil
}

func (c *compiler) readSteps(raw json.RawMessage) *Refusal {
	path := c.root + ".steps"
	list, r := array(path, raw, maxItems)
	if r != nil {
		return r
	}
	c.byName = make(map[string]*step, len(list))
	for i, raw := range list {
		s := &step{path: fmt.Sprintf("%s[%d]", path, i)}
		if s.fields, r = object(s.path, raw); r != nil {
			return r
		}
		if s.name, r = nameOf(s.path, s.fields); r != nil {
			return r
		}
		if strings.Contains(s.name, ".") {
			return refuse(s.path+".name", "no selector could name the step %.64q", s.name).want("a name without dots")
		}
		kind, r := stringOf(s.path, s.fields, "type")
		if r != nil {
			return r
		}
		var known bool
		if s.block, known = blockOf(kind); !known {
			return refuse(s.path+".type", "this box does not run steps of the type %.96q, as %.64q is", kind, s.name).have(Blocks())
		}
		if c.byName[s.name] != nil {
			return refuse(s.path+".name", "there are two steps of the name %.64q", s.name)
		}
		c.byName[s.name] = s
		c.steps = append(c.steps, s)
		if r := c.claim(s); r != nil {
			return r
		}
	}
	return nil
}

// claim makes s the workflow's detection or tracking step; a box has one of each.
func (c *compiler) claim(s *step) *Refusal {
	var place **step
	switch s.block.does {
	case detects:
		place = &c.detect
	case tracks:
		place = &c.track
	default:
		return nil
	}
	if *place != nil {
		return refuse(s.path, "this box runs one step that %s, and %.64q is one already: %.64q cannot be another", s.block.does, (*place).name, s.name)
	}
	*place = s
	return nil
}

// readOutputs checks all but what the outputs are of.
func (c *compiler) readOutputs(raw json.RawMessage) *Refusal {
	path := c.root + ".outputs"
	list, r := array(path, raw, link.MaxOutputs)
	if r != nil {
		return r
	}
	if len(list) == 0 {
		return refuse(path, "the workflow has no outputs, so there is nothing to send").want("a JsonField at least")
	}
	seen := make(map[string]bool, len(list))
	for i, raw := range list {
		path := fmt.Sprintf("%s[%d]", path, i)
		out, r := object(path, raw)
		if r != nil {
			return r
		}
		name, r := nameOf(path, out)
		if r != nil {
			return r
		}
		if name == everything {
			return refuse(path+".name", "an output cannot have the name %q, which stands for all", everything)
		}
		if seen[name] {
			return refuse(path+".name", "there are two outputs of the name %.64q", name)
		}
		seen[name] = true
		kind, r := stringOf(path, out, "type")
		if r != nil {
			return r
		}
		if kind != "JsonField" {
			return refuse(path+".type", "this box knows no output of the type %.64q", kind).have([]string{"JsonField"})
		}
		selector, r := selectorOf(path, out, "selector")
		if r != nil {
			return r
		}
		c.outputs = append(c.outputs, output{path + ".selector", name, selector})
	}
	return nil
}
