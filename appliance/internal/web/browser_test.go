package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// stage plays the box for the pages: events that the test sends, and a WHEP
// address that refuses. Live pictures are tested where the real box is put together.
type stage struct {
	url    string
	events chan string
	down   atomic.Bool
	note   atomic.Value // what the box says was out of the ordinary, a string
	mux    *http.ServeMux
}

func newStage(t *testing.T) *stage {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{events: make(chan string, 16)}
	mux := http.NewServeMux()
	s.mux = mux
	s.note.Store("")
	mux.Handle("/", p.Handler())
	started := time.Now()
	mux.HandleFunc("GET /api/v1/system", func(w http.ResponseWriter, r *http.Request) {
		notes := []string{}
		if n := s.note.Load().(string); n != "" {
			notes = append(notes, n)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"started": started, "notes": notes, "loops": []any{}, "queues": []any{
			map[string]any{"name": "detections to readers", "policy": "drop-oldest", "instances": 2, "depth": 3, "capacity": 128, "fullest": 0.5, "dropped": 1234},
		}})
	})
	stream := func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"detail":"Too many pages are open."}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case e := <-s.events:
				if e == "cut" {
					return
				}
				fmt.Fprint(w, e)
				_ = http.NewResponseController(w).Flush()
			}
		}
	}
	mux.HandleFunc("GET /api/v1/events", stream)
	mux.HandleFunc("GET /api/v1/cameras/{id}/events", stream)
	mux.HandleFunc("GET /api/v1/cameras/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "yard" {
			io.WriteString(w, "{}")
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"detail":"The cameras are: yard."}`)
	})
	mux.HandleFunc("POST /api/v1/cameras/{id}/whep", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/problem+json")
		if !strings.Contains(string(b), "a=recvonly") || r.Header.Get("Content-Type") != "application/sdp" {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"detail":"This is no offer to receive video."}`)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"detail":"All places are taken."}`)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As strict as the real front door about scripts and styles.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:; require-trusted-types-for 'script'")
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	s.url = server.URL
	return s
}

func (s *stage) camera(t *testing.T, state, reason string) {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"id": "yard", "name": `Yard <script>`, "state": state, "reason": reason, "since": time.Now(), "viewers": 1,
		"rates":    map[string]any{"source_fps": 30, "analysed_fps": 10, "analyse_ms": 5, "encode_ms": 3},
		"restarts": map[string]any{"count": 2, "stderr": []string{"first line", "last line"}},
		"ledger":   map[string]any{"decoded": 1234, "inferred": 1200, "skipped_no_motion": 34, "balanced": true},
		"objects":  []map[string]any{{"id": 7, "label": "person", "score": 0.5}, {"id": 9, "label": "person", "score": 0.25}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.events <- fmt.Sprintf("event: camera\ndata: %s\n\n", b)
}

// browser starts Chromium; what its pages throw or refuse fails the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the pages were not tried in a browser")
	}
	o := append([]chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.Headless},
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), o...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("end the browser: %v", err)
		}
		cancel()
	})
	chromedp.ListenTarget(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page threw: %v", e.ExceptionDetails)
		}
	})
	return ctx
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// sees waits until the script gives a text that contains want.
func sees(t *testing.T, ctx context.Context, script, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		run(t, ctx, chromedp.Evaluate(`String(`+script+`)`, &got))
		if strings.Contains(got, want) {
			return
		}
	}
	t.Fatalf("%s is %q, want %q", script, got, want)
}

const (
	state  = `document.querySelector('[data-testid=player]')?.dataset.state`
	reason = `document.querySelector('[data-testid=player]')?.dataset.reason`
	words  = `document.querySelector('[data-testid=player-reason]')?.textContent`
	link   = `document.querySelector('#link').textContent`
)

func TestPagesInBrowser(t *testing.T) {
	s := newStage(t)
	ctx := browser(t)

	run(t, ctx, chromedp.Navigate(s.url+"/"))
	sees(t, ctx, link, "Connected to the box")
	sees(t, ctx, `document.querySelector('main').textContent`, "No camera is configured yet")
	s.camera(t, "offline", "the camera refused the sign-in: check user and password")
	sees(t, ctx, state, "no-picture")
	sees(t, ctx, reason, ": the camera refused the sign-in: check user and password")
	sees(t, ctx, words, "Offline since ")
	sees(t, ctx, `document.querySelector('.tile h2').textContent`, "Yard <script>")
	sees(t, ctx, `document.querySelector('.seen').textContent === ''`, "true")
	s.camera(t, "playing", "")
	sees(t, ctx, reason, "All places are taken: retrying in ")
	sees(t, ctx, state, "reconnecting")
	sees(t, ctx, `document.querySelector('.seen').textContent`, "2 person")

	// Keyboard: the camera's name is a link, and opens its page without a reload.
	run(t, ctx, chromedp.Evaluate(`window.sameDocument = true; document.querySelector('.tile a').focus(); document.activeElement.click()`, nil))
	sees(t, ctx, `location.pathname + window.sameDocument`, "/cameras/yardtrue")
	sees(t, ctx, link, "Connected to the box")
	s.camera(t, "failing", "")
	sees(t, ctx, reason, "The worker keeps crashing since ")
	sees(t, ctx, reason, "last line")
	sees(t, ctx, `document.querySelector('[data-ledger=decoded]').textContent`, "1,234")
	sees(t, ctx, `document.querySelector('[data-testid=balance]').textContent`, "✓ Balanced")
	sees(t, ctx, `document.querySelector('.stderr').textContent`, "first line\nlast line")
	s.camera(t, "playing", "")
	sees(t, ctx, `document.querySelector('.objects').textContent`, "#7person50 %#9person25 %")

	// The box goes away, refuses, and comes back.
	s.down.Store(true)
	s.events <- "cut"
	sees(t, ctx, link, "Your browser lost the box: retrying in ")
	sees(t, ctx, link, "Too many pages are open: retrying in ")
	s.down.Store(false)
	sees(t, ctx, link, "Connected to the box")

	run(t, ctx, chromedp.Evaluate(`history.back()`, nil))
	sees(t, ctx, `location.pathname + document.title`, "/Cameras · Watchpost")
}
