package live

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Media types and paths of WHEP.
const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"

	endpointPath = "/api/v1/cameras/{id}/whep"
	sessionPath  = endpointPath + "/{session}"

	// retryFull is when to try again while the box is full, in seconds.
	retryFull = "5"
)

// Handler serves WHEP (draft-ietf-wish-whep) for every stream, and WHIP (RFC 9725):
//
//	POST    /api/v1/cameras/{id}/whep            offer → 201, answer
//	PATCH   /api/v1/cameras/{id}/whep/{session}  candidates → 204, ICE restart → 200
//	DELETE  /api/v1/cameras/{id}/whep/{session}  → 200
//	POST    /api/v1/whip/{name}                  offer → 201, answer
//	PATCH   /api/v1/whip/{name}/{session}        as above
//	DELETE  /api/v1/whip/{name}/{session}        → 200
//	OPTIONS of all                               → 200
//
// Errors are application/problem+json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(w http.ResponseWriter, r *http.Request) *problem) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.cors(w, r)
			if p := h(w, r); p != nil {
				p.write(w)
			}
		})
	}
	handle("POST "+endpointPath, s.post)
	handle("OPTIONS "+endpointPath, options("POST, OPTIONS", map[string]string{"Accept-Post": typeSDP}))
	handle("PATCH "+sessionPath, s.patch)
	handle("DELETE "+sessionPath, s.delete)
	handle("OPTIONS "+sessionPath, options("PATCH, DELETE, OPTIONS", map[string]string{"Accept-Patch": typeFragment}))
	handle(endpointPath, notAllowed("POST, OPTIONS"))
	handle(sessionPath, notAllowed("PATCH, DELETE, OPTIONS"))
	handle("POST "+publishPath, s.publish)
	handle("OPTIONS "+publishPath, options("POST, OPTIONS", map[string]string{"Accept-Post": typeSDP}))
	handle("PATCH "+publisherPath, s.patchPublisher)
	handle("DELETE "+publisherPath, s.deletePublisher)
	handle("OPTIONS "+publisherPath, options("PATCH, DELETE, OPTIONS", map[string]string{"Accept-Patch": typeFragment}))
	handle(publishPath, notAllowed("POST, OPTIONS"))
	handle(publisherPath, notAllowed("PATCH, DELETE, OPTIONS"))
	return mux
}

