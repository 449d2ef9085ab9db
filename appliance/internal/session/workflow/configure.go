package workflow

import (
	"fmt"
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// What the blocks have where a workflow says nothing.
const (
	usualConfidence = 0.4
	usualIoU        = 0.3
)

// leastScore stands for an explicit 0, which the graph has for "the model's own".
const leastScore = 1e-3

// configure reads the settings of all steps and makes the outputs.
func (c *compiler) configure() *Refusal {
	for _, s := range c.steps {
		var r *Refusal
		switch s.block.does {
		case detects:
			r = c.detection(s)
		case tracks:
			r = c.tracking(s)
		default:
			r = c.drawing(s)
		}
		if r != nil {
			return r
		}
		for _, name := range s.rest() {
			c.note("%.64q of the step %.64q has no effect on this box", name, s.name)
		}
	}
	tracked := false
	c.graph.NoModel = true
	for _, o := range c.outputs {
		out, r := c.result(o)
		if r != nil {
			return r
		}
		c.graph.Outputs = append(c.graph.Outputs, out)
		sets := []string{out.Of}
		for _, l := range out.Layers {
			sets = append(sets, l.Of)
		}
		for _, of := range sets {
			c.graph.NoModel = c.graph.NoModel && of == ""
			tracked = tracked || of != "" && of != link.Detected
		}
	}
	if !tracked {
		c.graph.Tracker = nil
	}
	return nil
}

// detection reads which model looks for what.
func (c *compiler) detection(s *step) *Refusal {
	// They change nothing of what is detected, and editors write them always.
	s.used("disable_active_learning")
	s.used("active_learning_target_dataset")
	if r := c.thresholds(s); r != nil {
		return r
	}
	id, r := c.take(s, "model_id")
	if r != nil {
		return r
	}
	if id.raw == nil && !id.open {
		return refuse(id.path, "no model is named").want("the name of an installed model").have(names(c.models()))
	}
	filter, r := c.take(s, "class_filter")
	if r != nil {
		return r
	}
	if c.graph.Classes, r = filter.texts(maxItems); r != nil {
		return r
	}
	if id.open {
		return nil
	}
	if c.graph.Model, r = id.text(""); r != nil {
		return r
	}
	installed := c.models()
	i := slices.IndexFunc(installed, func(m Model) bool { return m.Name == c.graph.Model })
	if i < 0 {
		return refuse(id.path, "the model %.64q is not installed on this box", c.graph.Model).
			want("the name of an installed model").have(names(installed))
	}
	known := installed[i].Labels
	for k, class := range c.graph.Classes {
		if len(known) > 0 && !slices.Contains(known, class) {
			return refuse(fmt.Sprintf("%s[%d]", filter.path, k), "the model %.64q knows no class %.64q", c.graph.Model, class).have(known)
		}
	}
	return nil
}

func names(models []Model) []string {
	var all []string
	for _, m := range models {
		all = append(all, m.Name)
	}
	return all
}

// thresholds reads from which score on a detection counts, and which overlap
// makes two of them one.
func (c *compiler) thresholds(s *step) *Refusal {
	usual := usualConfidence
	field := []string{"confidence"}
	if s.block.version >= 3 {
		// There a mode decides, and but for one of them the model does.
		usual = 0
		v, r := c.take(s, "confidence_mode")
		if r != nil {
			return r
		}
		mode, r := v.text("best")
		if r != nil {
			return r
		}
		switch mode {
		case "best", "default":
		case "custom":
			field, usual = []string{"custom_confidence", "confidence"}, usualConfidence
		default:
			return refuse(v.path, "there is no such mode: %.64q", mode).have([]string{"best", "default", "custom"})
		}
		s.used("custom_confidence")
	}
	confidence, r := c.take(s, field...)
	if r != nil {
		return r
	}
	score, r := confidence.number(0, 1, usual)
	if r != nil {
		return r
	}
	iou, r := c.take(s, "iou_threshold")
	if r != nil {
		return r
	}
	overlap, r := iou.number(0, 1, usualIoU)
	if r != nil {
		return r
	}
	if confidence.raw != nil {
		score = max(score, leastScore)
	}
	c.graph.Threshold, c.graph.IoU = float32(score), float32(max(overlap, leastScore))
	return nil
}

// tracking reads how detections become tracks.
func (c *compiler) tracking(s *step) *Refusal {
	t := &link.Tracker{}
	c.graph.Tracker = t
	for _, f := range []struct {
		name string
		to   *float32
	}{{"track_activation_threshold", &t.Activation}, {"minimum_matching_threshold", &t.Matching}} {
		v, r := c.take(s, f.name)
		if r != nil {
			return r
		}
		n, r := v.number(0, 1, 0)
		if r != nil {
			return r
		}
		*f.to = float32(n)
	}
	const frames = 1 << 20
	var remembered int // has no effect: ids are never reused here, so that none has to be forgotten
	for _, f := range []struct {
		name string
		to   *int
	}{{"lost_track_buffer", &t.LostFrames}, {"minimum_consecutive_frames", &t.FirstFrames}, {"instances_cache_size", &remembered}} {
		v, r := c.take(s, f.name)
		if r != nil {
			return r
		}
		if *f.to, r = v.whole(0, frames, 0); r != nil {
			return r
		}
	}
	return nil
}
