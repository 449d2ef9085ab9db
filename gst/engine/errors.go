package engine

import (
	"fmt"
	"strings"

	"github.com/watchpost/watchpost/gst/plan"
)

// ErrorKind says what kind of thing went wrong with a source.
type ErrorKind string

// The kinds of errors that Read returns.
const (
	NotFound    ErrorKind = "not_found"   // no such file, device or stream
	Refused     ErrorKind = "refused"     // the camera refused the sign-in
	Unreachable ErrorKind = "unreachable" // no connection, or it was lost
	NoVideo     ErrorKind = "no_video"    // there is no video in it
	Unsupported ErrorKind = "unsupported" // a codec or container that cannot be read here
	Damaged     ErrorKind = "damaged"     // nothing in it could be decoded
	Internal    ErrorKind = "internal"    // a fault of this program
)

// Error is why a source gave no more frames. Message is one line for people,
// without credentials.
type Error struct {
	Kind    ErrorKind
	Message string
}

func (e *Error) Error() string { return e.Message }

func fail(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// GStreamer's error codes that are told apart (gsterror.h).
const (
	coreMissingPlugin = 12
	coreNegotiation   = 7

	resourceNotFound      = 3
	resourceBusy          = 4
	resourceOpenRead      = 5
	resourceOpenReadWrite = 7
	resourceRead          = 9
	resourceSettings      = 13
	resourceNotAuthorized = 15

	streamTypeNotFound  = 4
	streamWrongType     = 5
	streamCodecNotFound = 6

	domainCore     = 1
	domainResource = 3
	domainStream   = 4
)

// classify makes an Error of what an input's pipeline reported.
func classify(in plan.Input, name string, m message) *Error {
	text := strings.TrimSuffix(strings.TrimSpace(m.text), ".")
	if in.Kind == plan.RTSP {
		if e := classifyRTSP(name, m, text); e != nil {
			return e
		}
	}
	if in.Kind == plan.V4L2 && m.domain == domainResource {
		if e := classifyV4L2(name, m, text); e != nil {
			return e
		}
	}
	if m.kind == msgMissing {
		return fail(Unsupported, "%s: nothing here can read it (%s)", name, text)
	}
	switch m.domain {
	case domainResource:
		switch m.code {
		case resourceNotFound:
			return fail(NotFound, "%s: there is no such %s", name, thing(in.Kind))
		case resourceBusy:
			return fail(Unreachable, "%s: the device is in use by another program", name)
		case resourceNotAuthorized:
			return fail(Refused, "%s: access is refused", name)
		case resourceOpenRead, resourceOpenReadWrite:
			return fail(NotFound, "%s: cannot be opened: %s", name, text)
		case resourceSettings:
			return fail(Unsupported, "%s: the device does not do what it was asked: %s", name, text)
		}
		return fail(Damaged, "%s: cannot be read: %s", name, text)
	case domainStream:
		switch m.code {
		case streamTypeNotFound, streamWrongType, streamCodecNotFound:
			return fail(Unsupported, "%s: is not a video in any container known here", name)
		}
		return fail(Damaged, "%s: is damaged: %s", name, text)
	case domainCore:
		switch m.code {
		case coreMissingPlugin:
			return fail(Unsupported, "%s: nothing here can read it (%s)", name, text)
		case coreNegotiation:
			return fail(Unsupported, "%s: its format cannot be handled: %s", name, text)
		}
	}
	return fail(Internal, "%s: %s (%s)", name, text, m.source)
}

func classifyRTSP(name string, m message, text string) *Error {
	all := m.text + " " + m.debug
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(all, p) {
				return true
			}
		}
		return false
	}
	switch {
	case m.domain == domainResource && m.code == resourceNotAuthorized,
		has("Unauthorized", "(401)", "Forbidden", "(403)"):
		return fail(Refused, "%s: the camera refused the sign-in: check user and password", name)
	case m.domain == domainResource && m.code == resourceNotFound, has("(404)"):
		return fail(NotFound, "%s: the camera has no such stream: check the path", name)
	case has("Connection refused"):
		return fail(Unreachable, "%s: nothing listens there: check address and port, and whether the camera is on", name)
	case has("No route to host", "unreachable"):
		return fail(Unreachable, "%s: there is no way to this address: check it, and the network", name)
	case has("Timeout", "timed out", "timeout"):
		return fail(Unreachable, "%s: the camera does not answer", name)
	case has("Failed to connect. (Generic error)"):
		// GStreamer tells no more of a name without an address, or of a port
		// where nobody listens.
		return fail(Unreachable, "%s: cannot be connected to: check name, address and port, and whether the camera is on", name)
	case m.domain == domainResource, m.domain == domainStream && m.source == "src":
		return fail(Unreachable, "%s: no connection to the camera: %s", name, strings.ToLower(plan.RedactText(text)))
	}
	return nil
}

func thing(kind string) string {
	if kind == plan.V4L2 {
		return "device"
	}
	return "file"
}
