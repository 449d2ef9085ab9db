package api

// The document promises lists, and readers count on them: a nil slice would be
// sent as null. What comes from Deps is made whole here, in copies.

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (c Camera) whole() Camera {
	c.Objects = list(c.Objects)
	return c
}

func (d Detections) whole() Detections {
	d.Objects = list(d.Objects)
	return d
}

func (h Hardware) whole() Hardware {
	h.Sandbox.Missing = list(h.Sandbox.Missing)
	return Hardware{list(h.Decoders), list(h.Encoders), list(h.Accelerators), list(h.Cameras), h.Sandbox}
}

func (m Model) whole() Model {
	m.Labels, m.UsedBy = list(m.Labels), list(m.UsedBy)
	return m
}

func (s System) whole() System {
	s.Loops, s.Queues = list(s.Loops), list(s.Queues)
	return s
}

// each applies whole to every element of a copy.
func each[T any](in []T, whole func(T) T) []T {
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = whole(v)
	}
	return out
}
