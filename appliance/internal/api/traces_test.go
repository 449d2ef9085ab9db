package api

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// traces is one trace in memory.
type traces struct{}

const traceText = "go 1.26 trace\x00\x00\x00 and more"

var oneTrace = Trace{
	Name: "stall-20260102T030405.678-camera_yard.trace", Kind: "trace", Loop: "camera_yard",
	Taken: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), Bytes: int64(len(traceText)),
}

func (traces) List() ([]Trace, error) { return []Trace{oneTrace}, nil }

type closing struct{ *bytes.Reader }

func (closing) Close() error { return nil }

func (traces) Open(name string) (io.ReadSeekCloser, Trace, error) {
	if name != oneTrace.Name {
		return nil, Trace{}, Explain(ErrNotFound, "There is no trace of this name.")
	}
	return closing{bytes.NewReader([]byte(traceText))}, oneTrace, nil
}

func TestTracesAreListedAndHandedOut(t *testing.T) {
	b := start(t, nil)
	a := b.do(t, http.MethodGet, "/api/v1/traces", "")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `{"traces":[{"name":"`+oneTrace.Name+`","kind":"trace","loop":"camera_yard"`) {
		t.Errorf("list: %d %s", a.StatusCode, a.body)
	}
	path := "/api/v1/traces/" + oneTrace.Name
	a = b.do(t, http.MethodGet, path, "")
	if a.StatusCode != http.StatusOK || a.body != traceText || a.Header.Get("Content-Type") != "application/octet-stream" ||
		a.Header.Get("Content-Disposition") != "attachment; filename="+oneTrace.Name {
		t.Errorf("one: %d %q %v", a.StatusCode, a.body, a.Header)
	}
	if a := b.do(t, http.MethodGet, path, "", "Range", "bytes=3-6"); a.StatusCode != http.StatusPartialContent || a.body != traceText[3:7] {
		t.Errorf("a part: %d %q", a.StatusCode, a.body)
	}
	a = b.do(t, http.MethodGet, "/api/v1/traces/stall-20200101T000000.000-gone.trace", "")
	if a.StatusCode != http.StatusNotFound || a.detail(t) == "" {
		t.Errorf("one that is not there: %d", a.StatusCode)
	}
	for _, p := range []string{"/api/v1/traces", path} {
		if a := b.do(t, http.MethodGet, p, "", elsewhere...); a.StatusCode != http.StatusUnauthorized || strings.Contains(a.body, "stall-") {
			t.Errorf("%s from elsewhere without sign-in: %d %s", p, a.StatusCode, a.body)
		}
	}
}
