package media

import (
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// choice is a link.Select, looked up among the session's outputs.
type choice struct {
	stream    int   // the output that goes out as video; -1: none
	data      []int // the outputs in the documents, in the order asked for
	all       bool  // they were not asked for by name
	documents bool
	pictures  int // of data: the last one that is a picture, as an index of data; -1: none
	// lacking are the names that no output has.
	lacking []string
}

// choose has frames from the next one on be told of as v says.
func (s *sessionRun) choose(v link.Select) {
	c := &choice{stream: -1, documents: !v.NoDocuments, all: v.All, pictures: -1}
	if v.Stream != "" && s.ask.Video != 0 {
		if c.stream = s.output(v.Stream); c.stream < 0 || !s.ask.Outputs[c.stream].Image() {
			c.stream = -1
			c.lacking = append(c.lacking, v.Stream)
		}
	}
	if v.All {
		for i, o := range s.ask.Outputs {
			if !o.Image() {
				c.data = append(c.data, i)
			}
		}
	}
	for _, name := range v.Data {
		switch i := s.output(name); {
		case i < 0:
			c.lacking = append(c.lacking, name)
		case !slices.Contains(c.data, i):
			c.data = append(c.data, i)
		}
	}
	for n, i := range c.data {
		if s.ask.Outputs[i].Image() {
			c.pictures = n
		}
	}
	s.chosen.Store(c)
}

func (s *sessionRun) output(name string) int {
	return slices.IndexFunc(s.ask.Outputs, func(o link.Output) bool { return o.Name == name })
}

// look is how an output's picture is drawn.
type look []layer

// layer is a link.Layer in the artist's words.
type layer struct {
	of     string
	labels bool
	boxes  draw.BoxStyle
	label  draw.LabelStyle
}

func newLook(o link.Output) look {
	var l look
	for _, a := range o.Layers {
		// What is no colour was refused where the request was read.
		p := draw.Paint{By: draw.By(a.ColourBy)}
		for _, text := range a.Palette {
			if c, err := draw.ParseColour(text); err == nil {
				p.Palette = append(p.Palette, c)
			}
		}
		text, _ := draw.ParseColour(a.TextColour)
		l = append(l, layer{
			of: a.Of, labels: a.Draw == link.LayerLabels,
			boxes: draw.BoxStyle{Paint: p, Thickness: a.Thickness, Roundness: a.Roundness},
			label: draw.LabelStyle{
				Paint: p, Caption: draw.Caption(a.Text), Position: draw.Position(a.Position),
				Scale: a.Scale, Text: text, Padding: a.Padding,
			},
		})
	}
	return l
}

// changes tells whether drawing it changes the picture of a moment.
func (l look) changes(m *moment) bool {
	if m.blind != "" {
		return true
	}
	for _, a := range l {
		for i := range m.found {
			if m.found[i].in(a.of) {
				return true
			}
		}
	}
	return false
}
