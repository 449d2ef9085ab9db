package boxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where the frames of a played session come from, as testdata/aiortc/client.py names it.
const (
	fromCamera = "camera" // the client's own, at their rate
	fromHand   = "byhand" // the client's own, the next after the document of the last
	fromURL    = "url"    // the box pulls
	fromFile   = "file"   // over video_upload
)

// scenario is what a client does in a session; client.py explains the fields. Both
// clients play the same plans.
type scenario struct {
	Source  string            `json:"-"`
	Request map[string]any    `json:"request"`
	Headers map[string]string `json:"headers,omitempty"`
	Frames  int               `json:"frames,omitempty"`
	FPS     int               `json:"fps,omitempty"`
	Codec   string            `json:"codec,omitempty"`
	// Receive and Label are always written: their absence means something else.
	Receive bool     `json:"receive"`
	Label   string   `json:"label"`
	File    string   `json:"file,omitempty"`
	Upload  *sending `json:"upload,omitempty"`
	Acks    string   `json:"acks,omitempty"`
	Hold    *hold    `json:"hold,omitempty"`
	Say     []string `json:"say,omitempty"`
	Changes []change `json:"changes,omitempty"`
	Stop    *stop    `json:"stop,omitempty"`
	Within  float64  `json:"within"`
}

type sending struct {
	Shuffle bool   `json:"shuffle,omitempty"`
	Repeat  bool   `json:"repeat,omitempty"`
	Pings   int    `json:"pings,omitempty"`
	Fault   string `json:"fault,omitempty"`
	Until   int    `json:"until,omitempty"`
}

type hold struct {
	After   uint32  `json:"after"`
	Seconds float64 `json:"seconds"`
	Ack     uint32  `json:"ack,omitempty"`
}

type change struct {
	After uint32 `json:"after"`
	Say   any    `json:"say"`
}

type stop struct {
	Documents int     `json:"documents,omitempty"`
	Pictures  int     `json:"pictures,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"`
	How       string  `json:"how,omitempty"`
}

// facts are what a client saw.
type facts struct {
	Documents  []document `json:"documents"`
	Pictures   []picture  `json:"pictures"`
	Refused    *refusal   `json:"refused"`
	AnsweredIn float64    `json:"answered_in"` // seconds
	Answer     map[string]any
	Codecs     []string  `json:"codecs"` // of the answer
	EndedBy    string    `json:"ended_by"`
	EndedAt    float64   `json:"ended_at"`
	ClosedAt   *float64  `json:"closed_by_box"`
	Reached    []uint32  `json:"reached"` // last id when a hold ended
	Uploaded   int       `json:"uploaded"`
	Echoes     [][2]any  `json:"echoes"`
	Faults     []string  `json:"faults"` // of the box against the protocol
	Incomplete []uint32  `json:"incomplete"`
	TrackEnded bool      `json:"track_ended"`
	Took       float64   `json:"took"`
	Killed     time.Time `json:"-"` // the client vanished
}

type refusal struct {
	Status     int      `json:"status"`
	RetryAfter *string  `json:"retry_after"`
	Message    string   `json:"message"`
	Field      string   `json:"field"`
	Expected   string   `json:"expected"`
	Available  []string `json:"available"`
}

// document is one message; its pictures are replaced by what can be seen in them.
type document struct {
	ID       uint32                     `json:"id"`
	At       float64                    `json:"at"`
	Gzipped  bool                       `json:"gzipped"`
	Outputs  map[string]json.RawMessage `json:"serialized_output_data"`
	Metadata *metadata                  `json:"video_metadata"`
	Errors   []string                   `json:"errors"`
	Complete bool                       `json:"processing_complete"`
	Reason   *string                    `json:"termination_reason"`
}

type metadata struct {
	FrameID     uint32   `json:"frame_id"`
	ReceivedAt  string   `json:"received_at"`
	PTS         int64    `json:"pts"`
	TimeBase    float64  `json:"time_base"`
	DeclaredFPS *float64 `json:"declared_fps"`
	MeasuredFPS *float64 `json:"measured_fps"`
	Width       int      `json:"width"`
	Height      int      `json:"height"`
}

// picture is what both clients note of a frame of the video track, or of a JPEG.
type picture struct {
	PTS    int64   `json:"pts"`
	At     float64 `json:"at"`
	Width  int     `json:"width"`
	Height int     `json:"height"`
	// Coloured counts pixels with a colour, in quarters; Left and Right are the
	// block's, 0, 0: there is none.
	Coloured int `json:"coloured"`
	Left     int `json:"left"`
	Right    int `json:"right"`
}

// imageValue is an image output in a document of facts.
type imageValue struct {
	Picture  *picture  `json:"picture"`
	Bytes    int       `json:"bytes"`
	Metadata *metadata `json:"video_metadata"`
}

type predictions struct {
	Image       struct{ Width, Height int }
	Predictions []prediction
}

type prediction struct {
	X, Y, Width, Height float64
	Confidence          float64
	Class               string
	ClassID             *int    `json:"class_id"`
	DetectionID         string  `json:"detection_id"`
	TrackerID           *uint64 `json:"tracker_id"`
}

func (d document) predictions(t *testing.T, name string) predictions {
	t.Helper()
	var p predictions
	if err := json.Unmarshal(d.Outputs[name], &p); err != nil {
		t.Errorf("frame %d: output %s is %.200s: %v", d.ID, name, d.Outputs[name], err)
	}
	return p
}

func (d document) image(t *testing.T, name string) imageValue {
	t.Helper()
	var v imageValue
	if err := json.Unmarshal(d.Outputs[name], &v); err != nil || v.Picture == nil {
		t.Fatalf("frame %d: output %s is no picture: %.200s: %v", d.ID, name, d.Outputs[name], err)
	}
	return v
}

