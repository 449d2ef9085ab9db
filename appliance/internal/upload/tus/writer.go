package tus

import (
	"net/http"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

// writer completes tusd's answers with what tusd does not know.
type writer struct {
	http.ResponseWriter
	h      *Handler
	req    *request
	method string
}

// WriteHeader implements http.ResponseWriter; 104 comes through here, too.
func (w *writer) WriteHeader(status int) {
	h := w.Header()
	if h.Get("Location") != "" {
		// Without scheme and host: the box may stand behind a proxy, and only
		// the client knows by which name it came.
		h.Set("Location", Path+"/"+w.req.id)
	}
	switch {
	case w.method == http.MethodOptions:
		h.Set("Tus-Extension", h.Get("Tus-Extension")+",checksum,expiration")
		h.Set("Tus-Checksum-Algorithm", strings.Join(upload.Algorithms(), ","))
	case status == http.StatusPreconditionFailed:
		h.Set("Tus-Version", "1.0.0") // tus 1.0.0 asks for it here
	case status < 300 && w.req.id != "" && !w.req.draft:
		w.expires(h)
	}
	w.ResponseWriter.WriteHeader(status)
}

// expires says until when an unfinished upload waits for more.
func (w *writer) expires(h http.Header) {
	i, err := w.h.d.Uploads.Get(w.req.id)
	if err == nil && i.Status == state.UploadReceiving && !i.Expires.IsZero() {
		h.Set("Upload-Expires", i.Expires.UTC().Format(http.TimeFormat))
	}
}

// SetReadDeadline does nothing: intake.Body owns the connection's deadlines. tusd would
// set them at each read, and so undo an interruption.
func (w *writer) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetReadDeadline.
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
