package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// routes are the typed addresses under /api/v1.
type routes struct {
	d    Deps
	p    problems
	feed *feed
	// readers are the places of those who wait for a job's results.
	readers     chan struct{}
	readersFull *queue.Meter
}

func newRoutes(d Deps, p problems) *routes {
	for name, policy := range map[string]queue.Policy{
		cameraStates: queue.Latest, cameraFinds: queue.DropOldest, uploadNews: queue.Latest, jobNews: queue.Latest,
	} {
		d.Queues.Declare(name, policy)
	}
	t := &routes{d: d, p: p, feed: newFeed(d.Cameras, d.Queues), readers: make(chan struct{}, resultReaders)}
	t.readersFull = d.Queues.Register("readers of results", queue.Refuse, resultReaders, func() int { return len(t.readers) })
	return t
}

type body[T any] struct{ Body T }

type cameraID struct {
	ID string `path:"id" maxLength:"64" doc:"The camera's id" example:"yard"`
}

type eventsInput struct {
	Detections string `query:"detections" enum:"every,latest,none" default:"latest" doc:"every: each frame's, as far as the reader keeps up; latest: the newest, at most five times a second; none: states only"`
}

type cameraEventsInput struct {
	// Not embedded: huma leaves unexported embedded fields out.
	ID         string `path:"id" maxLength:"64" doc:"The camera's id" example:"yard"`
	Detections string `query:"detections" enum:"every,latest,none" default:"every" doc:"every: each frame's, as far as the reader keeps up; latest: the newest, at most five times a second; none: states only"`
}

type cameraList struct {
	Cameras []Camera `json:"cameras" nullable:"false"`
}

type modelList struct {
	Models []Model `json:"models" nullable:"false"`
}

// register puts the routes on mux and returns the OpenAPI document.
func (t *routes) register(mux *http.ServeMux) []byte {
	api := newHuma(mux)
	const tag = "Cameras"
	huma.Register(api, operation("list-cameras", http.MethodGet, "/api/v1/cameras", "All cameras", tag), t.list)
	huma.Register(api, operation("get-camera", http.MethodGet, "/api/v1/cameras/{id}", "One camera", tag, 404), t.get)
	restart := operation("restart-camera", http.MethodPost, "/api/v1/cameras/{id}/restart", "Start the camera's worker anew", tag, 404, 503)
	restart.DefaultStatus = http.StatusAccepted
	huma.Register(api, restart, t.restart)
	huma.Register(api, streaming(api, operation("camera-events", http.MethodGet, "/api/v1/cameras/{id}/events", "What happens to one camera", tag, 404, 503)), t.events)
	huma.Register(api, streaming(api, operation("events", http.MethodGet, "/api/v1/events", "What happens to all cameras, in one stream", tag, 503)), t.allEvents)
	huma.Register(api, operation("get-hardware", http.MethodGet, "/api/v1/hardware", "What this box has, each part proven by running it", "Box"), t.hardware)
	huma.Register(api, operation("list-models", http.MethodGet, "/api/v1/models", "Installed models", "Box"), t.models)
	huma.Register(api, operation("get-system", http.MethodGet, "/api/v1/system", "Version, memory, and how late the control loops ran", "Box"), t.system)
	documentWHEP(api.OpenAPI())
	t.registerUploads(api)
	t.registerJobs(api)
	t.registerWorkerSessions(api)
	t.registerWorkflows(api)
	t.registerTraces(api)

	var out bytes.Buffer
	raw, err := json.Marshal(api.OpenAPI())
	if err == nil {
		err = json.Indent(&out, raw, "", "  ")
	}
	if err != nil {
		// The document is made of constants, so a test would have met this.
		t.d.Log.Error("the OpenAPI document could not be written", "err", err)
		return []byte("{}")
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func operation(id, method, path, summary, tag string, errors ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}, Errors: append(errors, 401)}
}

func (t *routes) list(context.Context, *struct{}) (*body[cameraList], error) {
	return &body[cameraList]{cameraList{each(t.d.Cameras.List(), Camera.whole)}}, nil
}

func (t *routes) get(_ context.Context, in *cameraID) (*body[Camera], error) {
	c, err := t.camera(in.ID)
	if err != nil {
		return nil, err
	}
	return &body[Camera]{c}, nil
}

func (t *routes) camera(id string) (Camera, error) {
	all := t.d.Cameras.List()
	i := slices.IndexFunc(all, func(c Camera) bool { return c.ID == id })
	if i >= 0 {
		return all[i].whole(), nil
	}
	ids := make([]string, len(all))
	for i, c := range all {
		ids[i] = c.ID
	}
	message := "There is no camera with this id: none is configured."
	if len(ids) > 0 {
		message = "There is no camera with this id. The cameras are: " + strings.Join(ids, ", ") + "."
	}
	return Camera{}, t.p.of(Explain(ErrNotFound, message))
}

