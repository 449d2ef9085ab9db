package media

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// document writes the JSON of one frame after the other into the same memory.
// Values are written as they come; keys, which stay the same, are encoded once.
type document struct {
	keys   [][]byte          // "name": of each output
	labels map[string][]byte // classes as JSON
	buf    []byte
	meta   []byte // the frame's video_metadata
	values int    // that were written
	any    bool   // outputs were chosen, if only by "all"
}

func newDocument(outputs []link.Output) document {
	d := document{labels: map[string][]byte{}}
	for _, o := range outputs {
		d.keys = append(d.keys, append(appendText(nil, o.Name), ':'))
	}
	return d
}

// outputsKey opens a document.
const outputsKey = `{"serialized_output_data":`

// begin starts a moment's document.
func (d *document) begin(m *moment) {
	d.meta = appendMetadata(d.meta[:0], m)
	d.values = 0
	d.any = m.choice.all || len(m.choice.data) > 0
	d.buf = append(d.buf[:0], outputsKey...)
	if d.any {
		d.buf = append(d.buf, '{')
	}
}

// end completes it; it is valid until the next begin.
func (d *document) end(m *moment) []byte {
	b := d.buf
	if d.any {
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"video_metadata":`...)
	b = append(b, d.meta...)
	b = append(b, `,"errors":[`...)
	for i, text := range m.errors {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, text)
	}
	d.buf = append(b, `],"processing_complete":false,"termination_reason":null}`...)
	return d.buf
}

// whole is end, but where the document would be too large: then it has no outputs, and
// says why. Pictures are looked at one by one; what comes behind them may be long, too.
func (d *document) whole(m *moment) []byte {
	data := d.end(m)
	if len(data) <= maxDocument {
		return data
	}
	m.failed("The outputs are left out: the document would have more than %d MiB. Ask for fewer of them.", maxDocument>>20)
	d.any = false
	d.buf = append(d.buf[:0], outputsKey...)
	return d.end(m)
}

// isoMicros is ISO 8601 in UTC as Python writes it, which the clients read with.
const isoMicros = "2006-01-02T15:04:05.000000+00:00"

func appendMetadata(b []byte, m *moment) []byte {
	b = append(b, `{"frame_id":`...)
	b = strconv.AppendUint(b, m.at.id, 10)
	b = append(b, `,"received_at":"`...)
	received := time.Now().Add(-time.Duration(monotonic() - m.frame.Captured))
	b = received.UTC().AppendFormat(b, isoMicros)
	b = append(b, `","pts":`...)
	b = strconv.AppendUint(b, m.at.ticks, 10)
	b = append(b, `,"time_base":`...)
	b = strconv.AppendFloat(b, 1.0/videoClock, 'g', -1, 64)
	b = append(b, `,"declared_fps":`...)
	b = strconv.AppendFloat(b, m.declared, 'f', -1, 64)
	b = append(b, `,"measured_fps":`...)
	b = strconv.AppendFloat(b, m.measured, 'f', 3, 64)
	b = append(b, `,"width":`...)
	b = strconv.AppendInt(b, int64(m.frame.Width), 10)
	b = append(b, `,"height":`...)
	b = strconv.AppendInt(b, int64(m.frame.Height), 10)
	return append(b, '}')
}

func (d *document) key(i int) {
	if d.values > 0 {
		d.buf = append(d.buf, ',')
	}
	d.values++
	d.buf = append(d.buf, d.keys[i]...)
}

// errNumber is why predictions cannot be serialized: JSON has no such number.
var errNumber = errors.New("the model gave a box or a score that is no number")

// predictions writes the findings of a set as output i. After an error nothing of it
// is there.
func (d *document) predictions(i int, set string, m *moment) error {
	n, values := len(d.buf), d.values
	d.key(i)
	b := append(d.buf, `{"image":{"width":`...)
	b = strconv.AppendInt(b, int64(m.frame.Width), 10)
	b = append(b, `,"height":`...)
	b = strconv.AppendInt(b, int64(m.frame.Height), 10)
	b = append(b, `},"predictions":[`...)
	first := true
	for k := range m.found {
		f := &m.found[k]
		if !f.in(set) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		for _, v := range [...]float32{f.X0, f.Y0, f.X1, f.Y1, f.Score} {
			if v := float64(v); math.IsNaN(v) || math.IsInf(v, 0) {
				d.buf, d.values = b[:n], values
				return errNumber
			}
		}
		b = d.prediction(b, f, set != link.Detected)
	}
	d.buf = append(b, `]}`...)
	return nil
}

func (d *document) prediction(b []byte, f *finding, tracked bool) []byte {
	b = append(b, `{"x":`...)
	b = appendNumber(b, f.X0+f.Width()/2)
	b = append(b, `,"y":`...)
	b = appendNumber(b, f.Y0+f.Height()/2)
	b = append(b, `,"width":`...)
	b = appendNumber(b, f.Width())
	b = append(b, `,"height":`...)
	b = appendNumber(b, f.Height())
	b = append(b, `,"confidence":`...)
	b = appendNumber(b, f.Score)
	b = append(b, `,"class":`...)
	b = append(b, d.label(f.Label)...)
	b = append(b, `,"class_id":`...)
	b = strconv.AppendInt(b, int64(f.Class), 10)
	b = append(b, `,"detection_id":"`...)
	b = append(b, f.id[:]...)
	b = append(b, '"')
	if tracked {
		b = append(b, `,"tracker_id":`...)
		b = strconv.AppendInt(b, int64(f.track), 10)
	}
	return append(b, '}')
}

// image writes a JPEG as output i.
func (d *document) image(i int, jpeg []byte) error {
	size := base64.StdEncoding.EncodedLen(len(jpeg))
	if len(d.buf)+size > maxDocument {
		return fmt.Errorf("the document would have more than %d MiB: ask for fewer or smaller pictures", maxDocument>>20)
	}
	d.key(i)
	d.buf = append(d.buf, `{"type":"base64","value":"`...)
	d.buf = base64.StdEncoding.AppendEncode(d.buf, jpeg)
	d.buf = append(d.buf, `","video_metadata":`...)
	d.buf = append(d.buf, d.meta...)
	d.buf = append(d.buf, '}')
	return nil
}

// failure writes why output i has no value.
func (d *document) failure(i int, err error) {
	d.key(i)
	d.buf = append(d.buf, `{"__serialization_error__":`...)
	d.buf = appendText(d.buf, oneLine(err.Error()))
	d.buf = append(d.buf, '}')
}

// maxLabels bounds the classes that are kept encoded: a model's are fewer.
const maxLabels = 4096

func (d *document) label(s string) []byte {
	if b, ok := d.labels[s]; ok {
		return b
	}
	b := appendText(nil, s)
	if len(d.labels) < maxLabels {
		d.labels[s] = b
	}
	return b
}

func appendNumber(b []byte, v float32) []byte {
	return strconv.AppendFloat(b, float64(v), 'f', -1, 32)
}

// appendText writes a JSON string; what is no UTF-8 in it becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // no string fails
	}
	return append(b, quoted...)
}
