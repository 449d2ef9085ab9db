package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Only the two pages that send the browser's own picture may ask for its camera.
func TestPagesThatMayAskForCamera(t *testing.T) {
	h := harden(http.NotFoundHandler())
	const none = "camera=(), display-capture=(), microphone=(), geolocation=()"
	const own = "camera=(self), display-capture=(self), microphone=(), geolocation=()"
	for path, want := range map[string]string{
		"/try": own, "/publish": own,
		"/": none, "/try/": none, "/try/x": none, "/publishx": none, "/files": none, "/cameras/try": none, "/system": none, "/sign-in": none,
		"/api/v1/cameras": none, "/assets/try": none,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got := w.Header().Get("Permissions-Policy"); got != want {
			t.Errorf("GET %s: %q, want %q", path, got, want)
		}
	}
}
