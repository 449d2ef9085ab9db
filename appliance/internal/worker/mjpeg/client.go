package mjpeg

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// Bounds of how an answer may be come by.
const (
	maxRedirects = 5
	maxSignIns   = 2 // answers to challenges: the second where the first was stale
	dialTime     = 5 * time.Second
)

// source is a camera's address and what is known of it.
type source struct {
	name           string // fit for messages
	at             *url.URL
	user, password string
	signs          bool // there are credentials
	host           string
	secure         bool // they came for https, and go nowhere else
}

func parse(address string) (*source, error) {
	name := plan.Redact(address)
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The parser's error would quote the address, password and all.
		return nil, fail(Unsupported, "%s is not a valid address of motion JPEG: want http://HOST[:PORT]/PATH or https:// (escape special characters of a password as %%XX)", name)
	}
	s := &source{name: name, at: u, host: u.Hostname(), secure: u.Scheme == "https"}
	if u.User != nil {
		s.signs, s.user = true, u.User.Username()
		s.password, _ = u.User.Password()
		u.User = nil
	}
	u.Fragment = ""
	return s, nil
}

// trusts tells whether the credentials may be sent to an address: that of the camera
// they are for, and not in the clear where they were meant for https.
func (s *source) trusts(u *url.URL) bool {
	return s.signs && strings.EqualFold(u.Hostname(), s.host) && (u.Scheme == "https" || !s.secure)
}

// transport is one that serves one Read. Proxies of the environment are for the
// Internet, not for cameras.
func transport() *http.Transport {
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: dialTime}).DialContext,
		// Cameras on a LAN sign their own certificates, and old ones know no newer
		// protocol: what is checked there is the password, as with RTSP.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}, //nolint:gosec // see above
		TLSHandshakeTimeout:    dialTime,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		MaxIdleConns:           1,
	}
}

// open asks for the stream, signs in where it has to, and returns the answer with
// what parts its pictures. The caller closes its body.
func (s *source) open(ctx context.Context, t http.RoundTripper) (resp *http.Response, boundary string, err error) {
	at, header := s.at, ""
	redirects, signIns := 0, 0
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, "", fail(Unsupported, "%s is not a valid address", s.name)
		}
		req.Header.Set("User-Agent", "Watchpost")
		req.Header.Set("Accept", "multipart/x-mixed-replace, image/jpeg;q=0.5, */*;q=0.1")
		switch header {
		case "":
		case "basic":
			req.SetBasicAuth(s.user, s.password)
		default:
			req.Header.Set("Authorization", header)
		}
		resp, err := t.RoundTrip(req)
		if err != nil {
			return nil, "", s.unreachable(err)
		}
		switch resp.StatusCode {
		case http.StatusOK:
			boundary, err := s.boundary(resp)
			if err != nil {
				resp.Body.Close()
				return nil, "", err
			}
			return resp, boundary, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			at, err = s.redirected(at, resp.Header.Get("Location"))
			header = ""
			if redirects++; err == nil && redirects > maxRedirects {
				err = fail(Unsupported, "%s: redirects without end", s.name)
			}
		case http.StatusUnauthorized:
			if signIns++; signIns > maxSignIns || header != "" && !stale(resp) {
				err = fail(Refused, "%s: the camera refused the sign-in: check user and password", s.name)
				break
			}
			header, err = s.signIn(resp, at)
		default:
			err = s.status(resp.StatusCode)
		}
		// A little more is read so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		resp.Body.Close()
		if err != nil {
			return nil, "", err
		}
	}
}

// stale tells of a refusal that is only of the nonce (RFC 7616 clause 3.3).
func stale(resp *http.Response) bool {
	for _, c := range challenges(resp.Header.Values("WWW-Authenticate")) {
		if strings.EqualFold(c.params["stale"], "true") {
			return true
		}
	}
	return false
}

// signIn is the Authorization that answers a refusal, "basic" for Basic.
func (s *source) signIn(resp *http.Response, at *url.URL) (string, error) {
	switch {
	case !s.signs:
		return "", fail(Refused, "%s: the camera wants a sign-in: put user and password into the address, as http://USER:PASSWORD@HOST/PATH", s.name)
	case !s.trusts(at):
		return "", fail(Refused, "%s: leads to another host or away from https, where the user and password are not sent: give the address that it leads to", s.name)
	}
	header, ok := authorization(challenges(resp.Header.Values("WWW-Authenticate")), s.user, s.password, at.RequestURI())
	if !ok {
		return "", fail(Refused, "%s: the camera wants a sign-in of a kind that is not known here: set it to Digest or Basic", s.name)
	}
	if header == "" {
		header = "basic"
	}
	return header, nil
}

func (s *source) redirected(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if location == "" || err != nil || to.Hostname() == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fail(Unsupported, "%s: redirects to what is no address of motion JPEG", s.name)
	}
	to.User, to.Fragment = nil, ""
	return to, nil
}

func (s *source) status(code int) *Error {
	switch {
	case code == http.StatusForbidden:
		return fail(Refused, "%s: the camera forbids it (403): check what this user may see", s.name)
	case code == http.StatusNotFound || code == http.StatusGone:
		return fail(NotFound, "%s: the camera has no such stream: check the path", s.name)
	case code >= 500:
		return fail(Unreachable, "%s: the camera has no stream now (%d %s): it may have too many viewers", s.name, code, http.StatusText(code))
	}
	return fail(Unsupported, "%s: answers with %d %s instead of motion JPEG", s.name, code, http.StatusText(code))
}

// boundary is that of the answer's parts; empty where it tells none.
func (s *source) boundary(resp *http.Response) (string, error) {
	full := resp.Header.Get("Content-Type")
	kind, rest, _ := strings.Cut(full, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case strings.HasPrefix(kind, "multipart/"):
	case strings.HasPrefix(kind, "image/"):
		return "", fail(Unsupported, "%s: serves single pictures, no motion JPEG: give the address of its video stream (multipart/x-mixed-replace)", s.name)
	case kind == "text/html":
		return "", fail(Unsupported, "%s: is a web page, no motion JPEG: give the address of the video in it", s.name)
	default:
		return "", fail(Unsupported, "%s: is no motion JPEG (multipart/x-mixed-replace)", s.name)
	}
	if _, params, err := mime.ParseMediaType(full); err == nil {
		return params["boundary"], nil
	}
	// Cameras write characters into it that would have to be quoted.
	for part := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(name), "boundary") {
			return strings.Trim(strings.TrimSpace(value), `"`), nil
		}
	}
	return "", nil
}

// unreachable says why there is no answer, in words of its own: those of net/http
// quote the address, and what the other side sent.
func (s *source) unreachable(err error) *Error {
	var dns *net.DNSError
	var timeout net.Error
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(Unreachable, "%s: nothing listens there: check address and port, and whether the camera is on", s.name)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fail(Unreachable, "%s: there is no way to this address: check it, and the network", s.name)
	case errors.As(err, &dns):
		return fail(Unreachable, "%s: this name has no address: check it, and the network", s.name)
	case errors.As(err, &record):
		return fail(Unreachable, "%s: does not speak https there: check the port, or try http", s.name)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fail(Unreachable, "%s: the camera does not answer", s.name)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fail(Unreachable, "%s: the camera closed the connection without an answer", s.name)
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "remote error"):
		return fail(Unreachable, "%s: no secure connection can be agreed on with the camera: try http", s.name)
	}
	return fail(Unreachable, "%s: gives no answer that is HTTP: check address and port", s.name)
}
