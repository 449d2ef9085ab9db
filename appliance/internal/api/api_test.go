package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRoutes(t *testing.T) {
	b := start(t, nil, "yard", "gate")
	for _, c := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/api/v1/cameras", 200, `{"cameras":[{"id":"yard","name":"YARD","state":"playing"`},
		{"GET", "/api/v1/cameras/gate", 200, `"ledger":{"decoded":10,"inferred":6,"skipped":2,`},
		{"GET", "/api/v1/cameras/gate", 200, `"balanced":true`},
		{"GET", "/api/v1/cameras/none", 404, "The cameras are: yard, gate."},
		{"GET", "/api/v1/cameras/none/events", 404, "There is no camera"},
		{"GET", "/api/v1/cameras/gate/events?detections=some", 422, "detections"},
		{"POST", "/api/v1/cameras/gate/restart", 202, `"id":"gate"`},
		{"POST", "/api/v1/cameras/none/restart", 404, "There is no camera"},
		{"GET", "/api/v1/cameras/gate/restart", 405, "This address takes POST only."},
		{"GET", "/api/v1/hardware", 200, `"reason":"no /dev/dri"`},
		{"GET", "/api/v1/models", 200, `{"models":[]}`},
		{"GET", "/api/v1/system", 200, `"version":"test"`},
		{"GET", "/api/v1/nothing", 404, "/openapi.json"},
		{"DELETE", "/api/v1/cameras", 405, "This address takes GET only."},
		{"POST", "/api/v1/cameras/gate/whep", 200, "live POST gate  3"},
		{"OPTIONS", "/api/v1/cameras/gate/whep", 200, "live OPTIONS gate"},
		{"PATCH", "/api/v1/cameras/gate/whep/s1", 200, "live PATCH gate s1"},
		{"DELETE", "/api/v1/cameras/gate/whep/s1", 200, "live DELETE gate s1"},
		{"POST", "/api/v1/whip/phone", 200, "live POST   3"},
		{"DELETE", "/api/v1/whip/phone/s1", 200, "live DELETE  s1"},
		{"GET", "/healthz", 200, "alive"},
		{"GET", "/readyz", 200, "ready"},
		{"GET", "/metrics", 200, "metrics"},
		{"GET", "/openapi.json", 200, `"openapi": "3.1.0"`},
		{"GET", "/docs", 200, "page"}, // no such thing: the pages answer
		{"GET", "/", 200, "page"},
		{"GET", "/cameras/yard", 200, "page"},
	} {
		body := ""
		if c.method == "POST" {
			body = "sdp"
		}
		a := b.do(t, c.method, c.path, body)
		if a.StatusCode != c.status || !strings.Contains(a.body, c.has) {
			t.Errorf("%s %s: %d %s\nwant %d with %s", c.method, c.path, a.StatusCode, a.body, c.status, c.has)
		}
		if c.status >= 400 {
			a.detail(t)
		}
		if strings.HasPrefix(c.path, "/api/") && a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s may be cached: %q", c.method, c.path, a.Header.Get("Cache-Control"))
		}
		if !strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s lacks the security headers: %v", c.method, c.path, a.Header)
		}
	}
	if got := fmt.Sprint(b.cameras.restarts); got != "[gate]" {
		t.Errorf("restarted %s, want [gate]", got)
	}
	if a := b.do(t, "DELETE", "/api/v1/cameras/gate", ""); a.Header.Get("Allow") != "GET" {
		t.Errorf("Allow: %q", a.Header.Get("Allow"))
	}
}

func TestErrorsHaveOneMapping(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		detail string
	}{
		{Explain(ErrNotFound, "a"), 404, "a"},
		{fmt.Errorf("b: %w", ErrConflict), 409, "b: conflict"},
		{fmt.Errorf("outer: %w", Explain(ErrUnavailable, "c")), 503, "outer: c"},
		{Explain(ErrInvalid, "d"), 400, "d"},
		{Explain(ErrForbidden, "e"), 403, "e"},
		{Explain(ErrGone, "f"), 410, "f"},
		{&http.MaxBytesError{Limit: 7}, 413, "The request is larger than the 7 bytes that this address takes."},
		{context.Canceled, 503, "context canceled"},
	} {
		b := start(t, func(d *Deps) {
			d.Hardware = func(context.Context) (Hardware, error) { return Hardware{}, c.err }
		})
		a := b.do(t, "GET", "/api/v1/hardware", "")
		if got := a.detail(t); a.StatusCode != c.status || got != c.detail {
			t.Errorf("%v: %d %q, want %d %q", c.err, a.StatusCode, got, c.status, c.detail)
		}
		_ = b.stop()
	}
}

