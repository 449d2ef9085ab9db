package rtcworker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
)

// refusal is why a request gets no session, as its client reads it.
type refusal struct {
	status int
	// message says what is wrong, and what to do about it.
	message string
	// field as a JSON path; empty: the request as a whole.
	field string
	// expected is what could be there, available what could be named there.
	expected  string
	available []string
	// retry is the Retry-After in seconds; 0: none.
	retry int
}

func (r *refusal) Error() string { return r.message }

// wrong is a refusal of a field for its value.
func wrong(field, expected, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, field: field, expected: expected, message: field + ": " + fmt.Sprintf(format, args...)}
}

// refusalOf makes a refusal of any error.
func refusalOf(err error) *refusal {
	var r *refusal
	var w *workflow.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &w):
		return &refusal{
			status: http.StatusUnprocessableEntity, message: w.Error(), field: w.Field, expected: w.Expected, available: w.Available,
		}
	}
	return &refusal{status: http.StatusInternalServerError, message: "The box could not open the session: " + printable(err.Error())}
}

// write answers with it.
func (r *refusal) write(w http.ResponseWriter) {
	body := map[string]any{"status": "error", "message": r.message}
	if r.field != "" {
		body["field"] = r.field
	}
	if r.expected != "" {
		body["expected"] = r.expected
	}
	if r.available != nil {
		body["available"] = r.available
	}
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte(`{"status":"error","message":"an error that cannot be written"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if r.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(r.retry))
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(text) // the client may be gone
}

// printable is what somebody else said as text: bounded, on one line, and without what
// steers terminals.
func printable(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
