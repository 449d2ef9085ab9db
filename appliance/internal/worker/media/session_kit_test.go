package media

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/jpeg"
	"io"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// message is a document as a client reads it. Unknown fields fail.
type message struct {
	Data     map[string]json.RawMessage `json:"serialized_output_data"`
	Meta     metadata                   `json:"video_metadata"`
	Errors   []string                   `json:"errors"`
	Complete bool                       `json:"processing_complete"`
	Reason   *string                    `json:"termination_reason"`
}

type metadata struct {
	Frame    uint64  `json:"frame_id"`
	Received string  `json:"received_at"`
	PTS      uint64  `json:"pts"`
	TimeBase float64 `json:"time_base"`
	Declared float64 `json:"declared_fps"`
	Measured float64 `json:"measured_fps"`
	Width    int     `json:"width"`
	Height   int     `json:"height"`
}

type predictionsValue struct {
	Image struct {
		Width  int `json:"width"`
		Height int `json:"height"`
	} `json:"image"`
	Predictions []prediction `json:"predictions"`
}

type prediction struct {
	X          float64 `json:"x"`
	Y          float64 `json:"y"`
	Width      float64 `json:"width"`
	Height     float64 `json:"height"`
	Confidence float64 `json:"confidence"`
	Class      string  `json:"class"`
	ClassID    int     `json:"class_id"`
	Detection  string  `json:"detection_id"`
	Tracker    *int    `json:"tracker_id"`
}

type imageValue struct {
	Type  string   `json:"type"`
	Value string   `json:"value"`
	Meta  metadata `json:"video_metadata"`
}

// read1 reads JSON strictly.
func read1[T any](t testing.TB, b []byte) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %.300s", err, b)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("there is more behind %.300s", b)
	}
	return v
}

// documents reads all results, which are numbered as they came.
func (s *session) documents() []message {
	s.t.Helper()
	s.mu.Lock()
	list := append([]link.Result(nil), s.results...)
	s.mu.Unlock()
	return readAll(s.t, list)
}

// readAll reads results, whose heads say the same as they do.
func readAll(t testing.TB, list []link.Result) (out []message) {
	t.Helper()
	for _, r := range list {
		data := r.Data
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		m := read1[message](t, data)
		if m.Meta.Frame != r.Frame || stampOf(r.PTS) != m.Meta.PTS || m.Complete || m.Reason != nil || m.Errors == nil {
			t.Fatalf("result %d at %v holds %.400s", r.Frame, r.PTS, data)
		}
		if at, err := time.Parse("2006-01-02T15:04:05.000000-07:00", m.Meta.Received); err != nil || time.Since(at) > 10*time.Minute || time.Since(at) < 0 {
			t.Fatalf("received at %q: %v", m.Meta.Received, err)
		}
		if d := m.Meta.TimeBase*90000 - 1; d > 1e-9 || d < -1e-9 {
			t.Fatalf("time base %v", m.Meta.TimeBase)
		}
		out = append(out, m)
	}
	return out
}

// stampOf is the tick of a time as one would calculate it who cuts off.
func stampOf(d time.Duration) uint64 { return uint64(d) * 9 / 100000 }

func (m *message) predictions(t *testing.T, name string) predictionsValue {
	t.Helper()
	raw, ok := m.Data[name]
	if !ok {
		t.Fatalf("frame %d has no %q: errors %q", m.Meta.Frame, name, m.Errors)
	}
	return read1[predictionsValue](t, raw)
}

func (m *message) image(t *testing.T, name string) image.Image {
	t.Helper()
	raw, ok := m.Data[name]
	if !ok {
		t.Fatalf("frame %d has no %q: errors %q", m.Meta.Frame, name, m.Errors)
	}
	v := read1[imageValue](t, raw)
	b, err := base64.StdEncoding.DecodeString(v.Value)
	if v.Type != "base64" || v.Meta != m.Meta || err != nil {
		t.Fatalf("frame %d: %q is of type %q with %+v: %v", m.Meta.Frame, name, v.Type, v.Meta, err)
	}
	pic, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("frame %d: %q: %v", m.Meta.Frame, name, err)
	}
	return pic
}

// The outputs of most tests.
var (
	outFound   = link.Output{Name: "found", Of: link.Detected}
	outTracked = link.Output{Name: "tracked", Of: link.Tracked}
	outPlain   = link.Output{Name: "plain"}
	outDrawn   = link.Output{Name: "drawn", Layers: []link.Layer{
		{Draw: link.LayerBoxes, Of: link.Detected}, {Draw: link.LayerLabels, Of: link.Detected, Text: "class"},
	}}
)

// unlimited is more credit than any test uses.
const unlimited = 1 << 40

// sessionStart is a session with all of a file that does not wait for acks.
func sessionStart(t *testing.T, name string) link.Start {
	t.Helper()
	return link.Start{Mode: "session", Source: link.Source{URL: acceltest.Media(t, name)}, Threads: 1, Session: &link.Session{
		Outputs: []link.Output{outFound, outTracked, outPlain, outDrawn},
		Tracker: &link.Tracker{}, Select: link.Select{All: true}, Credit: link.Credit{Through: unlimited},
	}}
}

// finish waits for the good end of a session and checks its ledger.
func (s *session) finish(limit time.Duration) link.Ledger {
	s.t.Helper()
	if err := s.wait(limit); err != nil || s.done == nil || s.fault != nil {
		s.t.Fatalf("%v, done %v, fault %v", err, s.done, s.fault)
	}
	balanced(s.t, s.done.Ledger)
	for _, b := range s.beats {
		if !b.Ledger.Balanced() {
			s.t.Errorf("a beat does not balance: %+v", b.Ledger)
		}
	}
	return s.done.Ledger
}

// times are those of a file's frames as the engine reads them.
func times(t *testing.T, path string) (all []time.Duration) {
	t.Helper()
	err := engine.Read(t.Context(), plan.Source{URL: path, Threads: 1}, engine.Handlers{
		Frame: func(f *engine.Frame) { all = append(all, f.PTS); f.Release() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
