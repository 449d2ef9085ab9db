package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Cameras is what the routes need of the cameras. All of it may be called from
// many goroutines.
type Cameras interface {
	// List returns every camera in the configured order.
	List() []Camera
	// Restart ends the camera's worker and has a new one started, without
	// waiting for the new one. Unknown id: ErrNotFound; while the box shuts
	// down: ErrUnavailable.
	Restart(ctx context.Context, id string) error
	// Watch has deliver called with every later Event of every camera, until
	// stop. deliver returns at once; it may be called after stop.
	Watch(deliver func(Event)) (stop func())
}

// Deps are what the front door leads to. All fields but Password and
// AlwaysAsk are required.
type Deps struct {
	Version  string
	Log      *slog.Logger
	Cameras  Cameras
	Uploads  Uploads
	Jobs     Jobs
	Hardware func(context.Context) (Hardware, error)
	Models   func(context.Context) ([]Model, error)
	System   func() System
	Traces   Traces

	// Live answers WHEP and WHIP. It is asked for /api/v1/cameras/{id}/whep and
	// /api/v1/cameras/{id}/whep/{session}, /api/v1/whip/{name} and
	// /api/v1/whip/{name}/{session}, with the path values set.
	Live http.Handler
	// Tus and Bodies take files: Tus under /api/v1/tus, Bodies by POST and PUT
	// under /api/v1/uploads. They bound the bodies and the time themselves.
	Tus, Bodies http.Handler
	// Channel answers offers of data channels under /api/v1/channel.
	Channel http.Handler

	// Session answers the WebRTC worker protocol at /initialise_webrtc_worker.
	Session  http.Handler
	Sessions WorkerSessions
	// Workflows are those that sessions may name.
	Workflows Workflows

	Web     http.Handler // the pages: all paths that are not named here
	SignIn  SignInPage
	Metrics http.Handler
	Healthz http.Handler
	Readyz  http.Handler

	// Queues of the box; nil: those of its readers are not metered.
	Queues *queue.Registry

	// Password lets people in from elsewhere; "": nobody.
	Password string
	// AlwaysAsk asks for the password on the loopback address too; for boxes
	// behind a proxy on the same machine.
	AlwaysAsk bool
}

func (d Deps) check() error {
	for name, missing := range map[string]bool{
		"Log": d.Log == nil, "Cameras": d.Cameras == nil, "Uploads": d.Uploads == nil, "Jobs": d.Jobs == nil, "Hardware": d.Hardware == nil, "Models": d.Models == nil,
		"System": d.System == nil, "Traces": d.Traces == nil, "Live": d.Live == nil, "Tus": d.Tus == nil, "Bodies": d.Bodies == nil, "Channel": d.Channel == nil, "Session": d.Session == nil, "Sessions": d.Sessions == nil, "Workflows": d.Workflows == nil, "Web": d.Web == nil, "SignIn": d.SignIn == nil,
		"Metrics": d.Metrics == nil, "Healthz": d.Healthz == nil, "Readyz": d.Readyz == nil,
	} {
		if missing {
			return errors.New("api: Deps." + name + " is missing")
		}
	}
	return nil
}

// New returns the whole front door, guarded. It starts nothing.
func New(d Deps) (http.Handler, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	p := problems{d.Log}
	g := newGuard(d.Password, d.AlwaysAsk, p)
	mux := http.NewServeMux()

	document := newRoutes(d, p).register(mux)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document) // the reader went away
	})
	mux.Handle("/api/v1/cameras/{id}/whep", d.Live)
	mux.Handle("/api/v1/cameras/{id}/whep/{session}", d.Live)
	mux.Handle("/api/v1/whip/{name}", d.Live)
	mux.Handle("/api/v1/whip/{name}/{session}", d.Live)
	mountRoads(mux, d.Tus, d.Bodies)
	mux.Handle("/api/v1/channel", d.Channel)
	mux.Handle("/api/v1/channel/{session}", d.Channel)
	mux.Handle(sessionPath, d.Session)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { p.unknown(mux, w, r) })
	mux.Handle("GET /metrics", d.Metrics)
	mux.Handle("GET /healthz", d.Healthz)
	mux.Handle("GET /readyz", d.Readyz)
	mux.Handle("/sign-in", g.signIn(d.SignIn))
	mux.HandleFunc("POST /sign-out", g.signOut)
	mux.Handle("/", d.Web)
	return harden(recovering(p, g.wrap(mux))), nil
}

// unknown answers for a path under /api/ that does not exist, or not with this method.
func (p problems) unknown(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := mux.Handler(&http.Request{Method: m, URL: r.URL, Host: r.Host}); pattern != "/api/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		p.write(w, Explain(ErrNotFound, "There is nothing at this address. All addresses are in /openapi.json."))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	p.write(w, huma.NewError(http.StatusMethodNotAllowed, "This address takes "+strings.Join(allowed, ", ")+" only."))
}

// newDocument returns the settings of the OpenAPI document. The page that huma
// would serve for it loads scripts from elsewhere, and a box is often offline.
func newDocument() huma.Config {
	c := huma.DefaultConfig("Watchpost", "1")
	c.Info.Description = "A camera analytics box. Sign in with `Authorization: Bearer PASSWORD`, or with the cookie of the sign-in page; " +
		"on the box's own loopback address no sign-in is asked. Errors are RFC 9457 problems, and their detail says what to do."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // no $schema links in the answers
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "The box's password"},
		"basic":  {Type: "http", Scheme: "basic", Description: "Any user name, and the box's password"},
		"cookie": {Type: "apiKey", In: "cookie", Name: cookieName, Description: "Set by the sign-in page, for 30 days"},
	}
	c.Security = []map[string][]string{{"bearer": {}}, {"basic": {}}, {"cookie": {}}}
	return c
}

func newHuma(mux *http.ServeMux) huma.API { return humago.New(mux, newDocument()) }