// cors lets pages of the configured origins read the answers (FETCH section 3.2).
func (s *Server) cors(w http.ResponseWriter, r *http.Request) {
	if len(s.config.Origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case slices.Contains(s.config.Origins, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	case origin != "" && slices.Contains(s.config.Origins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
	default:
		return
	}
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch, Retry-After")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "POST, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type, If-Match, Authorization")
		h.Set("Access-Control-Max-Age", "86400")
	}
}

func options(allow string, headers map[string]string) func(http.ResponseWriter, *http.Request) *problem {
	return func(w http.ResponseWriter, _ *http.Request) *problem {
		w.Header().Set("Allow", allow)
		for k, v := range headers {
			w.Header().Set(k, v)
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
}

func notAllowed(allow string) func(http.ResponseWriter, *http.Request) *problem {
	return func(w http.ResponseWriter, r *http.Request) *problem {
		w.Header().Set("Allow", allow)
		return &problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed",
			Detail: fmt.Sprintf("%s is not for this URL; it takes %s.", r.Method, allow)}
	}
}

// post answers an offer.
func (s *Server) post(w http.ResponseWriter, r *http.Request) *problem {
	id := r.PathValue("id")
	st := s.stream(id)
	if st == nil {
		return &problem{Status: http.StatusNotFound, Title: "No such camera",
			Detail: fmt.Sprintf("There is no camera %q; /api/v1/cameras lists those there are.", id)}
	}
	body, p := readBody(w, r, typeSDP, maxOffer)
	if p != nil {
		return p
	}
	o, p := parseOffer(body, false)
	if p != nil {
		return p
	}
	if !s.reserve() {
		return &problem{Status: http.StatusServiceUnavailable, Title: "Too many viewers", retry: retryFull,
			Detail: fmt.Sprintf("This box serves %d viewers at a time and has as many. Close a page, or try again in %s s.",
				s.config.MaxViewers, retryFull)}
	}
	ses, answer, err := newSession(s, st, o)
	if err != nil {
		s.free()
		st.log.Warn("offer could not be answered", "error", err)
		return badSDP("the connection could not be set up: %v", err)
	}
	// Headers come first: once admitted, the session can end at any time.
	s.describe(w.Header(), &ses.transport, "/api/v1/cameras/"+url.PathEscape(id)+"/whep/")
	if !s.admit(ses) {
		ses.close()
		s.free()
		clear(w.Header())
		return &problem{Status: http.StatusServiceUnavailable, Title: "Camera is being removed", retry: retryFull}
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer) // a viewer that hung up times out
	return nil
}

// describe sets the headers of an answer.
func (s *Server) describe(h http.Header, t *transport, location string) {
	h.Set("Content-Type", typeSDP)
	h.Set("Location", location+t.id)
	h.Set("ETag", t.etag)
	h.Set("Accept-Patch", typeFragment)
	h.Set("Cache-Control", "no-store")
	links, _ := linkHeaders(s.config.ICEServers) // New has checked them
	for _, l := range links {
		h.Add("Link", l)
	}
}

// patch takes candidates or restarts ICE (section 4.3.1 of the draft).
func (s *Server) patch(w http.ResponseWriter, r *http.Request) *problem {
	ses := s.session(r.PathValue("id"), r.PathValue("session"))
	if ses == nil {
		return noSession()
	}
	return ses.patch(w, r)
}

// patch carries out a PATCH; RFC 9725 section 4.3 has the same words for publishers.
func (t *transport) patch(w http.ResponseWriter, r *http.Request) *problem {
	body, p := readBody(w, r, typeFragment, maxFragment)
	if p != nil {
		return p
	}
	fragment, p := parseFragment(body)
	if p != nil {
		return p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.precondition(r.Header.Values("If-Match")); p != nil {
		return p
	}
	if fragment.ufrag == "" || fragment.ufrag == t.remote.ufrag && fragment.pwd == t.remote.pwd {
		t.trickle(fragment.candidates)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	answer, err := t.restart(fragment)
	if err != nil {
		t.log.Warn("ICE restart failed", "error", err)
		return &problem{Status: http.StatusUnprocessableEntity, Title: "ICE restart failed",
			Detail: "The session goes on with its present ICE parameters. Try again, or DELETE it and POST a new offer."}
	}
	w.Header().Set("Content-Type", typeFragment)
	w.Header().Set("ETag", t.etag)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, answer)
	return nil
}

// precondition checks If-Match (RFC 9110 section 13.1.1, RFC 6585 section 3).
func (t *transport) precondition(values []string) *problem {
	if len(values) == 0 {
		return &problem{Status: http.StatusPreconditionRequired, Title: "If-Match required",
			Detail: "Send If-Match with the ETag of the ICE session, or with * to restart ICE."}
	}
	for v := range strings.SplitSeq(strings.Join(values, ","), ",") {
		// Strong comparison: a weak tag (W/"…") never matches.
		if v = strings.TrimSpace(v); v == "*" || v == t.etag {
			return nil
		}
	}
	return &problem{Status: http.StatusPreconditionFailed, Title: "Another ICE session",
		Detail: "If-Match names an ICE session that is no longer the current one."}
}

// delete ends a session. Entity tags do not matter here.
func (s *Server) delete(w http.ResponseWriter, r *http.Request) *problem {
	ses := s.session(r.PathValue("id"), r.PathValue("session"))
	if ses == nil {
		return noSession()
	}
	s.end(ses, "deleted")
	w.WriteHeader(http.StatusOK)
	return nil
}

func noSession() *problem {
	return &problem{Status: http.StatusNotFound, Title: "No such session",
		Detail: "The session ended, or never was. POST a new offer."}
}

// readBody reads a body of one media type and a bounded size.
func readBody(w http.ResponseWriter, r *http.Request, mediaType string, limit int64) ([]byte, *problem) {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != mediaType {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Title: "Unsupported media type",
			Detail: fmt.Sprintf("The body is %.100q, it has to be %s.", r.Header.Get("Content-Type"), mediaType)}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return body, nil
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, &problem{Status: http.StatusRequestEntityTooLarge, Title: "Body too large",
			Detail: fmt.Sprintf("The body has more than %d bytes.", limit)}
	}
	return nil, &problem{Status: http.StatusBadRequest, Title: "Body not received", Detail: "The request's body could not be read."}
}

// linkHeaders announces STUN and TURN servers (section 4.4 of the draft).
func linkHeaders(servers []ICEServer) ([]string, error) {
	var links []string
	for _, s := range servers {
		for _, u := range s.URLs {
			scheme, _, _ := strings.Cut(u, ":")
			if !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, scheme) || strings.ContainsAny(u, "<>\" \r\n") {
				return nil, fmt.Errorf("ICE server %q: want stun:, stuns:, turn: or turns: and a host", u)
			}
			l := "<" + u + `>; rel="ice-server"`
			if strings.HasPrefix(scheme, "turn") {
				for _, v := range []string{s.Username, s.Credential} {
					if strings.ContainsAny(v, "\"\\\r\n") {
						return nil, fmt.Errorf("ICE server %s: username and credential must not hold quotes, backslashes or line breaks", u)
					}
				}
				l += fmt.Sprintf(`; username="%s"; credential="%s"; credential-type="password"`, s.Username, s.Credential)
			}
			links = append(links, l)
		}
	}
	return links, nil
}