// A fault's text stays on the box: only its id goes out.
func TestFaultsAreLoggedNotTold(t *testing.T) {
	b := start(t, func(d *Deps) {
		d.Hardware = func(context.Context) (Hardware, error) { return Hardware{}, errors.New("secret path") }
		d.Models = func(context.Context) ([]Model, error) { panic("secret panic") }
		d.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic("late panic")
		})
	})
	for path, secret := range map[string]string{"/api/v1/hardware": "secret path", "/api/v1/models": "secret panic"} {
		a := b.do(t, "GET", path, "")
		detail := a.detail(t)
		if a.StatusCode != 500 || strings.Contains(a.body, "secret") {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
		_, id, ok := strings.Cut(strings.TrimSuffix(detail, "."), "under fault ")
		if !ok || !strings.Contains(b.logs.String(), "fault="+id) || !strings.Contains(b.logs.String(), secret) {
			t.Errorf("%s: fault %q and %q are not in the log:\n%s", path, id, secret, b.logs)
		}
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, b.url+"/"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := new(bytes.Buffer).ReadFrom(res.Body); err == nil {
		t.Error("half an answer looked whole")
	}
	if a := b.do(t, "GET", "/healthz", ""); a.body != "alive" {
		t.Errorf("after the panics: %s", a.body)
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBodiesAreBounded(t *testing.T) {
	b := start(t, nil, "yard")
	if a := b.do(t, "POST", "/api/v1/cameras/yard/whep", strings.Repeat("x", bodyLimit)); a.body != fmt.Sprintf("live POST yard  %d", bodyLimit) {
		t.Errorf("a body of the greatest size: %s", a.body)
	}
	if a := b.do(t, "POST", "/api/v1/cameras/yard/whep", strings.Repeat("x", bodyLimit+1)); a.StatusCode != 413 {
		t.Errorf("a larger body: %d", a.StatusCode)
	}
}

// Readers of the lists in the document must never meet null.
func TestListsAreNeverNull(t *testing.T) {
	b := start(t, func(d *Deps) {
		d.Hardware = func(context.Context) (Hardware, error) { return Hardware{}, nil }
		d.Models = func(context.Context) ([]Model, error) { return []Model{{Name: "m"}}, nil }
		d.System = func() System { return System{} }
	}, "yard")
	b.cameras.list[0].Objects = nil
	for _, path := range []string{"/api/v1/cameras", "/api/v1/cameras/yard", "/api/v1/hardware", "/api/v1/models", "/api/v1/system"} {
		if a := b.do(t, "GET", path, ""); a.StatusCode != 200 || strings.Contains(a.body, "null") {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	r := b.read(t, "/api/v1/events")
	if _, data := r.next(); strings.Contains(data, "null") {
		t.Errorf("event %s", data)
	}
	b.cameras.send(Event{Detections: &Detections{Camera: "yard"}})
	if _, data := r.next(); !strings.Contains(data, `"objects":[]`) {
		t.Errorf("event %s", data)
	}
}

func TestNewNeedsEverything(t *testing.T) {
	d := testDeps(newCameras(), &logs{})
	d.Metrics = nil
	if _, err := New(d); err == nil || !strings.Contains(err.Error(), "Deps.Metrics") {
		t.Errorf("without metrics: %v", err)
	}
}

// TestDocument shows changes of the API where they can be reviewed.
func TestDocument(t *testing.T) {
	b := start(t, nil)
	a := b.do(t, "GET", "/openapi.json", "")
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, []byte(a.body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if a.body != string(want) {
		t.Errorf("the API's document changed: go test -update, and review %s", golden)
	}
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{
		"/api/v1/cameras", "/api/v1/cameras/{id}", "/api/v1/cameras/{id}/events", "/api/v1/cameras/{id}/restart", "/api/v1/cameras/{id}/whep", "/api/v1/whip/{name}", "/api/v1/whip/{name}/{session}",
		"/api/v1/uploads", "/api/v1/uploads/{id}", "/api/v1/uploads/{name}", "/api/v1/uploads/events", "/api/v1/tus", "/api/v1/tus/{id}",
		"/api/v1/jobs", "/api/v1/jobs/{id}", "/api/v1/jobs/{id}/cancel", "/api/v1/jobs/{id}/retry", "/api/v1/jobs/{id}/results",
		"/api/v1/jobs/{id}/events", "/api/v1/jobs/{id}/files", "/api/v1/jobs/{id}/files/{name}", "/api/v1/jobs/events",
		"/api/v1/workflows", "/api/v1/workflows/{workspace}/{id}",
		"/api/v1/events", "/api/v1/hardware", "/api/v1/models", "/api/v1/system",
	} {
		if doc.Paths[p] == nil {
			t.Errorf("%s is not documented", p)
		}
	}
}
