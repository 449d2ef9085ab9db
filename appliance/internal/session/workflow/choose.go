package workflow

import (
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// everything stands in data_output for all outputs that are no pictures.
const everything = "*"

// Choose turns stream_output and data_output into a selection. stream is nil where
// nothing was said: then the first picture goes out, if the peer takes video. An
// empty list is no stream. data names outputs, pictures included; "*" is all that
// are none; nothing is metadata only. hasVideo: the peer takes video. The error is
// a *Refusal.
func (g *Graph) Choose(stream *[]string, data []string, hasVideo bool) (link.Select, error) {
	var s link.Select
	switch {
	case stream == nil:
		if i := slices.IndexFunc(g.Outputs, link.Output.Image); i >= 0 && hasVideo {
			s.Stream = g.Outputs[i].Name
		}
	case len(*stream) > 1:
		return s, refuse("stream_output", "it names %d outputs", len(*stream)).want("one at most: a session has one video track").have(g.pictures())
	case len(*stream) == 1:
		name := (*stream)[0]
		i := slices.IndexFunc(g.Outputs, func(o link.Output) bool { return o.Name == name })
		switch {
		case i < 0:
			return s, refuse("stream_output", "the workflow has no output %.64q", name).want("the name of a picture").have(g.pictures())
		case !g.Outputs[i].Image():
			return s, refuse("stream_output", "the output %.64q is no picture", name).want("the name of a picture").have(g.pictures())
		case !hasVideo:
			return s, refuse("stream_output", "the session has no video track for %.64q: none was in the offer", name).
				want("an offer that takes video, or the output's name in data_output")
		}
		s.Stream = name
	}
	for _, name := range data {
		if name == everything {
			s.All = true
			continue
		}
		if !slices.ContainsFunc(g.Outputs, func(o link.Output) bool { return o.Name == name }) {
			return s, refuse("data_output", "the workflow has no output %.64q", name).want(`names of outputs, or "*" for all that are no pictures`).have(append(g.outputs(), everything))
		}
		if !slices.Contains(s.Data, name) {
			s.Data = append(s.Data, name)
		}
	}
	return s, nil
}

func (g *Graph) outputs() []string {
	var all []string
	for _, o := range g.Outputs {
		all = append(all, o.Name)
	}
	return all
}

func (g *Graph) pictures() []string {
	var all []string
	for _, o := range g.Outputs {
		if o.Image() {
			all = append(all, o.Name)
		}
	}
	return all
}
