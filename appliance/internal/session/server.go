package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"sync"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// The addresses of package session.
const (
	Endpoint    = "/api/v1/channel"
	SessionPath = Endpoint + "/{session}"
)

// Bounds of the offers.
const (
	maxOffer    = 64 << 10 // bytes
	maxSections = 16
)

// Deps are what sessions are made of.
type Deps struct {
	Log *slog.Logger
	// Peers makes the connections; it is not closed here.
	Peers *peer.Factory
	// Services by the label of the channel.
	Services map[string]Service
	// Registerer of the metrics; nil: none.
	Registerer prometheus.Registerer
	// Queues of the box; nil: those of the channels are not metered.
	Queues *queue.Registry
}

// Server keeps the sessions.
type Server struct {
	d    Deps
	most int
	work sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	slots    int
	sessions map[string]*session
}

// New returns a server for at most so many sessions at once.
func New(d Deps, most int) (*Server, error) {
	if d.Log == nil || d.Peers == nil || most < 1 {
		return nil, errors.New("session: a log, a factory of peers and room for sessions are needed")
	}
	d.Queues.Declare(OutBytes, queue.Block)
	s := &Server{d: d, most: most, sessions: map[string]*session{}}
	if d.Registerer != nil {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "watchpost_channel_sessions", Help: "Peers connected over data channels.",
		}, func() float64 { return float64(s.Sessions()) })
		if err := d.Registerer.Register(gauge); err != nil {
			return nil, fmt.Errorf("session: register metrics: %w", err)
		}
	}
	return s, nil
}

// Sessions is how many there are.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Run returns when ctx has ended and every session with it.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Close()
	return nil
}

// Close ends all sessions and waits for them; new ones are refused.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	left := make([]*session, 0, len(s.sessions))
	for _, ses := range s.sessions {
		left = append(left, ses)
	}
	s.mu.Unlock()
	for _, ses := range left {
		s.end(ses, "the box goes down")
	}
	s.work.Wait()
}

// Handler serves:
//
//	POST   /api/v1/channel            offer → 201, answer
//	DELETE /api/v1/channel/{session}  → 200
//
// Errors are application/problem+json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Endpoint, s.post)
	mux.HandleFunc("DELETE "+SessionPath, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		ses := s.sessions[r.PathValue("session")]
		s.mu.Unlock()
		if ses == nil {
			refuse(w, http.StatusNotFound, "No such session", "The session ended, or never was. POST a new offer to "+Endpoint+".")
			return
		}
		s.end(ses, "deleted")
		w.WriteHeader(http.StatusOK)
	})
	notAllowed := func(allow string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			refuse(w, http.StatusMethodNotAllowed, "Method not allowed", "This address takes "+allow+" only.")
		}
	}
	mux.HandleFunc(Endpoint, notAllowed(http.MethodPost))
	mux.HandleFunc(SessionPath, notAllowed(http.MethodDelete))
	return mux
}

// post answers an offer.
func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	const typeSDP = "application/sdp"
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != typeSDP {
		refuse(w, http.StatusUnsupportedMediaType, "Unsupported media type", "The body has to be "+typeSDP+".")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOffer))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, "Body too large", fmt.Sprintf("An offer has at most %d bytes.", maxOffer))
		return
	} else if err != nil {
		refuse(w, http.StatusBadRequest, "Body not received", "The request's body could not be read.")
		return
	}
	if err := checkOffer(body); err != nil {
		refuse(w, http.StatusBadRequest, "The SDP offer cannot be used", "The SDP offer cannot be used: "+err.Error()+".")
		return
	}
	if !s.reserve() {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "Too many sessions", fmt.Sprintf("This box serves %d sessions at a time and has as many. Try again later.", s.most))
		return
	}
	ses, answer, err := s.open(string(body), s.end)
	if err != nil {
		s.free()
		s.d.Log.Warn("an offer could not be answered", "err", err)
		refuse(w, http.StatusBadRequest, "The SDP offer cannot be used", "The connection could not be set up: "+printable(err.Error())+".")
		return
	}
	if !s.admit(ses) {
		ses.close("the box goes down")
		s.free()
		refuse(w, http.StatusServiceUnavailable, "Going down", "The box is going down; try again.")
		return
	}
	h := w.Header()
	h.Set("Content-Type", typeSDP)
	h.Set("Location", Endpoint+"/"+ses.id)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer) // a peer that hung up times out
	ses.log.Info("session opened")
	switch ses.pc.ConnectionState() { // it may have come to its end before it was known
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		s.end(ses, "connection lost")
	}
}

// checkOffer tells whether an SDP is one that data channels can come of.
func checkOffer(body []byte) error {
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return fmt.Errorf("it does not parse: %s", printable(err.Error()))
	}
	if n := len(d.MediaDescriptions); n == 0 || n > maxSections {
		return fmt.Errorf("it has %d media sections, 1 to %d can be served", n, maxSections)
	}
	for _, m := range d.MediaDescriptions {
		if m.MediaName.Media == "application" {
			return nil
		}
	}
	return errors.New("it has no section for data channels; create a channel before the offer")
}

func (s *Server) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.slots >= s.most {
		return false
	}
	s.slots++
	return true
}

func (s *Server) free() {
	s.mu.Lock()
	s.slots--
	s.mu.Unlock()
}

func (s *Server) admit(ses *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[ses.id] = ses
	return true
}

// end closes a session, once, on a goroutine of its own: it is called from the
// connection's callbacks too, which must not wait for themselves.
func (s *Server) end(ses *session, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[ses.id] != ses {
		return
	}
	delete(s.sessions, ses.id)
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		ses.close(reason)
		s.free()
		ses.log.Info("session ended", "reason", reason)
	}()
}

// refuse answers with an RFC 9457 problem.
func refuse(w http.ResponseWriter, status int, title, detail string) {
	body, err := json.Marshal(map[string]any{"status": status, "title": title, "detail": detail})
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer may be gone
}
