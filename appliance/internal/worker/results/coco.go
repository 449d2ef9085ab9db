package results

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// coco writes coco.json, a data set in COCO's object detection format
// (https://cocodataset.org/#format-data), which pycocotools' COCO class reads:
//
//	info         description and source of the file
//	images       one an analysed frame: id (the frame's number), width, height,
//	             file_name (a name for the frame; there is no such file), seconds
//	annotations  one a box: id (from 1), image_id, category_id, bbox [left, top,
//	             width, height] in pixels, area, iscrowd 0, score, track_id
//	categories   id (the model's class + 1), name
//
// score and track_id are not COCO's own; its tools pass them over. The array of
// annotations is also what COCO's results format wants (COCO.loadRes).
type coco struct {
	w      *bufio.Writer
	id     int
	begun  bool
	labels map[int]string
}

func newCOCO(to io.Writer, src Source) *coco {
	c := &coco{w: buffered(to), labels: map[int]string{}}
	fmt.Fprintf(c.w, `{"info":{"description":%s,"version":"%d"},"licenses":[],`+"\n"+`"images":[`, quote("objects found in "+src.Name), Format)
	return c
}

func (c *coco) image(l Line) {
	if c.begun {
		c.w.WriteByte(',')
	}
	c.begun = true
	fmt.Fprintf(c.w, "\n"+`{"id":%d,"width":%d,"height":%d,"file_name":"frame-%08d","seconds":%s}`,
		l.Frame, l.Width, l.Height, l.Frame, number(l.Seconds))
}

func (c *coco) begin() {
	c.begun = false
	c.w.WriteString("],\n\"annotations\":[")
}

func (c *coco) annotate(l Line) error {
	for _, o := range l.Objects {
		if _, known := c.labels[o.Class]; !known {
			if len(c.labels) >= maxLabels {
				return fmt.Errorf("%w: more than %d classes", ErrLog, maxLabels)
			}
			c.labels[o.Class] = o.Label
		}
		if c.begun {
			c.w.WriteByte(',')
		}
		c.begun = true
		c.id++
		w, h := float64(o.X1)-float64(o.X0), float64(o.Y1)-float64(o.Y0)
		fmt.Fprintf(c.w, "\n"+`{"id":%d,"image_id":%d,"category_id":%d,"bbox":[%s,%s,%s,%s],"area":%s,"iscrowd":0,"score":%s,"track_id":%d}`,
			c.id, l.Frame, o.Class+1, pixels(float64(o.X0)), pixels(float64(o.Y0)), pixels(w), pixels(h), pixels(w*h),
			strconv.FormatFloat(float64(o.Score), 'g', -1, 32), o.ID)
	}
	return nil
}

func (c *coco) end() {
	c.w.WriteString("],\n\"categories\":[")
	for i, class := range slices.Sorted(maps.Keys(c.labels)) {
		if i > 0 {
			c.w.WriteByte(',')
		}
		fmt.Fprintf(c.w, "\n"+`{"id":%d,"name":%s}`, class+1, quote(c.labels[class]))
	}
	c.w.WriteString("]}\n")
}

// pixels is a length with a hundredth of a pixel.
func pixels(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// number is a float as JSON has it, with as many digits as it takes.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// quote is a text as a JSON string, fit for one line of anything.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // not of a string
	}
	return string(text)
}
