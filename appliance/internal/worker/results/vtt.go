package results

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
)

// vtt writes boxes.vtt, a WebVTT metadata track (https://www.w3.org/TR/webvtt1/),
// which a page gives to a video as <track kind="metadata">. Each cue lasts from one
// analysed frame to the next; its payload is one line of JSON:
//
//	{"frame":F,"width":W,"height":H,"objects":[…as in detections.jsonl]}
//
// Frames in which nothing was found have no cue. Where frames were passed over
// (rate limit, no motion), the last boxes hold.
type vtt struct {
	w     *bufio.Writer
	last  *Line   // whose end is not known yet
	until float64 // the end of the last cue, in seconds
}

func newVTT(to io.Writer, src Source) *vtt {
	v := &vtt{w: buffered(to)}
	step := 1.0 / 30
	if src.FPS > 0 {
		step = 1 / src.FPS
	}
	v.until = src.Seconds + step
	v.w.WriteString("WEBVTT\n\nNOTE Objects of each frame as JSON; see the payload's keys.\n")
	return v
}

func (v *vtt) line(l Line) {
	v.cue(l.Seconds)
	v.last = &l
}

func (v *vtt) end() {
	if v.last != nil {
		v.cue(max(v.until, v.last.Seconds))
	}
}

// cue writes the one before, now that its end is known.
func (v *vtt) cue(end float64) {
	l := v.last
	if l == nil || len(l.Objects) == 0 {
		return
	}
	// JSON writes > as an escape, so that no payload has the arrow that ends a cue.
	payload, err := json.Marshal(struct {
		Frame   uint64 `json:"frame"`
		Width   int    `json:"width"`
		Height  int    `json:"height"`
		Objects any    `json:"objects"`
	}{l.Frame, l.Width, l.Height, l.Objects})
	if err != nil {
		return // what was read as JSON can be written as such
	}
	from := milliseconds(l.Seconds)
	to := max(milliseconds(end), from+1) // a cue without length is none
	fmt.Fprintf(v.w, "\n%s --> %s\n%s\n", stamp(from), stamp(to), payload)
}

func milliseconds(s float64) int64 { return int64(math.Round(max(s, 0) * 1000)) }

func stamp(ms int64) string {
	return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}
