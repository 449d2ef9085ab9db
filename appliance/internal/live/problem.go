package live

import (
	"encoding/json"
	"net/http"
)

// problem is an error for a viewer (RFC 9457, application/problem+json). Detail
// says what to do.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	// retry is the Retry-After in seconds; 0: none.
	retry string
}

func (p *problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.retry != "" {
		h.Set("Retry-After", p.retry)
	}
	w.WriteHeader(p.Status)
	// The status line is out: a viewer that hung up meanwhile is no error.
	_ = json.NewEncoder(w).Encode(p)
}
