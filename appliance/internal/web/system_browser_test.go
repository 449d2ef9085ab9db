package web

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The box's own page tells of its queues, and hands out what the stall meter left.
func TestSystemPageInBrowser(t *testing.T) {
	s := newStage(t)
	for path, text := range map[string]string{
		"/api/v1/hardware": `{"decoders":[],"encoders":[],"accelerators":[],"cameras":[],"sandbox":{"missing":[]}}`,
		"/api/v1/models":   `{"models":[]}`,
	} {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	s.mux.HandleFunc("GET /api/v1/sessions", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"sessions":[]}`) })
	const name = "stall-20260102T030405.678-camera_yard.trace"
	var stalled atomic.Bool
	s.mux.HandleFunc("GET /api/v1/traces", func(w http.ResponseWriter, _ *http.Request) {
		traces := []map[string]any{}
		if stalled.Load() {
			traces = append(traces, map[string]any{"name": name, "kind": "trace", "loop": "camera_<i>yard", "taken": "2026-01-02T03:04:05.678Z", "bytes": 4321})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"traces": traces})
	})
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.url+"/system"))
	const page = `document.querySelector('[data-testid=system]')?.textContent`
	sees(t, ctx, page, "detections to readers (2)the oldest is dropped312850 %1,234")
	sees(t, ctx, `document.querySelector('[data-testid=traces]').childElementCount`, "0")
	stalled.Store(true)
	const traces = `document.querySelector('[data-testid=traces]')?.textContent`
	sees(t, ctx, traces, "camera_<i>yardexecution trace (go tool trace)")
	const link = `document.querySelector('[data-testid=traces] a')`
	sees(t, ctx, link+`.getAttribute('href')`, "/api/v1/traces/"+name)
	sees(t, ctx, link+`.download`, name)
}

// What the box's own page says of open sessions, and how one is ended there.
func TestSessionsInBrowser(t *testing.T) {
	s := newStage(t)
	var mu sync.Mutex
	open := map[string]map[string]any{}
	for i, id := range []string{"5e551001", "5e551002"} {
		open[id] = map[string]any{
			"id": id, "source": []string{"track", "rtsp"}[i], "state": "running", "since": time.Now().Add(-90 * time.Second),
			"peer": "192.0.2.7:<b>4000", "frames": 1234, "documents": 1200, "documents_left_out": 34 * i, "bytes": 5,
		}
	}
	open["5e551002"]["reason"] = "the source is lost"
	ended := make(chan string, 2)
	s.mux.HandleFunc("GET /api/v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		list := []any{}
		for _, id := range slices.Sorted(maps.Keys(open)) {
			list = append(list, open[id])
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sessions": list})
	})
	s.mux.HandleFunc("DELETE /api/v1/sessions/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		if id == "5e551001" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"detail":"There is no such session; it may have ended."}`)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		delete(open, id)
		ended <- id
		w.WriteHeader(http.StatusAccepted)
	})
	for path, text := range map[string]string{
		"/api/v1/hardware": `{"decoders":[],"encoders":[],"accelerators":[],"cameras":[],"sandbox":{"missing":[]}}`,
		"/api/v1/models":   `{"models":[]}`,
		"/api/v1/traces":   `{"traces":[]}`,
	} {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.url+"/system"))
	row := func(id string) string { return `document.querySelector('[data-session="` + id + `"]')?.textContent` }
	sees(t, ctx, row("5e551001"), "the peer's cameraruns1,2340192.0.2.7:<b>40001 min ")
	sees(t, ctx, row("5e551002"), "an RTSP streamruns: the source is lost1,23434")
	run(t, ctx, press(t, `[data-session="5e551001"] button`))
	sees(t, ctx, `document.querySelector('[data-testid=sessions] [role=alert]').textContent`, "There is no such session; it may have ended.")
	run(t, ctx, press(t, `[data-session="5e551002"] button`))
	sees(t, ctx, row("5e551002"), "undefined")
	if id := <-ended; id != "5e551002" {
		t.Errorf("%s was ended", id)
	}
	mu.Lock()
	clear(open)
	mu.Unlock()
	sees(t, ctx, `document.querySelector('[data-testid=sessions]').innerText`, "None is open.")
}
