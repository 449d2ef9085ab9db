package plain

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/state"
)

// Path is where the handler stands.
const Path = "/api/v1/uploads"

// Deps are what the road leads to. All fields but Check are required.
type Deps struct {
	Log     *slog.Logger
	Uploads *upload.Uploads
	Turns   *intake.Turns // shared with the other HTTP roads
	// View is how an upload is shown in answers, as JSON.
	View func(upload.Info) any
	// Check tells whether these settings can be had on this box; its error is
	// shown to the client. nil: all can.
	Check func(state.Settings) error
}

// Config of the road. Zero values: see each.
type Config struct {
	// Idle is how long a connection may bring nothing before it is taken for dead; 0: 60 s.
	Idle time.Duration
	// Patience is how long a request waits for another that writes to its upload to end; 0: 15 s.
	Patience time.Duration
}

// Handler answers PUT and POST under Path.
type Handler struct {
	d Deps
	c Config
}

// New returns the handler. It starts nothing.
func New(d Deps, c Config) (*Handler, error) {
	if d.Log == nil || d.Uploads == nil || d.Turns == nil || d.View == nil {
		return nil, errors.New("plain: Deps lack Log, Uploads, Turns or View")
	}
	if c.Idle <= 0 {
		c.Idle = time.Minute
	}
	if c.Patience <= 0 {
		c.Patience = 15 * time.Second
	}
	return &Handler{d, c}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := intake.NewBody(w, r, h.c.Idle)
	defer body.Release()
	q, err := h.read(r)
	if err != nil {
		h.refuse(w, err, nil)
		return
	}
	status := http.StatusOK // it was all there, and nothing was taken
	if !q.there() {
		status = http.StatusCreated
		if err = h.receive(r, q, body); err != nil {
			h.refuse(w, err, q.now(h.d.Uploads))
			return
		}
	}
	// Who leaves now, or a box that goes down, loses nothing: the file is stored,
	// and is checked without anybody waiting.
	i, err := h.settle(r.Context(), q)
	switch {
	case err != nil && r.Context().Err() != nil && i.ID != "":
		h.answer(w, http.StatusAccepted, i)
	case err != nil:
		h.refuse(w, err, &i)
	case i.Status == state.UploadReceiving:
		h.answer(w, http.StatusAccepted, i)
	default:
		h.answer(w, status, i)
	}
}

// answer shows the upload.
func (h *Handler) answer(w http.ResponseWriter, status int, i upload.Info) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", Path+"/"+i.ID)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h.d.View(i)) // a client that went away asks again
}

// problem is an RFC 9457 problem, with the upload that it is about.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Upload any    `json:"upload,omitempty"`
}

// refuse tells what is wrong, and what is kept of the upload if there is one.
func (h *Handler) refuse(w http.ResponseWriter, err error, i *upload.Info) {
	a := intake.AnswerTo(err)
	p := problem{Title: a.Title, Status: a.Status, Detail: err.Error()}
	if a.Fault {
		h.d.Log.Error("upload failed", "road", "plain", "err", err)
		p.Detail = "The box could not store the file: its log says why. What is in \"received\" is kept."
	}
	a.SetRetry(w.Header())
	if i != nil && i.ID != "" {
		p.Upload = h.d.View(*i)
		w.Header().Set("Location", Path+"/"+i.ID)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(a.Status)
	_ = json.NewEncoder(w).Encode(p) // as above
}

// settle waits for the verdict on an upload that has all its bytes.
func (h *Handler) settle(ctx context.Context, q *request) (upload.Info, error) {
	i, err := h.d.Uploads.Get(q.id)
	if err != nil || i.Status == state.UploadReceiving {
		return i, err
	}
	if i, err = intake.Settle(ctx, h.d.Uploads, q.id); err != nil {
		return i, err
	}
	return i, q.verdict(i)
}
