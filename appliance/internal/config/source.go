package config

import (
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/watchpost/watchpost/gst/plan"
)

// Kind tells the kinds of sources apart.
type Kind string

// The kinds of sources.
const (
	KindRTSP    Kind = "rtsp"   // rtsp://… or rtsps://…
	KindMJPEG   Kind = "mjpeg"  // http://… or https://… with motion JPEG
	KindWHIP    Kind = "whip"   // whip: whatever is published to the camera's id
	KindFile    Kind = "file"   // a path
	KindDevice  Kind = "device" // /dev/videoN
	KindPattern Kind = "test"   // test:PATTERN, or test: for smpte
	KindDemo    Kind = "demo"   // demo:
	KindUnknown Kind = ""       // a URL of a scheme that is not served
)

var (
	devicePath = regexp.MustCompile(`^/dev/video[0-9]+$`)
	// idPattern is that of Camera.ID.
	idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

// patterns are those of GStreamer's videotestsrc that show a picture.
var patterns = []string{
	"smpte", "snow", "black", "white", "red", "green", "blue",
	"checkers-1", "checkers-2", "checkers-4", "checkers-8", "circular", "blink",
	"smpte75", "zone-plate", "gamut", "chroma-zone-plate", "solid-color", "ball",
	"smpte100", "bar", "pinwheel", "spokes", "gradient", "colors", "smpte-rp-219",
}

// KindOf tells what a source is, without looking whether it is there.
func KindOf(source string) Kind {
	scheme, _, hasScheme := strings.Cut(source, "://")
	switch {
	case strings.HasPrefix(source, "demo:"):
		return KindDemo
	case strings.HasPrefix(source, "test:"):
		return KindPattern
	case strings.HasPrefix(source, "whip:") && !hasScheme:
		return KindWHIP
	case devicePath.MatchString(source):
		return KindDevice
	case hasScheme && (strings.EqualFold(scheme, "rtsp") || strings.EqualFold(scheme, "rtsps")):
		return KindRTSP
	case hasScheme && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")):
		return KindMJPEG
	case hasScheme && !strings.ContainsAny(scheme, `/\ `):
		return KindUnknown
	}
	return KindFile
}

// problemOf says what is wrong with a source, quoting nothing secret of it.
func problemOf(source string) (problem, suggestion string) {
	switch KindOf(source) {
	case KindDemo:
		if source != "demo:" {
			return quote(source) + " has something behind demo:", `write "demo:"`
		}
	case KindPattern:
		name := strings.TrimPrefix(source, "test:")
		if name == "" {
			return "", "" // the first pattern
		}
		for _, p := range patterns {
			if p == name {
				return "", ""
			}
		}
		if near := nearest(name, patterns); near != "" {
			return "there is no test pattern " + quote(name), didYouMean("test:" + near)
		}
		return "there is no test pattern " + quote(name), "the patterns are " + strings.Join(patterns, ", ")
	case KindRTSP:
		return addressProblem(source, "rtsp", "rtsp://USER:PASSWORD@HOST/PATH", "554")
	case KindMJPEG:
		return addressProblem(source, "http", "http://USER:PASSWORD@HOST/PATH", "80, and 443 for https")
	case KindWHIP:
		if source != "whip:" {
			return quote(source) + " has something behind whip:", `write "whip:"; publishers send to /api/v1/whip/ID with the camera's id`
		}
	case KindUnknown:
		scheme, rest, _ := strings.Cut(source, "://")
		const kinds = "a source is rtsp://…, http://… (MJPEG), a file's path, /dev/videoN, whip:, test:PATTERN or demo:"
		switch {
		case strings.EqualFold(scheme, "file"):
			return "file:// is not a source", "write the path itself: " + strconv.Quote(plan.Redact(rest))
		case nearest(strings.ToLower(scheme), []string{"rtsp"}) != "":
			return quote(scheme+"://") + " is not a kind of source", didYouMean("rtsp://")
		case strings.EqualFold(scheme, "whip"):
			return "whip: has no address: publishers come to this box", `write "whip:"; publishers send to /api/v1/whip/ID with the camera's id`
		}
		return quote(scheme+"://") + " is not a kind of source", kinds
	case KindFile:
		if rest, ok := strings.CutPrefix(source, "rtsp:"); ok {
			return "an rtsp source begins with rtsp://", "write " + strconv.Quote("rtsp://"+strings.TrimPrefix(plan.Redact("x://"+strings.TrimLeft(rest, "/")), "x://"))
		}
		if source == "whip" {
			return `"whip" would be a file of that name`, `write "whip:" for what is published to the box, or "./whip" for the file`
		}
		if source == "demo" || source == "test" {
			return quote(source) + " would be a file of that name", "write " + strconv.Quote(source+":") + " for the scene that the box draws, or " + strconv.Quote("./"+source) + " for the file"
		}
		if strings.HasPrefix(source, "/dev/") {
			return quote(source) + " is not a camera's device", "the devices of cameras are /dev/video0, /dev/video1, …"
		}
		if strings.HasSuffix(source, "/") {
			return quote(plan.Redact(source)) + " is a folder", "name a video file"
		}
	}
	return "", ""
}

// addressProblem looks at a URL of one scheme, which is to look like form; usual is its port.
func addressProblem(source, scheme, form, usual string) (problem, suggestion string) {
	// url.Parse quotes what it was given, password and all: its text is dropped.
	u, err := url.Parse(source)
	if err != nil {
		return "the " + scheme + " address cannot be read", "in user names and passwords write special characters as %40 (@), %2F (/), %3A (:), %23 (#), %25 (%)"
	}
	if u.Hostname() == "" {
		return "the " + scheme + " address has no host", "write " + form
	}
	if strings.ContainsRune(u.Path, '@') && u.User == nil {
		return "the " + scheme + " address has an @ behind its host", "in user names and passwords write / as %2F, ? as %3F and # as %23"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return "the " + scheme + " address has no valid port", "a port is a number from 1 to 65535; the usual one is " + usual
		}
	}
	return "", ""
}

