package web

import (
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// The box's own page tells of its queues, and hands out what the stall meter left.
func TestSystemPageInBrowser(t *testing.T) {
	s := newStage(t)
	for path, text := range map[string]string{
		"/api/v1/hardware": `{"decoders":[],"encoders":[],"accelerators":[],"cameras":[],"sandbox":{"missing":[]}}`,
		"/api/v1/models":   `{"models":[]}`,
		"/api/v1/sessions": `{"sessions":[]}`,
	} {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
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
