package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

const cookieName = "watchpost_session"

// guard decides who gets in.
//
// Without a password: a request that came over the loopback interface, asked
// for by a loopback name, sent by no proxy, and not by another site's page. The name matters: a
// hostile page can point its own name at 127.0.0.1 (DNS rebinding), but it cannot
// change the Host header. With the password: as a cookie from the sign-in page,
// or in each request as Bearer token or Basic password (any user name).
//
// Whoever gets in by something that a browser adds by itself must also not come
// from another origin when the request changes something. A Bearer token is
// never added by a browser itself. A request for a session may carry it in its body.
type guard struct {
	password  string
	alwaysAsk bool
	sessions  *sessions
	limiter   *limiter
	cross     *http.CrossOriginProtection
	problems  problems
	mac       []byte        // key of this process, so that passwords of any length compare in constant time
	large     chan struct{} // large bodies that are read for the key in them
}

func newGuard(password string, alwaysAsk bool, p problems) *guard {
	mac := make([]byte, 32)
	rand.Read(mac)
	return &guard{
		password: password, alwaysAsk: alwaysAsk,
		sessions: newSessions(password), limiter: newLimiter(),
		cross: http.NewCrossOriginProtection(), problems: p, mac: mac, large: make(chan struct{}, largeBodies),
	}
}

// wrap lets through to next what may pass.
func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer, err := g.admit(r)
		if err == nil && !bearer && g.cross.Check(r) != nil {
			err = Explain(ErrForbidden, "This request comes from another site's page, which may not control this box.")
		}
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case r.URL.Path == sessionPath:
			g.problems.writeSession(w, err)
		case wantsPage(r):
			http.Redirect(w, r, "/sign-in?next="+url.QueryEscape(safeNext(r.URL.RequestURI())), http.StatusSeeOther)
		default:
			g.problems.write(w, err)
		}
	})
}

// admit returns nil for a request that may pass; bearer tells that a token of
// its own let it in.
func (g *guard) admit(r *http.Request) (bearer bool, err error) {
	if open(r) || (!g.alwaysAsk && local(r)) {
		return false, nil
	}
	if g.password == "" {
		return false, Explain(ErrUnauthorized, "This box has no password yet, so it answers on its own loopback address only: give it a password to reach it over the network.")
	}
	if h := r.Header.Get("Authorization"); h != "" {
		given, isBearer, ok := credential(h)
		if !ok {
			return false, Explain(ErrUnauthorized, "The Authorization header is neither Bearer nor Basic: send \"Authorization: Bearer PASSWORD\".")
		}
		return isBearer, g.check(r, given)
	}
	switch key, err := g.keyInBody(r); {
	case err != nil:
		return false, err
	case key != "":
		return true, g.check(r, key) // no more added by a browser itself than a token is
	}
	if c, err := r.Cookie(cookieName); err == nil && g.sessions.valid(c.Value) {
		return false, nil
	}
	if r.URL.Path == sessionPath {
		return false, Explain(ErrUnauthorized, "The box's password is missing: send it as api_key in the body, or as \"Authorization: Bearer PASSWORD\".")
	}
	return false, Explain(ErrUnauthorized, "Sign in first: open /sign-in in a browser, or send \"Authorization: Bearer PASSWORD\".")
}

// check compares a password, delayed when the address has guessed too often.
func (g *guard) check(r *http.Request, given string) error {
	ok, wait := g.limiter.try(r.RemoteAddr, func() bool {
		return hmac.Equal(g.digest(given), g.digest(g.password))
	})
	switch {
	case wait > 0:
		return &tooSoon{wait}
	case !ok:
		return Explain(ErrUnauthorized, "The password is wrong.")
	}
	return nil
}

func (g *guard) digest(s string) []byte {
	m := hmac.New(sha256.New, g.mac)
	m.Write([]byte(s))
	return m.Sum(nil)
}

// open tells what anybody may ask for: the sign of life, the sign-in page, and
// the pages' files, which are the same on every box.
func open(r *http.Request) bool {
	p := r.URL.Path
	if path.Clean(p) != p {
		return false // the mux would make another path of it
	}
	// Browsers ask without credentials whether another site's page may ask
	// (CORS preflight); the handler of live video decides.
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" && strings.HasPrefix(p, "/api/v1/cameras/") {
		return true
	}
	return p == "/healthz" || p == "/sign-in" || p == "/favicon.svg" || strings.HasPrefix(p, "/assets/")
}

// local tells whether r was made on this box itself, by no proxy, and not by
// another site's page.
func local(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !loopbackAddr(at.String()) || !loopbackAddr(r.RemoteAddr) || !loopbackHost(r.Host) {
		return false
	}
	// Proxies that hide still give themselves away mostly by the old protocol.
	if !r.ProtoAtLeast(1, 1) {
		return false
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded") {
			return false
		}
	}
	// Other sites' pages may link here, but not load anything of this box.
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

func loopbackAddr(s string) bool {
	a, err := netip.ParseAddrPort(s)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// loopbackHost tells whether a Host header names this machine's loopback.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// credential reads the password out of an Authorization header.
func credential(h string) (password string, bearer, ok bool) {
	scheme, rest, found := strings.Cut(h, " ")
	if !found {
		return "", false, false
	}
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest, true, rest != ""
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return "", false, false
		}
		_, password, found = strings.Cut(string(b), ":")
		return password, false, found
	}
	return "", false, false
}

// wantsPage tells a person's browser opening a page from a program.
func wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	p := r.URL.Path
	if strings.HasPrefix(p, "/api/") || p == "/metrics" || p == "/readyz" || p == "/openapi.json" {
		return false
	}
	return r.Header.Get("Authorization") == "" && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// safeNext returns where to go after signing in: a path on this box, or /.
func safeNext(s string) string {
	if len(s) > 512 || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }) {
		return "/"
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil ||
		!strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/sign-") {
		return "/"
	}
	return s
}
