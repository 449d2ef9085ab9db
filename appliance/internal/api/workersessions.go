package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// sessionPath is where clients of the WebRTC worker protocol ask for a session. It has
// no prefix because theirs has none.
const sessionPath = "/initialise_webrtc_worker"

// sessionLimit is the most that such a request may carry: an offer of many candidates
// and a workflow.
const sessionLimit = 1 << 20

// WorkerSessions is what the routes need of the sessions of the WebRTC worker
// protocol. All of it may be called from many goroutines.
type WorkerSessions interface {
	// List returns those that there are, the oldest first.
	List() []WorkerSession
	// End has a session tell its peer that the operator ended it, and take itself
	// down, without waiting for that. Unknown id: ErrNotFound.
	End(id string) error
}

// WorkerSession is one peer's analysis.
type WorkerSession struct {
	ID        string    `json:"id" doc:"The session's id"`
	Source    string    `json:"source" enum:"unknown,track,upload,rtsp,mjpeg" doc:"Where its frames come from; unknown: the client has not begun with either that its offer leaves open"`
	State     string    `json:"state" doc:"connecting, waiting (for the source), running or ending"`
	Reason    string    `json:"reason,omitempty" doc:"Why there are no frames, in one line"`
	Since     time.Time `json:"since"`
	Peer      string    `json:"peer,omitempty" doc:"Where the peer is, once it is connected"`
	Frames    uint64    `json:"frames" doc:"Frames handled"`
	Documents uint64    `json:"documents" doc:"Messages about frames that were sent"`
	LeftOut   uint64    `json:"documents_left_out" doc:"Messages that were not made or sent because the client reads too slowly"`
	Bytes     uint64    `json:"bytes" doc:"Bytes of messages sent"`
	Video     string    `json:"video,omitempty" enum:"h264,vp8" doc:"Codec of the video that it is sent; absent: none"`
	PID       int       `json:"pid,omitempty" doc:"The media worker's process; absent while there is none"`
	Ledger    *Ledger   `json:"ledger,omitempty" doc:"How every frame ended"`
}

type workerSessionList struct {
	Sessions []WorkerSession `json:"sessions" nullable:"false"`
}

type workerSessionID struct {
	ID string `path:"id" maxLength:"64" doc:"The session's id"`
}

func (t *routes) registerWorkerSessions(api huma.API) {
	const tag = "Sessions"
	huma.Register(api, operation("list-sessions", http.MethodGet, "/api/v1/sessions", "WebRTC worker sessions that are open", tag),
		func(context.Context, *struct{}) (*body[workerSessionList], error) {
			list := t.d.Sessions.List()
			if list == nil {
				list = []WorkerSession{}
			}
			return &body[workerSessionList]{workerSessionList{list}}, nil
		})
	end := operation("end-session", http.MethodDelete, "/api/v1/sessions/{id}", "End a session, telling its peer", tag, 404)
	end.DefaultStatus = http.StatusAccepted
	huma.Register(api, end, func(_ context.Context, in *workerSessionID) (*struct{}, error) {
		err := t.d.Sessions.End(in.ID)
		if errors.Is(err, ErrNotFound) {
			return nil, t.p.of(Explain(ErrNotFound, "There is no such session; it may have ended. /api/v1/sessions lists those that are open."))
		}
		return nil, err
	})
	documentSession(api.OpenAPI())
}

// documentSession describes the address that the protocol's own handler answers.
func documentSession(doc *huma.OpenAPI) {
	object := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}
	doc.AddOperation(&huma.Operation{
		OperationID: "open-session", Method: http.MethodPost, Path: sessionPath, Tags: []string{"Sessions"}, Summary: "Open a WebRTC worker session",
		Description: "An offer, a source and a workflow; the answer is the box's SDP. Frames, results and files go over the connection. " +
			"The password may be in the body as api_key, too.",
		RequestBody: &huma.RequestBody{Required: true, Content: object},
		Responses: map[string]*huma.Response{
			"200":     {Description: `{"status":"success","context":{},"sdp":…,"type":"answer"}`, Content: object},
			"default": {Description: `{"status":"error","message","field","expected","available"}: which field is wrong, and what could be there. 503: all sessions are taken; Retry-After`, Content: object},
		},
	})
}

// writeSession answers a request for a session with err, in the form of that protocol.
func (p problems) writeSession(w http.ResponseWriter, err error) {
	m := p.begin(w, err, "application/json")
	// A reader that went away cannot be told anything more.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "message": m.Detail})
}

// A body is read before its sender is known to have the password. What is usual is read
// of everybody; more of a few at a time, for anybody can send a megabyte on each of the
// connections that the box has.
const (
	usualKeyBody = 64 << 10 // an offer of many candidates, and a workflow
	largeBodies  = 8
)

// keyInBody is the api_key of a request for a session, whose body can be read again
// afterwards.
func (g *guard) keyInBody(r *http.Request) (string, error) {
	if r.Method != http.MethodPost || r.URL.Path != sessionPath {
		return "", nil
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, usualKeyBody+1))
	if err == nil && len(text) > usualKeyBody {
		select {
		case g.large <- struct{}{}:
			defer func() { <-g.large }()
		default:
			return "", Explain(ErrUnavailable, "Too many large requests at once: try again in a moment, or send the password as \"Authorization: Bearer PASSWORD\".")
		}
		var rest []byte
		rest, err = io.ReadAll(r.Body)
		text = append(text, rest...)
	}
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return "", err
	} else if err != nil {
		return "", Explain(ErrInvalid, "The request's body did not arrive.")
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	var b struct {
		Key string `json:"api_key"`
	}
	if json.Unmarshal(text, &b) != nil {
		return "", nil // who may not come in is told nothing of what is wrong with it
	}
	return b.Key, nil
}