// FromSource makes a camera with default settings for a source named on the
// command line. Its id comes from the file's or the host's name, is valid, and
// differs from those of the others. The source is not checked: Validate does.
func FromSource(source string, others ...Camera) Camera {
	c := DefaultCamera()
	c.Source = source
	c.Name = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(titleFor(source), " "), func(r rune) bool {
		return r == ' ' || !unicode.IsPrint(r)
	}), " ")
	base := slug(c.Name)
	c.ID = base
	for n := 2; taken(c.ID, others); n++ {
		suffix := "-" + strconv.Itoa(n)
		c.ID = base[:min(len(base), 64-len(suffix))] + suffix
	}
	return c
}

func taken(id string, cams []Camera) bool {
	for i := range cams {
		if cams[i].ID == id {
			return true
		}
	}
	return false
}

// titleFor is the part of a source that tells it from others, never a secret.
func titleFor(source string) string {
	switch KindOf(source) {
	case KindDemo:
		return "demo"
	case KindPattern:
		return strings.TrimSuffix("test "+strings.TrimPrefix(source, "test:"), " ")
	case KindWHIP:
		return "whip"
	case KindRTSP, KindMJPEG, KindUnknown:
		_, rest, _ := strings.Cut(plan.Redact(source), "://")
		rest = strings.TrimSuffix(strings.TrimPrefix(rest, "***@"), "***")
		rest = strings.Trim(rest, "/")
		host, tail, found := strings.Cut(rest, "/")
		if h, _, ok := strings.Cut(host, ":"); ok && !strings.HasPrefix(host, "[") {
			host = h
		}
		if found {
			return host + " " + tail
		}
		return host
	case KindDevice:
		return path.Base(source)
	}
	base := path.Base(plan.Redact(source))
	if ext := path.Ext(base); ext != base {
		base = strings.TrimSuffix(base, ext)
	}
	return base
}

// slug makes a valid id of any text.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && r == '_':
			b.WriteByte('_')
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 64 {
			break
		}
	}
	if id := strings.TrimRight(b.String(), "-_"); id != "" {
		return id
	}
	return "camera"
}

// ValidID tells whether a text can be a camera's id.
func ValidID(id string) bool { return idPattern.MatchString(id) }
