package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// Request is what a client of the worker protocol asks for when it opens a session;
// the offer is added by Initialise. Zero values leave their field out.
type Request struct {
	APIKey string `json:"api_key,omitempty"`
	// Config names the STUN and TURN servers that the box shall use.
	Config *ICEConfig `json:"webrtc_config,omitempty"`
	// Workflow is what is to be done with the frames.
	Workflow Workflow `json:"workflow_configuration"`
	// StreamOutput and DataOutput: nil leaves the field out, which differs from an
	// empty list.
	StreamOutput *[]string `json:"stream_output,omitempty"`
	DataOutput   *[]string `json:"data_output,omitempty"`
	Realtime     bool      `json:"webrtc_realtime_processing"`
	// DeclaredFPS is the rate to report where the source declares none.
	DeclaredFPS float64 `json:"declared_fps,omitempty"`
	RTSPURL     string  `json:"rtsp_url,omitempty"`
	MJPEGURL    string  `json:"mjpeg_url,omitempty"`
	// VideoFileUpload says that a file comes over video_upload, for which Initialise
	// makes the channel.
	VideoFileUpload bool `json:"video_file_upload,omitempty"`
	ManualMode      bool `json:"manual_mode,omitempty"`
	// ProcessingTimeout in seconds.
	ProcessingTimeout float64 `json:"processing_timeout,omitempty"`
	// More is added to the request, over fields of the same name: what this type
	// cannot say, an explicit null for one, or a fault on purpose.
	More map[string]any `json:"-"`
}

// ICEConfig names ICE servers.
type ICEConfig struct {
	Servers []ICEServer `json:"iceServers"`
}

// ICEServer is a STUN or TURN server.
type ICEServer struct {
	// URLs is a string or a list of them.
	URLs       any    `json:"urls"`
	Username   string `json:"username,omitempty"`
	Credential string `json:"credential,omitempty"`
}

// Workflow says what is to be done with the frames: Specification, or the names
// under which the box has one.
type Workflow struct {
	ImageInput    string          `json:"image_input_name,omitempty"`
	Parameters    map[string]any  `json:"workflows_parameters,omitempty"`
	Specification json.RawMessage `json:"workflow_specification,omitempty"`
	Workspace     string          `json:"workspace_name,omitempty"`
	ID            string          `json:"workflow_id,omitempty"`
}

// MarshalJSON adds the type that the protocol has here.
func (w Workflow) MarshalJSON() ([]byte, error) {
	type fields Workflow
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{"WorkflowConfiguration", fields(w)})
}

// body is the request with its offer.
func (r Request) body(sdp string) ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	all["webrtc_offer"] = map[string]string{"type": "offer", "sdp": sdp}
	maps.Copy(all, r.More)
	if raw, err = json.Marshal(all); err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	return raw, nil
}

// Names is a list for StreamOutput and DataOutput; without names the empty list.
func Names(names ...string) *[]string {
	if names == nil {
		names = []string{}
	}
	return &names
}

// The outputs of Detection's workflow.
const (
	OutputPredictions = "predictions" // what the model found, tracked
	OutputPicture     = "picture"     // boxes and labels drawn
	OutputFrame       = "frame"       // as it came
)

// Detection is a workflow of one model, a tracker, boxes and labels, with the
// outputs named above. Model is the name of one installed on the box, "motion"
// included.
func Detection(model string) Workflow {
	type step = map[string]any
	spec, err := json.Marshal(map[string]any{
		"version": "1.0",
		"inputs":  []step{{"type": "InferenceImage", "name": "image"}},
		"steps": []step{
			{"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "detect", "images": "$inputs.image", "model_id": model},
			{"type": "roboflow_core/byte_tracker@v3", "name": "track", "image": "$inputs.image", "detections": "$steps.detect.predictions"},
			{"type": "roboflow_core/bounding_box_visualization@v1", "name": "boxes", "image": "$inputs.image", "predictions": "$steps.track.tracked_detections"},
			{"type": "roboflow_core/label_visualization@v1", "name": "labels", "image": "$steps.boxes.image", "predictions": "$steps.track.tracked_detections"},
		},
		"outputs": []step{
			{"type": "JsonField", "name": OutputPredictions, "selector": "$steps.track.tracked_detections"},
			{"type": "JsonField", "name": OutputPicture, "selector": "$steps.labels.image"},
			{"type": "JsonField", "name": OutputFrame, "selector": "$inputs.image"},
		},
	})
	if err != nil {
		spec = nil // maps of strings are always JSON
	}
	return Workflow{ImageInput: "image", Specification: spec}
}

// Refused is the box's answer to a request that it does not serve.
type Refused struct {
	Status     int // of HTTP
	Message    string
	Field      string
	Expected   string
	Available  []string
	RetryAfter string // the header
	Body       []byte // as it came
}

func (e *Refused) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the box refuses the session (%d): %s", e.Status, e.Message)
	if e.Field != "" {
		fmt.Fprintf(&b, " [field %s]", e.Field)
	}
	return b.String()
}

// refused reads an answer that is none.
func refused(status int, retryAfter string, body []byte) *Refused {
	var m struct {
		Message, Field, Expected string
		Available                []string
	}
	if json.Unmarshal(body, &m) != nil || m.Message == "" {
		m.Message = string(body)
	}
	return &Refused{Status: status, Message: m.Message, Field: m.Field, Expected: m.Expected,
		Available: m.Available, RetryAfter: retryAfter, Body: body}
}