func (t *routes) restart(ctx context.Context, in *cameraID) (*body[Camera], error) {
	if _, err := t.camera(in.ID); err != nil {
		return nil, err
	}
	if err := t.d.Cameras.Restart(ctx, in.ID); err != nil {
		return nil, t.p.of(err)
	}
	return t.get(ctx, in)
}

func (t *routes) hardware(ctx context.Context, _ *struct{}) (*body[Hardware], error) {
	h, err := t.d.Hardware(ctx)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[Hardware]{h.whole()}, nil
}

func (t *routes) models(ctx context.Context, _ *struct{}) (*body[modelList], error) {
	m, err := t.d.Models(ctx)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[modelList]{modelList{each(m, Model.whole)}}, nil
}

func (t *routes) system(context.Context, *struct{}) (*body[System], error) {
	return &body[System]{t.d.System().whole()}, nil
}

func (t *routes) events(_ context.Context, in *cameraEventsInput) (*huma.StreamResponse, error) {
	if _, err := t.camera(in.ID); err != nil {
		return nil, err
	}
	return t.stream(in.ID, in.Detections)
}

func (t *routes) allEvents(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	return t.stream("", in.Detections)
}

func (t *routes) stream(only, detect string) (*huma.StreamResponse, error) {
	release, err := t.feed.reserve()
	if err != nil {
		return nil, t.p.of(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer release()
		_, w := humago.Unwrap(ctx)
		t.feed.serve(ctx.Context(), w, only, detect)
	}}, nil
}

// streaming documents an event stream.
func streaming(api huma.API, op huma.Operation) huma.Operation {
	schemas := api.OpenAPI().Components.Schemas
	schemas.Schema(reflect.TypeFor[Camera](), true, "Camera")
	schemas.Schema(reflect.TypeFor[Detections](), true, "Detections")
	op.Description = "Server-sent events. `camera`: a Camera, first of all the present state, then whenever it changes or its figures are renewed. " +
		"`detections`: Detections. `alive`: after ten seconds without another event. A slow reader misses events, never delays the box, and is told how many detections it missed. " +
		"The stream ends after an hour or when the box shuts down: connect again."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Events until the reader leaves",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	return op
}

// documentWHEP describes the addresses that another handler answers.
func documentWHEP(doc *huma.OpenAPI) {
	text := &huma.Schema{Type: huma.TypeString}
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: text}
	session := &huma.Param{Name: "session", In: "path", Required: true, Schema: text}
	sdp := map[string]*huma.MediaType{"application/sdp": {Schema: text}}
	add := func(method, path, id, summary string, params []*huma.Param, request map[string]*huma.MediaType, status, means string, answer map[string]*huma.MediaType) {
		op := &huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Live"}, Parameters: params,
			Responses: map[string]*huma.Response{status: {Description: means, Content: answer}}}
		if request != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: request}
		}
		doc.AddOperation(op)
	}
	const path = "/api/v1/cameras/{id}/whep"
	add(http.MethodPost, path, "whep-watch", "Watch a camera over WebRTC (WHEP)", []*huma.Param{id}, sdp,
		"201", "The answer; Location names the session, ETag its ICE generation", sdp)
	add(http.MethodPatch, path+"/{session}", "whep-trickle", "Add ICE candidates or restart ICE", []*huma.Param{id, session},
		map[string]*huma.MediaType{"application/trickle-ice-sdpfrag": {Schema: text}}, "204", "Taken", nil)
	const whip = "/api/v1/whip/{name}"
	name := &huma.Param{Name: "name", In: "path", Required: true, Schema: text, Description: "A camera whose source is whip:, or a name that no camera has: then it is a camera as long as it is published"}
	add(http.MethodPost, whip, "whip-publish", "Publish H.264 or VP8 to a camera over WebRTC (WHIP, RFC 9725)", []*huma.Param{name}, sdp,
		"201", "The answer; Location names the session, ETag its ICE generation. Else 409: somebody publishes under that name, or it is another camera's; 503: too many publish", sdp)
	add(http.MethodPatch, whip+"/{session}", "whip-trickle", "Add ICE candidates or restart ICE", []*huma.Param{name, session},
		map[string]*huma.MediaType{"application/trickle-ice-sdpfrag": {Schema: text}}, "204", "Taken", nil)
	add(http.MethodDelete, whip+"/{session}", "whip-end", "Stop publishing", []*huma.Param{name, session}, nil, "200", "Ended", nil)
	const channel = "/api/v1/channel"
	add(http.MethodPost, channel, "channel-open", "Open data channels: video_upload (files in) and results (a job's log out)", nil, sdp,
		"201", "The answer; Location names the session", sdp)
	add(http.MethodDelete, channel+"/{session}", "channel-close", "Close the data channels", []*huma.Param{session}, nil, "200", "Ended", nil)
	add(http.MethodDelete, path+"/{session}", "whep-leave", "Stop watching", []*huma.Param{id, session}, nil, "200", "Ended", nil)
}
