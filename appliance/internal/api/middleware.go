package api

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
)

// bodyLimit is the most that a request may carry that is no part of a file:
// session descriptions are about 10 kB. Only a request for a session and a workflow may be larger.
const bodyLimit = 256 << 10

// policy forbids everything that the pages do not need: no inline script or
// style, nothing from elsewhere, no frames around them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'"

// harden sets the headers that hold for every answer and bounds what comes in.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that, browsers send "Origin: null" with the
		// sign-in form, which then looks like another site's.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", permissions(r.URL.Path))
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		switch {
		case r.URL.Path == sessionPath:
			r.Body = http.MaxBytesReader(w, r.Body, sessionLimit)
		case carriesWorkflow(r):
			r.Body = http.MaxBytesReader(w, r.Body, workflowLimit)
		case !carriesFile(r):
			r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		}
		next.ServeHTTP(w, r)
	})
}

// permissions are what a document may ask the browser for. The two pages that send the
// browser's own picture may ask for its camera and screen, themselves only; no other page may,
// whatever gets into it.
func permissions(path string) string {
	allowed := "()"
	if path == "/try" || path == "/publish" {
		allowed = "(self)"
	}
	return "camera=" + allowed + ", display-capture=" + allowed + ", microphone=(), geolocation=()"
}

// recovering turns a panic into a logged fault: one request fails, the box stays.
func recovering(p problems, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tw := &tracked{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v) // asked for: the server ends the connection silently
			}
			err := fmt.Errorf("panic in %s %s: %v\n%s", r.Method, r.URL.Path, v, debug.Stack())
			if tw.started {
				// Half an answer is out: cut the connection, so that the
				// reader does not take it for a whole one.
				p.of(err)
				panic(http.ErrAbortHandler)
			}
			p.write(w, err)
		}()
		next.ServeHTTP(tw, r)
	})
}

// tracked remembers whether the answer has begun.
type tracked struct {
	http.ResponseWriter
	started bool
}

func (t *tracked) WriteHeader(status int) {
	t.started = t.started || status >= 200
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	t.started = true
	return t.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }
