package health

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReadiness(t *testing.T) {
	r := NewReadiness("http", "cameras")
	expect := func(status int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if w.Code != status || strings.TrimSpace(w.Body.String()) != body {
			t.Errorf("%d %s\nwant %d %s", w.Code, w.Body, status, body)
		}
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", w.Header())
		}
		if (r.Err() == nil) != (status == 200) {
			t.Errorf("Err %v beside %d", r.Err(), status)
		}
	}
	expect(503, `{"ready":false,"checks":[{"name":"http","ok":false,"reason":"starting"},{"name":"cameras","ok":false,"reason":"starting"}]}`)
	r.Set("http", nil)
	expect(503, `{"ready":false,"checks":[{"name":"http","ok":true},{"name":"cameras","ok":false,"reason":"starting"}]}`)
	r.Set("cameras", errors.New("no worker is up"))
	expect(503, `{"ready":false,"checks":[{"name":"http","ok":true},{"name":"cameras","ok":false,"reason":"no worker is up"}]}`)
	if got := r.Err().Error(); got != "cameras: no worker is up" {
		t.Errorf("%s", got)
	}
	r.Set("cameras", nil)
	expect(200, `{"ready":true,"checks":[{"name":"http","ok":true},{"name":"cameras","ok":true}]}`)
	r.Set("disk", errors.New("full"))
	expect(503, `{"ready":false,"checks":[{"name":"http","ok":true},{"name":"cameras","ok":true},{"name":"disk","ok":false,"reason":"full"}]}`)
	r.Remove("disk")
	expect(200, `{"ready":true,"checks":[{"name":"http","ok":true},{"name":"cameras","ok":true}]}`)
}
