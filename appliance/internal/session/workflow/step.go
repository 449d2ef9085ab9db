package workflow

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// doing is what a step does for the box's graph.
type doing string

const (
	detects doing = "detects"
	tracks  doing = "tracks"
	boxes   doing = "draws boxes"
	labels  doing = "draws labels"
)

// block is a type of step that a box runs.
type block struct {
	name    string
	does    doing
	version int
	// of gives the set of predictions of each output; a visualization has none.
	of map[string]string
	// aliases are older names of the same.
	aliases []string
}

const imageOutput = "image"

// outputs of the block, sorted.
func (b block) outputs() []string {
	if b.of == nil {
		return []string{imageOutput}
	}
	return slices.Sorted(maps.Keys(b.of))
}

// blocks is all that a box runs.
func blocks() []block {
	found := map[string]string{"predictions": link.Detected}
	followed := map[string]string{"tracked_detections": link.Tracked}
	sorted := map[string]string{"tracked_detections": link.Tracked, "new_instances": link.New, "already_seen_instances": link.Seen}
	return []block{
		{"roboflow_core/roboflow_object_detection_model@v1", detects, 1, found, []string{"RoboflowObjectDetectionModel", "ObjectDetectionModel"}},
		{"roboflow_core/roboflow_object_detection_model@v2", detects, 2, found, nil},
		{"roboflow_core/roboflow_object_detection_model@v3", detects, 3, found, nil},
		{"roboflow_core/byte_tracker@v1", tracks, 1, followed, []string{"ByteTracker"}},
		{"roboflow_core/byte_tracker@v2", tracks, 2, followed, nil},
		{"roboflow_core/byte_tracker@v3", tracks, 3, sorted, nil},
		{"roboflow_core/bounding_box_visualization@v1", boxes, 1, nil, []string{"BoundingBoxVisualization"}},
		{"roboflow_core/label_visualization@v1", labels, 1, nil, []string{"LabelVisualization"}},
	}
}

// Blocks lists the types of steps that a box runs.
func Blocks() []string {
	var names []string
	for _, b := range blocks() {
		names = append(names, b.name)
	}
	return names
}

func blockOf(name string) (block, bool) {
	for _, b := range blocks() {
		if b.name == name || slices.Contains(b.aliases, name) {
			return b, true
		}
	}
	return block{}, false
}

// step is one step of a workflow.
type step struct {
	path   string
	name   string
	block  block
	fields map[string]json.RawMessage
	taken  []string // fields that were looked at

	// image is what a visualization draws on, or a tracker takes the time from: a
	// step before it, or nil for the frame as it came.
	image *step
	// predictions is the step whose predictions it takes, and which of them.
	predictions *step
	of          string
	layer       link.Layer // of a visualization
}

func (s *step) used(name string) { s.taken = append(s.taken, name) }

// rest are the fields that nobody looked at, sorted.
func (s *step) rest() []string {
	var names []string
	for _, name := range sorted(s.fields) {
		if !slices.Contains(s.taken, name) {
			names = append(names, name)
		}
	}
	return names
}

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
