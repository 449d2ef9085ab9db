package rtcworker

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// maxBody is the most bytes of a request: an offer of many candidates and a workflow.
	maxBody = 1 << 20
	// maxNames and maxName bound what is asked of outputs.
	maxNames = link.MaxOutputs
	maxName  = 256
	// maxServers is how many ICE servers one session may have us ask.
	maxServers = 8
	// maxURL is the longest URL of a source.
	maxURL = 4096
	// maxFPS is the highest rate that is believed.
	maxFPS = 1000
)

// request is what a client asks for, checked as far as that needs neither the box's
// models nor its connections.
type request struct {
	sdp           string
	servers       []ICEServer
	configuration Configuration
	stream        *[]string // nil: the first picture
	data          []string
	realtime      bool
	declaredFPS   float64
	source        string        // SourceRTSP, SourceMJPEG, or SourceUnknown
	url           string        // of such a source; it may hold credentials
	byUpload      bool          // the client says that it is going to send a file,
	byHand        bool          // or single frames
	timeout       time.Duration // from being connected; 0: none
}

// wire is the request's JSON. Fields that are not named here are ignored; each of these
// is decoded by itself, so that a refusal can name it.
type wire struct {
	Offer       json.RawMessage `json:"webrtc_offer"`
	Config      json.RawMessage `json:"webrtc_config"`
	Turn        json.RawMessage `json:"webrtc_turn_config"`
	Workflow    json.RawMessage `json:"workflow_configuration"`
	Stream      json.RawMessage `json:"stream_output"`
	Data        json.RawMessage `json:"data_output"`
	Realtime    json.RawMessage `json:"webrtc_realtime_processing"`
	DeclaredFPS json.RawMessage `json:"declared_fps"`
	RTSP        json.RawMessage `json:"rtsp_url"`
	MJPEG       json.RawMessage `json:"mjpeg_url"`
	Upload      json.RawMessage `json:"video_file_upload"`
	Manual      json.RawMessage `json:"manual_mode"`
	Timeout     json.RawMessage `json:"processing_timeout"`
}

// absent tells whether a field is not there, or null, which is the same.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

// field decodes a field, if it is there.
func field[T any](raw json.RawMessage, name, expected string, into *T) error {
	if absent(raw) {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return wrong(name, expected, "%s is expected, and %s was sent", expected, kindOf(raw))
	}
	return nil
}

// kindOf names what a JSON value is.
func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

