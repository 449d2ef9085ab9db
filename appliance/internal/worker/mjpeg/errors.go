package mjpeg

import "fmt"

// Kind says what kind of thing went wrong. The words are those of the engine's
// errors about other sources.
type Kind string

// The kinds of errors that Read returns.
const (
	NotFound    Kind = "not_found"   // the camera has nothing at this path
	Refused     Kind = "refused"     // the camera refused the sign-in
	Unreachable Kind = "unreachable" // no connection, or it was lost
	Unsupported Kind = "unsupported" // an answer, but no motion JPEG
	Damaged     Kind = "damaged"     // it began as motion JPEG and went on as something else
)

// Error is why no more pictures come. Message is one line for people, without
// credentials.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

func fail(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
