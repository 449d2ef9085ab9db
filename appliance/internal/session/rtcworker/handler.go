package rtcworker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"
)

// Endpoint is where clients of the worker protocol ask for a session.
const Endpoint = "/initialise_webrtc_worker"

// Handler serves:
//
//	POST    /initialise_webrtc_worker   JSON → 200, {"status":"success","context","sdp","type":"answer"}
//	OPTIONS /initialise_webrtc_worker   → 204
//
// Refusals are JSON too: {"status":"error","message"} and, where they apply, field,
// expected, available.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Endpoint, s.post)
	const allow = "OPTIONS, POST"
	mux.HandleFunc("OPTIONS "+Endpoint, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		w.Header().Set("Accept-Post", "application/json")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc(Endpoint, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		(&refusal{status: http.StatusMethodNotAllowed, message: "This address takes POST with a JSON body."}).write(w)
	})
	return mux
}

// turnTime is how long a request waits for those that are being answered.
const turnTime = 2 * time.Second

// post answers a request for a session.
func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	turn := time.NewTimer(turnTime)
	defer turn.Stop()
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-r.Context().Done():
		return
	case <-turn.C:
		s.crowd.Dropped(1)
		s.metrics.refuse(w, &refusal{status: http.StatusServiceUnavailable, retry: 1, message: "Too many requests at once; try again in a second."})
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		s.metrics.refuse(w, refusalOf(err))
		return
	}
	if full := s.reserve(); full != nil {
		s.metrics.refuse(w, full)
		return
	}
	admitted := false
	defer func() { // also where an offer makes the WebRTC stack panic
		if !admitted {
			s.free()
		}
	}()
	ses, answer, err := s.open(r.Context(), body)
	if err != nil {
		refused := refusalOf(err)
		if refused.status >= http.StatusInternalServerError {
			s.d.Log.Error("a session could not be opened", "err", err)
		}
		s.metrics.refuse(w, refused)
		return
	}
	if r.Context().Err() != nil { // the client does not wait for the answer any more
		ses.abandon()
		return
	}
	if admitted = s.admit(ses); !admitted {
		ses.abandon()
		s.metrics.refuse(w, &refusal{status: http.StatusServiceUnavailable, retry: 5, message: "The box is going down; try again in a moment."})
		return
	}
	s.metrics.opened(time.Since(began))
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(answer) // a client that hung up does not connect, and is timed out
}

// readBody reads a request's body, and no more of it than may be there.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		// Other types may be sent by any web page in the operator's browser, without
		// the browser asking first (simple requests of the Fetch standard).
		return nil, &refusal{status: http.StatusUnsupportedMediaType, message: "The body has to be application/json.", field: "Content-Type", expected: "application/json"}
	}
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, field: "body",
		message: fmt.Sprintf("The request has more than %d bytes. Store a large workflow on the box and name it.", maxBody), expected: "at most 1 MiB"}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) {
		return nil, tooLarge
	} else if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, field: "body", message: "The request's body did not arrive."}
	}
	return body, nil
}

// answerBody is the answer to a request that was granted.
func answerBody(id, sdp string, notes []string) ([]byte, error) {
	about := map[string]any{"request_id": nil, "pipeline_id": id}
	if len(notes) > 0 {
		about["notes"] = notes
	}
	return json.Marshal(map[string]any{"status": "success", "context": about, "sdp": sdp, "type": "answer"})
}
