// Package plan decides how a pipeline is built and writes it down as text: from
// what is wanted (a source, a rendition) to GStreamer descriptions and the
// properties to set on them. It is pure: no cgo, no GStreamer, no files.
//
// Nothing that a user typed is ever put into a description's text, where it
// could be read as syntax or be printed: paths, addresses and credentials are
// Props, set on the element by value.
package plan

// Format is the memory layout of a frame.
type Format int

// The layouts that frames have on the road.
const (
	I420 Format = iota // planes Y, U, V; 4:2:0, 8 bit
	NV12               // planes Y, interleaved UV; 4:2:0, 8 bit
	RGB                // one packed plane, three bytes a pixel
)

// String is GStreamer's name of the format.
func (f Format) String() string {
	switch f {
	case I420:
		return "I420"
	case NV12:
		return "NV12"
	case RGB:
		return "RGB"
	}
	return "unknown"
}

// Prop is a property to set on the element of that name in a description.
type Prop struct {
	Element, Name, Value string
	// Optional: an element without such a property does without.
	Optional bool
	// Secret values must not be printed.
	Secret bool
}

// Pipeline is a description in gst-launch syntax and the properties to set on
// its elements before it starts.
type Pipeline struct {
	Launch string
	Props  []Prop
}
