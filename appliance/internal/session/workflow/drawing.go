package workflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// The greatest values that visualizations take.
const (
	maxThickness = 256  // pixels
	maxPadding   = 1024 // pixels
	maxScale     = 64
)

// drawing reads the look of a visualization.
func (c *compiler) drawing(s *step) (r *Refusal) {
	s.used("copy_image") // pictures are always copies
	l := &s.layer
	l.Of = s.of
	if r := c.colours(s, l); r != nil {
		return r
	}
	if s.block.does == boxes {
		l.Draw = link.LayerBoxes
		if l.Thickness, r = c.number(s, "thickness", maxThickness); r != nil {
			return r
		}
		l.Roundness, r = c.number(s, "roundness", 1)
		return r
	}
	l.Draw = link.LayerLabels
	if r := c.lettering(s, l); r != nil {
		return r
	}
	if l.Scale, r = c.number(s, "text_scale", maxScale); r != nil {
		return r
	}
	v, r := c.take(s, "text_padding")
	if r != nil {
		return r
	}
	l.Padding, r = v.whole(0, maxPadding, 0)
	return r
}

// number reads a field from 0 on; nothing said is 0.
func (c *compiler) number(s *step, name string, most float64) (float64, *Refusal) {
	v, r := c.take(s, name)
	if r != nil {
		return 0, r
	}
	return v.number(0, most, 0)
}

// choice reads a field that is one of several words, not told apart by case;
// otherwise is what nothing said and a value still unknown mean.
func (c *compiler) choice(s *step, name, otherwise string, among []string) (string, value, *Refusal) {
	v, r := c.take(s, name)
	if r != nil {
		return "", v, r
	}
	word, r := v.text(otherwise)
	if r != nil {
		return "", v, r.have(among)
	}
	for _, w := range among {
		if strings.EqualFold(w, word) {
			return w, v, nil
		}
	}
	if word == otherwise {
		return word, v, nil
	}
	return "", v, refuse(v.path, "it is %.64q", word).have(among)
}

// lettering reads what labels tell and where.
func (c *compiler) lettering(s *step, l *link.Layer) *Refusal {
	const zone = "Time In Zone"
	text, _, r := c.choice(s, "text", "Class", []string{"Class", "Confidence", "Class and Confidence", "Index", "Dimensions", "Area", "Tracker Id", zone})
	if r != nil {
		return r
	}
	if text == zone {
		c.note("there are no zones on this box: the labels of the step %.64q tell the class", s.name)
	}
	l.Text = map[string]string{
		"Confidence": "confidence", "Class and Confidence": "class_confidence", "Index": "index",
		"Dimensions": "dimensions", "Area": "area", "Tracker Id": "tracker_id",
	}[text]
	if l.Text == "" {
		l.Text = "class"
	}
	position, _, r := c.choice(s, "text_position", "", []string{"TOP_LEFT", "TOP_CENTER", "TOP_RIGHT", "CENTER_LEFT", "CENTER", "CENTER_RIGHT",
		"BOTTOM_LEFT", "BOTTOM_CENTER", "BOTTOM_RIGHT", "CENTER_OF_MASS"})
	if r != nil {
		return r
	}
	if l.Position = strings.ToLower(position); position == "CENTER_OF_MASS" { // a box's is its middle
		l.Position = "center"
	}
	v, r := c.take(s, "text_color")
	if r != nil {
		return r
	}
	word, r := v.text("")
	if r != nil || word == "" {
		return r
	}
	l.TextColour, r = colour(v.path, word)
	return r
}

// colours reads which colours are used, and what they depend on.
func (c *compiler) colours(s *step, l *link.Layer) *Refusal {
	axis, _, r := c.choice(s, "color_axis", "", []string{"CLASS", "TRACK", "INDEX"})
	if r != nil {
		return r
	}
	l.ColourBy = strings.ToLower(axis)
	v, r := c.take(s, "color_palette")
	if r != nil {
		return r
	}
	palette, r := v.text("DEFAULT")
	if r != nil {
		return r
	}
	list, r := c.take(s, "custom_colors")
	if r != nil {
		return r
	}
	words, r := list.texts(link.MaxPalette)
	if r != nil {
		return r
	}
	s.used("palette_size") // of palettes that the box does not have
	switch palette {
	case "DEFAULT":
	case "CUSTOM":
		for i, w := range words {
			hex, r := colour(fmt.Sprintf("%s[%d]", list.path, i), w)
			if r != nil {
				return r
			}
			l.Palette = append(l.Palette, hex)
		}
	default:
		c.note("this box has no palette %.64q: the step %.64q uses the box's own colours", palette, s.name)
	}
	return nil
}

// colour reads a colour as workflows have it, and gives #rrggbb.
func colour(path, s string) (string, *Refusal) {
	switch strings.ToUpper(s) {
	case "WHITE":
		return "#ffffff", nil
	case "BLACK":
		return "#000000", nil
	case "RED":
		return "#ff0000", nil
	case "GREEN":
		return "#00ff00", nil
	case "BLUE":
		return "#0000ff", nil
	case "YELLOW":
		return "#ffff00", nil
	case "ROBOFLOW":
		return "#a351fb", nil
	}
	if hex, ok := strings.CutPrefix(s, "#"); ok {
		if len(hex) == 3 {
			hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
		}
		if n, err := strconv.ParseUint(hex, 16, 32); err == nil && len(hex) == 6 {
			return fmt.Sprintf("#%06x", n), nil
		}
	}
	for _, order := range []string{"rgb", "bgr"} {
		inner, ok := strings.CutPrefix(strings.ToLower(s), order+"(")
		parts := strings.Split(strings.TrimSuffix(inner, ")"), ",")
		if !ok || !strings.HasSuffix(inner, ")") || len(parts) != 3 {
			continue
		}
		var v [3]uint64
		var err error
		for i := range v {
			if v[i], err = strconv.ParseUint(strings.TrimSpace(parts[i]), 10, 8); err != nil {
				break
			}
		}
		if err != nil {
			continue
		}
		if order == "bgr" {
			v[0], v[2] = v[2], v[0]
		}
		return fmt.Sprintf("#%02x%02x%02x", v[0], v[1], v[2]), nil
	}
	return "", refuse(path, "%.64q is no colour", s).want("#rrggbb, rgb(r, g, b), bgr(b, g, r), or WHITE, BLACK, RED, GREEN, BLUE, YELLOW")
}
