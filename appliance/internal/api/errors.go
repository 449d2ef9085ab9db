package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The kinds of error that the routes tell apart. Wrap one with a message that
// says what to do: the message is shown to the user as it is.
var (
	ErrNotFound     = errors.New("not found")
	ErrInvalid      = errors.New("invalid request")
	ErrConflict     = errors.New("conflict")
	ErrUnavailable  = errors.New("not available now")
	ErrUnauthorized = errors.New("not signed in")
	ErrForbidden    = errors.New("not allowed")
	ErrTooLarge     = errors.New("request too large")
	ErrGone         = errors.New("gone")
)

// Explain gives kind (one of this package's sentinels) a message for the user.
func Explain(kind error, message string) error { return &explained{kind, message} }

type explained struct {
	kind    error
	message string
}

func (e *explained) Error() string { return e.message }
func (e *explained) Unwrap() error { return e.kind }

// tooSoon is a sign-in refused because of earlier failures.
type tooSoon struct{ wait time.Duration }

func (e *tooSoon) Error() string {
	return "Too many wrong passwords from this address: try again in " + strconv.Itoa(e.seconds()) + " s."
}

func (e *tooSoon) seconds() int { return int((e.wait + time.Second - 1) / time.Second) }

// problems is the one place where errors become HTTP statuses.
type problems struct{ log *slog.Logger }

// of maps err to an RFC 9457 problem. An error of no known kind is a fault of
// the box: it is logged in full under an id, and the reader is told the id only.
func (p problems) of(err error) *huma.ErrorModel {
	status := http.StatusInternalServerError
	var late *tooSoon
	var large *http.MaxBytesError
	var ready huma.StatusError
	switch {
	case errors.As(err, &late):
		status = http.StatusTooManyRequests
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
		err = Explain(ErrTooLarge, "The request is larger than the "+strconv.FormatInt(large.Limit, 10)+" bytes that this address takes.")
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrInvalid):
		status = http.StatusBadRequest
	case errors.Is(err, ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
	case errors.Is(err, ErrUnauthorized):
		status = http.StatusUnauthorized
	case errors.Is(err, ErrForbidden):
		status = http.StatusForbidden
	case errors.Is(err, ErrGone):
		status = http.StatusGone
	case errors.Is(err, ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.As(err, &ready):
		status = ready.GetStatus()
	}
	m := &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: err.Error()}
	if status == http.StatusInternalServerError {
		id := faultID()
		p.log.Error("request failed", "fault", id, "err", err)
		m.Detail = "A fault in Watchpost. Its log has the details under fault " + id + "."
		m.Instance = "urn:watchpost:fault:" + id
	}
	return m
}

// write answers r with err as problem+json.
func (p problems) write(w http.ResponseWriter, err error) {
	m := p.begin(w, err, "application/problem+json")
	// A reader that went away cannot be told anything more.
	_ = json.NewEncoder(w).Encode(m)
}

// begin writes everything but the body of an answer with err.
func (p problems) begin(w http.ResponseWriter, err error, contentType string) *huma.ErrorModel {
	m := p.of(err)
	var late *tooSoon
	if errors.As(err, &late) {
		w.Header().Set("Retry-After", strconv.Itoa(late.seconds()))
	}
	if m.Status == http.StatusUnauthorized {
		// Basic is taken too, but not offered: browsers would open their own
		// dialog over the page instead of letting it go to the sign-in page.
		w.Header().Set("WWW-Authenticate", `Bearer realm="watchpost"`)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(m.Status)
	return m
}

func faultID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