// frames are the documents that belong to frames.
func (f facts) frames() []document {
	return slices.DeleteFunc(slices.Clone(f.Documents), func(d document) bool { return d.ID == 0 || d.Complete })
}

// notices are those that belong to none, the last message left out.
func (f facts) notices() []document {
	return slices.DeleteFunc(slices.Clone(f.Documents), func(d document) bool { return d.ID != 0 || d.Complete })
}

// python finds Debian's Python with aiortc. Another one in PATH has other libraries.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("WATCHPOST_PYTHON")
	if path == "" {
		path = "/usr/bin/python3"
	}
	if out, err := exec.CommandContext(t.Context(), path, "-c", "import aiortc, av, numpy").CombinedOutput(); err != nil {
		t.Skipf("%s has no aiortc: scripts/setup --dev installs python3-aiortc: %v: %s", path, err, lastLine(string(out)))
	}
	return path
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// pythonCommand runs a program of testdata/aiortc. It is killed when ctx ends.
func pythonCommand(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, python(t), args...)
	cmd.Dir = filepath.Join("testdata", "aiortc")
	// No bytecode beside the sources; without a locale it would print ASCII only.
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1")
	return cmd
}

// TestClientOfAiortc checks the client's own byte handling before any box is asked.
func TestClientOfAiortc(t *testing.T) {
	out, err := pythonCommand(t.Context(), t, "wire_test.py").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// playAiortc plays a plan with the client that is written on aiortc.
func playAiortc(t *testing.T, b *Box, p scenario) facts {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(p.Within*float64(time.Second))+60*time.Second)
	defer cancel()
	cmd := pythonCommand(ctx, t, "client.py", p.Source, b.URL, "-")
	cmd.Stdin = bytes.NewReader(text)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var f facts
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && p.Stop != nil && p.Stop.How == "vanish" {
		f.Killed, err = time.Now(), nil
	}
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &f)
	}
	if err != nil {
		t.Fatalf("the aiortc client: %v: %.2000s\n%s", err, stdout.String(), stderr.String())
	}
	if s := strings.TrimSpace(stderr.String()); s != "" {
		t.Logf("the aiortc client says: %.2000s", s)
	}
	return f
}

// jpegClip is the film of clip, as JPEGs.
func jpegClip(t *testing.T, w, h int) Clip {
	t.Helper()
	c := Clip{FPS: clipFPS}
	pic := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for _, plane := range [][]byte{pic.Cb, pic.Cr} {
		for i := range plane {
			plane[i] = 128
		}
	}
	for n := range clipFrames {
		x0, y0, x1, y1 := block(w, h, n)
		for y := range h {
			for x := range w {
				pic.Y[y*pic.YStride+x] = groundLuma
				if x >= x0 && x < x1 && y >= y0 && y < y1 {
					pic.Y[y*pic.YStride+x] = blockLuma
				}
			}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, pic, nil); err != nil {
			t.Fatal(err)
		}
		c.Units = append(c.Units, b.Bytes())
	}
	return c
}

// mjpegCamera starts an MJPEG camera that ends with the test.
func mjpegCamera(t *testing.T, c Clip, conf MJPEGConfig) *MJPEGCamera {
	t.Helper()
	m, err := NewMJPEGCamera(c, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close the MJPEG camera: %v", err)
		}
	})
	return m
}

// film writes the clip as a file: H.264 as it comes from an encoder, which knows no
// times of its own.
func film(t *testing.T, w, h int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.h264")
	if err := os.WriteFile(path, bytes.Join(clip(t, w, h).Units, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The outputs of workflowOf.
const (
	outRaw     = "raw"     // the frame as it came
	outFound   = "found"   // what the model found
	outTracked = "tracked" // the same, with ids
	outBoxed   = "boxed"   // boxes drawn
	outNamed   = "named"   // boxes and labels drawn
)

// workflowOf is a workflow as clients write it, with every step that a box runs.
func workflowOf(model string) map[string]any {
	type object = map[string]any
	field := func(name, selector string) object {
		return object{"type": "JsonField", "name": name, "selector": selector}
	}
	return object{
		"type": "WorkflowConfiguration", "image_input_name": "image",
		"workflows_parameters": object{"confidence": 0.3},
		"workflow_specification": object{
			"version": "1.0",
			"inputs": []object{
				{"type": "InferenceImage", "name": "image"},
				{"type": "WorkflowParameter", "name": "confidence", "default_value": 0.4},
			},
			"steps": []object{
				{"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model", "images": "$inputs.image",
					"model_id": model, "confidence": "$inputs.confidence"},
				{"type": "roboflow_core/byte_tracker@v3", "name": "tracker", "image": "$inputs.image", "detections": "$steps.model.predictions"},
				{"type": "roboflow_core/bounding_box_visualization@v1", "name": "boxes", "image": "$inputs.image", "predictions": "$steps.model.predictions"},
				{"type": "roboflow_core/label_visualization@v1", "name": "labels", "image": "$steps.boxes.image", "predictions": "$steps.model.predictions"},
			},
			"outputs": []object{
				field(outFound, "$steps.model.predictions"), field(outTracked, "$steps.tracker.tracked_detections"),
				field(outNamed, "$steps.labels.image"), field(outBoxed, "$steps.boxes.image"), field(outRaw, "$inputs.image"),
			},
		},
	}
}

// ask is a request's fields with that workflow; over are fields that replace or
// join them, nil ones becoming null.
func ask(model string, over map[string]any) map[string]any {
	r := map[string]any{"workflow_configuration": workflowOf(model), "webrtc_realtime_processing": false}
	for k, v := range over {
		r[k] = v
	}
	return r
}
