package workflow

import (
	"slices"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// output is one of the workflow, and what it is of.
type output struct {
	path string // of its selector
	name string
	of   selector
}

// connect follows the selectors of steps and outputs.
func (c *compiler) connect() *Refusal {
	for _, s := range c.steps {
		s.used("type")
		s.used("name")
		if r := c.connectStep(s); r != nil {
			return r
		}
	}
	return c.refuseCycles()
}

func (c *compiler) connectStep(s *step) (r *Refusal) {
	switch s.block.does {
	case detects:
		on, r := c.imageOf(s, "images", "image")
		if r == nil && on != nil {
			r = refuse(s.path+".images", "this box looks for objects in the frame as it came, not in a picture of the step %.64q", on.name).want("$inputs." + c.image)
		}
		return r
	case tracks:
		if r := c.timeOf(s); r != nil {
			return r
		}
		s.predictions, s.of, r = c.predictionsOf(s, "detections", "predictions")
		return r
	}
	if s.image, r = c.imageOf(s, "image", "images"); r != nil {
		return r
	}
	s.predictions, s.of, r = c.predictionsOf(s, "predictions", "detections")
	return r
}

// selectorIn is the selector in the first of these fields that the step has.
func (c *compiler) selectorIn(s *step, names ...string) (selector, string, *Refusal) {
	at := names[0]
	for _, name := range slices.Backward(names) {
		s.used(name)
		if _, ok := s.fields[name]; ok {
			at = name
		}
	}
	sel, r := selectorOf(s.path, s.fields, at)
	return sel, s.path + "." + at, r
}

// imageOf is what a step looks at or draws on: another's picture, or nil for the
// frame.
func (c *compiler) imageOf(s *step, names ...string) (*step, *Refusal) {
	sel, path, r := c.selectorIn(s, names...)
	if r != nil {
		return nil, r
	}
	return c.picture(path, sel)
}

// picture is the visualization that a selector names, or nil for the frame.
func (c *compiler) picture(path string, sel selector) (*step, *Refusal) {
	if sel.step == "" {
		if sel.input != c.image {
			return nil, refuse(path, "the frames of a session are the input %.64q, not %.64q", c.image, sel.input).have(c.pictures())
		}
		return nil, nil
	}
	on, r := c.stepOf(path, sel)
	if r != nil {
		return nil, r
	}
	if on.block.of != nil {
		return nil, refuse(path, "%.128q is no picture", sel.String()).have(c.pictures())
	}
	return on, nil
}

// predictionsOf is the step whose predictions a step takes, and which of them.
func (c *compiler) predictionsOf(s *step, names ...string) (*step, string, *Refusal) {
	sel, path, r := c.selectorIn(s, names...)
	if r != nil {
		return nil, "", r
	}
	if sel.step == "" {
		return nil, "", refuse(path, "%.128q has no predictions", sel.String()).have(c.sets())
	}
	on, r := c.stepOf(path, sel)
	if r != nil {
		return nil, "", r
	}
	if on.block.of == nil {
		return nil, "", refuse(path, "%.128q has no predictions", sel.String()).have(c.sets())
	}
	return on, on.block.of[sel.output], nil
}

// stepOf is the step that a selector names, which must have that output.
func (c *compiler) stepOf(path string, sel selector) (*step, *Refusal) {
	on := c.byName[sel.step]
	if on == nil {
		return nil, refuse(path, "there is no step %.64q", sel.step).have(sorted(c.byName))
	}
	if !slices.Contains(on.block.outputs(), sel.output) {
		return nil, refuse(path, "on this box the step %.64q has no output %.64q", sel.step, sel.output).have(on.selectors())
	}
	return on, nil
}

// selectors of all outputs of a step.
func (s *step) selectors() []string {
	var all []string
	for _, o := range s.block.outputs() {
		all = append(all, selector{step: s.name, output: o}.String())
	}
	return all
}

// pictures are the selectors of all pictures.
func (c *compiler) pictures() []string {
	all := []string{"$inputs." + c.image}
	for _, s := range c.steps {
		if s.block.of == nil {
			all = append(all, s.selectors()...)
		}
	}
	return all
}

// sets are the selectors of all sets of predictions.
func (c *compiler) sets() []string {
	var all []string
	for _, s := range c.steps {
		if s.block.of != nil {
			all = append(all, s.selectors()...)
		}
	}
	return all
}

// timeOf looks at where a tracker takes the time from. There is one clock here,
// that of the frames, so that it only has to be one of theirs.
func (c *compiler) timeOf(s *step) *Refusal {
	_, image := s.fields["image"]
	_, metadata := s.fields["metadata"]
	s.used("image")
	s.used("metadata")
	if !image && !metadata {
		return refuse(s.path+".image", "it is missing").want("$inputs." + c.image)
	}
	sel, path, r := c.selectorIn(s, "image", "metadata")
	if r != nil {
		return r
	}
	if sel.step == "" && c.metadata[sel.input] {
		return nil
	}
	s.image, r = c.picture(path, sel)
	return r
}

// refuseCycles refuses steps that wait for each other.
func (c *compiler) refuseCycles() *Refusal {
	const (
		entered = 1
		left    = 2
	)
	state := make(map[*step]int, len(c.steps))
	var way []*step
	var visit func(*step) *Refusal
	visit = func(s *step) *Refusal {
		switch {
		case s == nil || state[s] == left:
			return nil
		case state[s] == entered:
			var names []string
			for _, w := range way[slices.Index(way, s):] {
				names = append(names, w.name)
			}
			return refuse(s.path, "steps wait for each other: %.256s", strings.Join(append(names, s.name), " → "))
		}
		state[s] = entered
		way = append(way, s)
		for _, before := range []*step{s.image, s.predictions} {
			if r := visit(before); r != nil {
				return r
			}
		}
		way = way[:len(way)-1]
		state[s] = left
		return nil
	}
	for _, s := range c.steps { // at most maxItems deep
		if r := visit(s); r != nil {
			return r
		}
	}
	return nil
}

// result makes the output that o asks for.
func (c *compiler) result(o output) (link.Output, *Refusal) {
	out := link.Output{Name: o.name}
	if o.of.step != "" {
		s, r := c.stepOf(o.path, o.of)
		if r != nil {
			return out, r
		}
		if s.block.of != nil {
			out.Of = s.block.of[o.of.output]
			return out, nil
		}
	}
	if _, parameter := c.parameters[o.of.input]; parameter {
		return out, refuse(o.path, "%.64q is a parameter, which the client has already", o.of.input).have(append(c.pictures(), c.sets()...))
	}
	on, r := c.picture(o.path, o.of)
	if r != nil {
		return out, r.have(append(c.pictures(), c.sets()...))
	}
	for ; on != nil; on = on.image {
		if len(out.Layers) == link.MaxLayers {
			return out, refuse(o.path, "more than %d steps draw on this picture", link.MaxLayers)
		}
		out.Layers = append(out.Layers, on.layer)
	}
	slices.Reverse(out.Layers)
	return out, nil
}
