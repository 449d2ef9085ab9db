package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

type workerSessions struct{ ended []string }

func (s *workerSessions) List() []WorkerSession {
	return []WorkerSession{{ID: "s1", Source: "rtsp", State: "running", Since: time.Unix(0, 0).UTC(), Frames: 7}}
}

func (s *workerSessions) End(id string) error {
	if id != "s1" {
		return ErrNotFound
	}
	s.ended = append(s.ended, id)
	return nil
}

func TestWorkerSessions(t *testing.T) {
	all := &workerSessions{}
	b := start(t, func(d *Deps) { d.Sessions = all })
	ask := func(method, path string) (int, string) {
		a := b.do(t, method, path, "")
		return a.StatusCode, a.body
	}
	code, text := ask("GET", "/api/v1/sessions")
	var list workerSessionList
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != 200 || len(list.Sessions) != 1 || list.Sessions[0].Frames != 7 {
		t.Errorf("%d %s", code, text)
	}
	if code, text := ask("DELETE", "/api/v1/sessions/s1"); code != 202 || !slices.Equal(all.ended, []string{"s1"}) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := ask("DELETE", "/api/v1/sessions/s2"); code != 404 || !strings.Contains(text, "no such session") {
		t.Errorf("%d %s", code, text)
	}
}

// A client of the worker protocol may have the password in the body, and its handler
// reads the whole body nevertheless. Nobody else gets in with a body.
func TestKeyInBody(t *testing.T) {
	var got string
	b := start(t, func(d *Deps) {
		d.Session = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
			got = string(b)
		})
	})
	good := `{"webrtc_offer":{"type":"offer"},"api_key":"` + testPassword + `","x":"` + strings.Repeat("y", 600<<10) + `"}`
	for _, c := range []struct {
		name, path, body string
		head             []string
		want             int
	}{
		{"right", sessionPath, good, nil, 200},
		{"right, from another site's page", sessionPath, good, []string{"Origin", "http://other"}, 200},
		{"wrong", sessionPath, `{"api_key":"no"}`, nil, 401},
		{"none", sessionPath, `{"x":1}`, nil, 401},
		{"null", sessionPath, `{"api_key":null}`, nil, 401},
		{"not JSON", sessionPath, `api_key`, nil, 401},
		{"another kind", sessionPath, `{"api_key":{"a":1}}`, nil, 401},
		{"another address", "/api/v1/jobs", good, nil, 401},
		{"too large", sessionPath, `{"x":"` + strings.Repeat("y", 10<<20) + `"}`, nil, 413},
		{"wrong bearer, right key", sessionPath, good, []string{"Authorization", "Bearer no"}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			got = ""
			a := b.do(t, "POST", c.path, c.body, slices.Concat([]string{"Host", "watchpost.lan", "Content-Type", "application/json"}, c.head)...)
			if a.StatusCode != c.want {
				t.Fatalf("%d, want %d: %.200s", a.StatusCode, c.want, a.body)
			}
			if c.want != 200 && c.path == sessionPath {
				var m struct{ Status, Message string }
				if err := json.Unmarshal([]byte(a.body), &m); err != nil || m.Status != "error" || m.Message == "" {
					t.Errorf("its clients cannot read %s: %v", a.body, err)
				}
			}
			if c.want == 200 && got != c.body {
				t.Errorf("the handler reads %d of %d bytes", len(got), len(c.body))
			}
		})
	}
}

// Whoever has no password keeps little of the box's memory with bodies, however many
// connections it opens, and nobody with a usual request waits for that.
func TestBodiesOfStrangers(t *testing.T) {
	g := newGuard(testPassword, false, problems{slog.New(slog.DiscardHandler)})
	post := func(body io.Reader) (string, error) {
		return g.keyInBody(httptest.NewRequest("POST", sessionPath, body))
	}
	good := `{"api_key":"` + testPassword + `"}`
	large := strings.Repeat(" ", 2*usualKeyBody) + good
	var strangers sync.WaitGroup
	var holds []*io.PipeWriter
	for range largeBodies {
		body, hold := io.Pipe()
		holds = append(holds, hold)
		strangers.Go(func() {
			if _, err := post(body); !errors.Is(err, ErrInvalid) {
				t.Errorf("a body that breaks off: %v, which is a fault of nobody here", err)
			}
		})
		// Once the last byte is taken, it has its place: the usual ones went without.
		if _, err := hold.Write(bytes.Repeat([]byte(" "), usualKeyBody+2)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := post(strings.NewReader(large)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one too many: %v", err)
	}
	if key, err := post(strings.NewReader(good)); key != testPassword || err != nil {
		t.Errorf("a usual request meanwhile: %q, %v", key, err)
	}
	for _, hold := range holds {
		hold.CloseWithError(io.ErrUnexpectedEOF)
	}
	strangers.Wait()
	if key, err := post(strings.NewReader(large)); key != testPassword || err != nil {
		t.Errorf("a large request when they are gone: %q, %v", key, err)
	}
}
