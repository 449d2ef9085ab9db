package tus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"
	exp "golang.org/x/exp/slog"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/state"
)

// Path is where the handler stands.
const Path = "/api/v1/tus"

// Deps are what the road leads to. All fields but Check are required.
type Deps struct {
	Log     *slog.Logger
	Uploads *upload.Uploads
	Turns   *intake.Turns // shared with the other HTTP roads
	// Check tells whether these settings can be had on this box; its error is
	// shown to the client. nil: all can.
	Check func(state.Settings) error
}

// Config of the road. Zero values: see each.
type Config struct {
	// MaxSize of a file in bytes, which clients are told; 0: no limit is told.
	MaxSize int64
	// Idle is how long a connection may bring nothing before it is taken for dead; 0: 60 s.
	Idle time.Duration
	// Patience is how long a request waits for another that writes to its upload to end; 0: 15 s.
	Patience time.Duration
	// Verdict is how long the answer to the last byte waits for the file's hash, where
	// the client gave one; 0: 5 s.
	Verdict time.Duration
}

func (c Config) whole() Config {
	or := func(d *time.Duration, usual time.Duration) {
		if *d <= 0 {
			*d = usual
		}
	}
	or(&c.Idle, time.Minute)
	or(&c.Patience, 15*time.Second)
	or(&c.Verdict, 5*time.Second)
	return c
}

// Handler answers under Path.
type Handler struct {
	d    Deps
	c    Config
	tusd http.Handler
}

// New returns the handler. It starts nothing.
func New(d Deps, c Config) (*Handler, error) {
	if d.Log == nil || d.Uploads == nil || d.Turns == nil {
		return nil, errors.New("tus: Deps lack Log, Uploads or Turns")
	}
	h := &Handler{d: d, c: c.whole()}
	s := &store{d: d, verdict: h.c.Verdict}
	composer := handler.NewStoreComposer()
	composer.UseCore(s)
	composer.UseTerminater(s)
	composer.UseLengthDeferrer(s)
	composer.UseLocker(locker{d.Turns})
	tusd, err := handler.NewHandler(handler.Config{
		StoreComposer: composer, MaxSize: c.MaxSize, BasePath: Path + "/",
		EnableExperimentalProtocol: true,
		DisableDownload:            true,
		// The guard in front of all handlers owns the rules for other sites' pages.
		Cors:   &handler.CorsConfig{Disable: true},
		Logger: exp.New(silent{}),
		// Deadlines are intake.Body's, see writer. A store that is asked to
		// hurry after the client went has nothing to gain: what came is being
		// made durable, and reading has ended.
		NetworkTimeout:                   h.c.Idle,
		GracefulRequestCompletionTimeout: time.Millisecond,
		AcquireLockTimeout:               h.c.Patience,
	})
	if err != nil {
		return nil, fmt.Errorf("tus: %w", err)
	}
	h.tusd = http.StripPrefix(Path, tusd)
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.Trim(strings.TrimPrefix(r.URL.Path, Path), "/")
	if r = overridden(r); !allowed(r.Method, id) {
		refuseMethod(w, id)
		return
	}
	req := &request{id: id, draft: slices.Contains(drafts, r.Header.Get("Upload-Draft-Interop-Version"))}
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		req.body = intake.NewBody(w, r, h.c.Idle)
		defer req.body.Release()
		leave, err := h.d.Turns.Enter()
		if err != nil {
			h.d.refuse(w, err)
			return
		}
		defer leave()
		req.length = r.ContentLength
		req.read(r, h.d.Check)
		if req.draft && req.wrong != nil {
			h.d.refuse(w, req.wrong) // tusd takes headers that it cannot read for its own fault
			return
		}
		r.Body = &translated{req.body}
	}
	ctx := context.WithValue(r.Context(), key{}, req)
	h.tusd.ServeHTTP(&writer{ResponseWriter: w, h: h, req: req, method: r.Method}, r.WithContext(ctx))
}

// drafts are the interop versions of the IETF's protocol that tusd speaks.
var drafts = []string{"3", "4", "5", "6"}

// overridden honours X-HTTP-Method-Override, for clients whose network lets POST pass only.
func overridden(r *http.Request) *http.Request {
	as := r.Header.Get("X-HTTP-Method-Override")
	if as == "" || r.Method != http.MethodPost {
		return r
	}
	c := r.Clone(r.Context())
	c.Method = as
	c.Header.Del("X-HTTP-Method-Override")
	return c
}

func allowed(method, id string) bool {
	switch method {
	case http.MethodOptions:
		return true
	case http.MethodPost:
		return id == ""
	case http.MethodHead, http.MethodPatch, http.MethodDelete:
		return id != ""
	}
	return false
}

func refuseMethod(w http.ResponseWriter, id string) {
	allow, hint := "OPTIONS, HEAD, PATCH, DELETE", "GET /api/v1/uploads/"+id+" tells how the upload stands"
	if id == "" {
		allow, hint = "OPTIONS, POST", "POST begins an upload; its Location takes the rest"
	}
	w.Header().Set("Allow", allow)
	http.Error(w, "ERR_METHOD_NOT_ALLOWED: this address takes "+allow+"; "+hint, http.StatusMethodNotAllowed)
}