// decode reads a request's body.
func decode(body []byte) (*request, error) {
	var w wire
	if err := json.Unmarshal(body, &w); err != nil {
		message := "The body is not JSON: " + printable(err.Error())
		if syntax := (*json.SyntaxError)(nil); !errors.As(err, &syntax) {
			message = "The body has to be a JSON object"
		}
		return nil, wrong("body", "a JSON object", "%s", message)
	}
	r := &request{realtime: true, source: SourceUnknown}
	var offer struct {
		Type string `json:"type"`
		SDP  string `json:"sdp"`
	}
	if err := field(w.Offer, "webrtc_offer", `an object {"type":"offer","sdp":…}`, &offer); err != nil {
		return nil, err
	}
	if offer.SDP == "" {
		return nil, wrong("webrtc_offer", `an object {"type":"offer","sdp":…}`, "the client's offer is missing")
	}
	if offer.Type != "" && !strings.EqualFold(offer.Type, "offer") {
		return nil, wrong("webrtc_offer.type", `"offer"`, "%q is no offer", printable(offer.Type))
	}
	r.sdp = offer.SDP
	for _, err := range []error{
		r.decodeServers(w.Config, w.Turn),
		r.decodeWorkflow(w.Workflow),
		r.decodeOutputs(w.Stream, w.Data),
		field(w.Realtime, "webrtc_realtime_processing", "a boolean", &r.realtime),
		field(w.Upload, "video_file_upload", "a boolean", &r.byUpload),
		field(w.Manual, "manual_mode", "a boolean", &r.byHand),
		r.decodeNumbers(w.DeclaredFPS, w.Timeout),
		r.decodeSource(w.RTSP, w.MJPEG),
	} {
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *request) decodeNumbers(fps, timeout json.RawMessage) error {
	if err := field(fps, "declared_fps", "a number of frames a second", &r.declaredFPS); err != nil {
		return err
	}
	if !(r.declaredFPS >= 0 && r.declaredFPS <= maxFPS) {
		return wrong("declared_fps", "0 to 1000", "%v frames a second cannot be", r.declaredFPS)
	}
	if absent(timeout) {
		return nil
	}
	var seconds float64
	if err := field(timeout, "processing_timeout", "a number of seconds", &seconds); err != nil {
		return err
	}
	if !(seconds > 0) {
		return wrong("processing_timeout", "a number of seconds above 0, or null for none", "%v seconds cannot be", seconds)
	}
	// Longer than any session lives is as good as none.
	if seconds < (365 * 24 * time.Hour).Seconds() {
		r.timeout = max(time.Duration(math.Ceil(seconds*1e3))*time.Millisecond, time.Millisecond)
	}
	return nil
}

func (r *request) decodeOutputs(stream, data json.RawMessage) error {
	names, present, err := outputNames("stream_output", stream)
	if err != nil {
		return err
	}
	if present {
		r.stream = &names
	}
	r.data, _, err = outputNames("data_output", data)
	return err
}

// outputNames reads a list of names. A list of nothing but nulls is no list: older
// clients write "not told" that way.
func outputNames(name string, raw json.RawMessage) (names []string, present bool, err error) {
	const expected = "a list of output names, or null"
	if absent(raw) {
		return nil, false, nil
	}
	var list []*string
	if err := field(raw, name, expected, &list); err != nil {
		return nil, false, err
	}
	if len(list) > maxNames {
		return nil, false, wrong(name, expected, "%d names, the most is %d", len(list), maxNames)
	}
	names = []string{}
	for _, n := range list {
		switch {
		case n == nil:
		case *n == "" || len(*n) > maxName:
			return nil, false, wrong(name, expected, "a name has 1 to %d bytes", maxName)
		default:
			names = append(names, *n)
		}
	}
	return names, len(names) > 0 || len(list) == 0, nil
}

func (r *request) decodeWorkflow(raw json.RawMessage) error {
	const name = "workflow_configuration"
	const expected = `an object with workflow_specification, or with workspace_name and workflow_id`
	if absent(raw) {
		return wrong(name, expected, "what to do with the frames is missing")
	}
	var w struct {
		Type          json.RawMessage `json:"type"`
		Input         json.RawMessage `json:"image_input_name"`
		Parameters    json.RawMessage `json:"workflows_parameters"`
		Specification json.RawMessage `json:"workflow_specification"`
		Workspace     json.RawMessage `json:"workspace_name"`
		ID            json.RawMessage `json:"workflow_id"`
	}
	if err := field(raw, name, expected, &w); err != nil {
		return err
	}
	kind := "WorkflowConfiguration"
	c := &r.configuration
	for _, err := range []error{
		field(w.Type, name+".type", "a string", &kind),
		field(w.Input, name+".image_input_name", "a string", &c.ImageInput),
		field(w.Parameters, name+".workflows_parameters", "an object", &c.Parameters),
		field(w.Workspace, name+".workspace_name", "a string", &c.Workspace),
		field(w.ID, name+".workflow_id", "a string", &c.Workflow),
	} {
		if err != nil {
			return err
		}
	}
	if kind != "WorkflowConfiguration" {
		return wrong(name+".type", `"WorkflowConfiguration"`, "%q is not known", printable(kind))
	}
	switch {
	case !absent(w.Specification) && c.Workflow != "":
		return wrong(name, expected, "both a workflow_specification and a workflow_id are there; leave one out")
	case !absent(w.Specification):
		c.Workspace = ""
		c.Request = workflow.Request{Specification: w.Specification, ImageInput: c.ImageInput, Parameters: c.Parameters}
	case c.Workflow == "":
		return wrong(name, expected, "neither a workflow_specification nor a workflow_id is there")
	case c.Workspace == "":
		return wrong(name+".workspace_name", "a string", "a workflow_id needs the workspace_name under which it is stored on the box")
	}
	return nil
}

func (r *request) decodeSource(rtsp, mjpeg json.RawMessage) error {
	var urls [2]string
	if err := field(rtsp, "rtsp_url", "a string", &urls[0]); err != nil {
		return err
	}
	if err := field(mjpeg, "mjpeg_url", "a string", &urls[1]); err != nil {
		return err
	}
	switch {
	case urls[0] != "" && urls[1] != "":
		return wrong("mjpeg_url", "one source", "there is an rtsp_url too; a session has one source")
	case urls[0] != "":
		r.source, r.url = SourceRTSP, urls[0]
		return checkURL("rtsp_url", urls[0], "rtsp", "rtsps")
	case urls[1] != "":
		r.source, r.url = SourceMJPEG, urls[1]
		return checkURL("mjpeg_url", urls[1], "http", "https")
	}
	return nil
}

// checkURL refuses what is no URL of these schemes. Its error does not quote it: there
// may be a password in it.
func checkURL(name, text string, schemes ...string) error {
	expected := schemes[0] + "://… or " + schemes[1] + "://…"
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL {
		return wrong(name, expected, "it is no URL")
	}
	for _, s := range schemes {
		if strings.EqualFold(u.Scheme, s) {
			if u.Host == "" {
				return wrong(name, expected, "the URL names no host")
			}
			return nil
		}
	}
	return wrong(name, expected, "a URL of %s is expected", expected)
}
