package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
)

// ErrUnsupported (415): the body is sent in a way that is not read here.
var ErrUnsupported = errors.New("not supported")

// Wrong is an error of a kind (one of upload's sentinels or of this package's) with
// the text that the client is to read, which says what to do.
func Wrong(kind error, format string, a ...any) error {
	return &wrong{kind, fmt.Sprintf(format, a...)}
}

type wrong struct {
	kind error
	text string
}

func (w *wrong) Error() string { return w.text }
func (w *wrong) Unwrap() error { return w.kind }

func invalid(format string, a ...any) error { return Wrong(upload.ErrInvalid, format, a...) }

// StatusChecksum is tus' status for bytes that have another checksum than was said.
const StatusChecksum = 460

// Answer is what an error is over HTTP.
type Answer struct {
	Status int
	Code   string        // for programs, as tus' reference server names them
	Title  string        // of the status
	Retry  time.Duration // after which the same request may do better; 0: not said
	// Fault tells that the box failed, not the client: the error belongs in the log and
	// not into the answer.
	Fault bool
}

// AnswerTo is the one place where the errors of uploads become statuses.
func AnswerTo(err error) Answer {
	for _, c := range answers {
		if errors.Is(err, c.err) {
			a := c.Answer
			if a.Title = http.StatusText(a.Status); a.Status == StatusChecksum {
				a.Title = "Checksum Mismatch"
			}
			return a
		}
	}
	return Answer{Status: http.StatusInternalServerError, Code: "ERR_INTERNAL_SERVER_ERROR", Title: http.StatusText(http.StatusInternalServerError), Fault: true}
}

// SetRetry says in h when to try again.
func (a Answer) SetRetry(h http.Header) {
	if a.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(a.Retry/time.Second)))
	}
}

var answers = []struct {
	err error
	Answer
}{
	{upload.ErrNotFound, Answer{Status: http.StatusNotFound, Code: "ERR_UPLOAD_NOT_FOUND"}},
	{upload.ErrGone, Answer{Status: http.StatusGone, Code: "ERR_UPLOAD_GONE"}},
	{upload.ErrChecksum, Answer{Status: StatusChecksum, Code: "ERR_CHECKSUM_MISMATCH"}},
	{upload.ErrConflict, Answer{Status: http.StatusConflict, Code: "ERR_CONFLICT"}},
	{upload.ErrTooLarge, Answer{Status: http.StatusRequestEntityTooLarge, Code: "ERR_MAX_SIZE_EXCEEDED"}},
	{upload.ErrBusy, Answer{Status: http.StatusLocked, Code: "ERR_UPLOAD_LOCKED", Retry: time.Second}},
	{upload.ErrTooMany, Answer{Status: http.StatusServiceUnavailable, Code: "ERR_TOO_MANY_UPLOADS", Retry: 2 * time.Second}},
	{upload.ErrNoSpace, Answer{Status: http.StatusInsufficientStorage, Code: "ERR_NO_SPACE"}},
	{upload.ErrQuota, Answer{Status: http.StatusInsufficientStorage, Code: "ERR_QUOTA_EXCEEDED"}},
	{upload.ErrInvalid, Answer{Status: http.StatusBadRequest, Code: "ERR_INVALID_REQUEST"}},
	{ErrUnsupported, Answer{Status: http.StatusUnsupportedMediaType, Code: "ERR_UNSUPPORTED"}},
	{ErrInterrupted, Answer{Status: http.StatusConflict, Code: "ERR_UPLOAD_INTERRUPTED"}},
	{ErrShutdown, Answer{Status: http.StatusServiceUnavailable, Code: "ERR_SERVER_SHUTDOWN", Retry: 5 * time.Second}},
	{ErrStalled, Answer{Status: http.StatusRequestTimeout, Code: "ERR_READ_TIMEOUT"}},
	{ErrBroken, Answer{Status: http.StatusBadRequest, Code: "ERR_UNEXPECTED_EOF"}},
	{context.Canceled, Answer{Status: http.StatusServiceUnavailable, Code: "ERR_CANCELED", Retry: 2 * time.Second}},
	{context.DeadlineExceeded, Answer{Status: http.StatusServiceUnavailable, Code: "ERR_CANCELED", Retry: 2 * time.Second}},
}
