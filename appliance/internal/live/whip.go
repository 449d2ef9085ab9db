package live

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Paths of WHIP (RFC 9725).
const (
	publishPath   = "/api/v1/whip/{name}"
	publisherPath = publishPath + "/{session}"
)

// publish answers a publisher's offer (RFC 9725 section 4.2).
func (s *Server) publish(w http.ResponseWriter, r *http.Request) *problem {
	name := r.PathValue("name")
	if s.deps.Open == nil {
		return &problem{Status: http.StatusNotFound, Title: "Nothing is taken", Detail: "Nothing can be published to this box."}
	}
	body, p := readBody(w, r, typeSDP, maxOffer)
	if p != nil {
		return p
	}
	o, p := parseOffer(body, true)
	if p != nil {
		return p
	}
	if !s.displace(name) {
		return taken(fmt.Sprintf("Somebody publishes as %.64q already.", name))
	}
	pub, answer, err := newPublisher(s, name, o)
	if err != nil {
		return refusal(err)
	}
	// Headers come first: once admitted, the session can end at any time.
	s.describe(w.Header(), &pub.transport, "/api/v1/whip/"+url.PathEscape(name)+"/")
	if !s.admitPublisher(pub) {
		pub.close()
		clear(w.Header())
		return taken(fmt.Sprintf("Somebody else has just begun to publish as %.64q.", name))
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer) // a publisher that hung up times out
	return nil
}

func taken(why string) *problem {
	return &problem{Status: http.StatusConflict, Title: "The name is taken", retry: retryFull,
		Detail: why + " Take another name, or try again in " + retryFull + " s: a publisher that is gone makes room within seconds."}
}

// refusal says why a publisher is not taken in.
func refusal(err error) *problem {
	switch {
	case errors.Is(err, ErrTaken):
		return &problem{Status: http.StatusConflict, Title: "The name is taken", Detail: err.Error()}
	case errors.Is(err, ErrManyPublishers):
		return &problem{Status: http.StatusServiceUnavailable, Title: "Too many publishers", retry: retryFull, Detail: err.Error()}
	case errors.Is(err, ErrName):
		return &problem{Status: http.StatusBadRequest, Title: "No name of a camera", Detail: err.Error()}
	case errors.Is(err, ErrClosed):
		return &problem{Status: http.StatusServiceUnavailable, Title: "The box is not ready", retry: retryFull, Detail: "The box starts, or goes down. Try again in " + retryFull + " s."}
	}
	return badSDP("the connection could not be set up: %v", err)
}

// patchPublisher takes candidates or restarts ICE (RFC 9725 section 4.3).
func (s *Server) patchPublisher(w http.ResponseWriter, r *http.Request) *problem {
	p := s.publisher(r.PathValue("name"), r.PathValue("session"))
	if p == nil {
		return noSession()
	}
	return p.patch(w, r)
}

// deletePublisher ends a session (RFC 9725 section 4.2).
func (s *Server) deletePublisher(w http.ResponseWriter, r *http.Request) *problem {
	p := s.publisher(r.PathValue("name"), r.PathValue("session"))
	if p == nil {
		return noSession()
	}
	s.endPublisher(p, "deleted")
	w.WriteHeader(http.StatusOK)
	return nil
}
