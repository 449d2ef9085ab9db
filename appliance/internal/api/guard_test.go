package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// altered changes one bit or more of a token's signature, whatever it was.
func altered(cookie string) string {
	b := []byte(cookie)
	if i := len(b) - 10; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func TestWhoGetsIn(t *testing.T) {
	b := start(t, nil, "yard")
	const whep = "/api/v1/cameras/yard/whep"
	signIn := b.do(t, "POST", "/sign-in", url.Values{"password": {testPassword}, "next": {"/cameras/yard"}}.Encode(),
		append(elsewhere, "Content-Type", "application/x-www-form-urlencoded")...)
	if signIn.StatusCode != 303 || signIn.Header.Get("Location") != "/cameras/yard" {
		t.Fatalf("sign-in: %d to %q: %s", signIn.StatusCode, signIn.Header.Get("Location"), signIn.body)
	}
	set := signIn.Header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Lax", "Path=/", "Expires="} {
		if !strings.Contains(set, part) {
			t.Errorf("the cookie lacks %s: %s", part, set)
		}
	}
	cookie, _, _ := strings.Cut(set, ";")
	for _, c := range []struct {
		name, method, path string
		header             []string
		status             int
	}{
		{"loopback", "GET", "/api/v1/cameras", nil, 200},
		{"loopback by name", "GET", "/api/v1/cameras", []string{"Host", "localhost:80"}, 200},
		{"loopback, changing", "POST", whep, nil, 200},
		{"loopback, own page", "POST", whep, []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"loopback, own page, old browser", "POST", whep, []string{"Origin", "http://localhost", "Host", "localhost"}, 200},
		{"rebound name", "GET", "/api/v1/cameras", []string{"Host", "evil.example"}, 401},
		{"name like a loopback's", "GET", "/api/v1/cameras", []string{"Host", "127.0.0.1.evil.example"}, 401},
		{"proxy", "GET", "/api/v1/cameras", []string{"X-Forwarded-For", "10.0.0.1"}, 401},
		{"proxy, standard", "GET", "/api/v1/cameras", []string{"Forwarded", "for=10.0.0.1"}, 401},
		{"proxy, real ip", "GET", "/api/v1/cameras", []string{"X-Real-IP", "10.0.0.1"}, 401},
		{"another site's form", "POST", "/api/v1/cameras/yard/restart", []string{"Origin", "http://evil.example"}, 403},
		{"another site's script", "POST", whep, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, 401},
		{"another site's image", "GET", "/api/v1/cameras", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 401},
		{"another site's link", "GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"another site's frame", "GET", "/metrics", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 401},

		{"elsewhere", "GET", "/api/v1/cameras", elsewhere, 401},
		{"elsewhere, video", "POST", whep, elsewhere, 401},
		{"elsewhere, video's end", "DELETE", whep + "/s", elsewhere, 401},
		{"elsewhere, metrics", "GET", "/metrics", elsewhere, 401},
		{"elsewhere, readiness", "GET", "/readyz", elsewhere, 401},
		{"elsewhere, document", "GET", "/openapi.json", elsewhere, 401},
		{"elsewhere, events", "GET", "/api/v1/events", elsewhere, 401},
		{"elsewhere, options", "OPTIONS", whep, elsewhere, 401},
		{"elsewhere, preflight", "OPTIONS", whep, append([]string{"Origin", "http://other", "Access-Control-Request-Method", "POST"}, elsewhere...), 200},
		{"elsewhere, page", "GET", "/cameras/yard", append([]string{"Accept", "text/html,*/*"}, elsewhere...), 303},
		{"elsewhere, life", "GET", "/healthz", elsewhere, 200},
		{"elsewhere, sign-in", "GET", "/sign-in", elsewhere, 200},
		{"elsewhere, static file", "GET", "/assets/x.css", elsewhere, 200},
		{"elsewhere, path games", "GET", "/assets/../api/v1/cameras", elsewhere, 401},

		{"bearer", "GET", "/api/v1/cameras", append([]string{"Authorization", "Bearer " + testPassword}, elsewhere...), 200},
		{"bearer, video", "POST", whep, append([]string{"Authorization", "bearer " + testPassword}, elsewhere...), 200},
		{"bearer, from another site", "POST", whep, append([]string{"Authorization", "Bearer " + testPassword, "Origin", "http://other"}, elsewhere...), 200},
		{"basic", "GET", "/api/v1/cameras", append([]string{"Authorization", basic("anybody", testPassword)}, elsewhere...), 200},
		{"basic, from another site", "POST", whep, append([]string{"Authorization", basic("", testPassword), "Origin", "http://other"}, elsewhere...), 403},
		{"wrong bearer", "GET", "/api/v1/cameras", append([]string{"Authorization", "Bearer x"}, elsewhere...), 401},
		{"no scheme", "GET", "/api/v1/cameras", append([]string{"Authorization", testPassword}, elsewhere...), 401},

		{"cookie", "GET", "/api/v1/cameras", append([]string{"Cookie", cookie}, elsewhere...), 200},
		{"cookie, changing", "POST", whep, append([]string{"Cookie", cookie, "Origin", "http://watchpost.lan"}, elsewhere...), 200},
		{"cookie, from another site", "POST", whep, append([]string{"Cookie", cookie, "Origin", "http://evil.example"}, elsewhere...), 403},
		{"cookie, altered", "GET", "/api/v1/cameras", append([]string{"Cookie", altered(cookie)}, elsewhere...), 401},
		{"cookie, empty", "GET", "/api/v1/cameras", append([]string{"Cookie", cookieName + "="}, elsewhere...), 401},
	} {
		a := b.do(t, c.method, c.path, "", c.header...)
		if a.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, a.StatusCode, a.body, c.status)
			continue
		}
		switch c.status {
		case 401:
			a.detail(t)
			if a.Header.Get("WWW-Authenticate") != `Bearer realm="watchpost"` {
				t.Errorf("%s: WWW-Authenticate %q", c.name, a.Header.Get("WWW-Authenticate"))
			}
		case 303:
			if a.Header.Get("Location") != "/sign-in?next=%2Fcameras%2Fyard" {
				t.Errorf("%s: to %s", c.name, a.Header.Get("Location"))
			}
		}
	}

	out := b.do(t, "POST", "/sign-out", "", append([]string{"Cookie", cookie}, elsewhere...)...)
	if out.StatusCode != 303 || !strings.Contains(out.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("sign-out: %d %v", out.StatusCode, out.Header)
	}
	if a := b.do(t, "GET", "/api/v1/cameras", "", append([]string{"Cookie", cookie}, elsewhere...)...); a.StatusCode != 401 {
		t.Errorf("the signed-out cookie: %d", a.StatusCode)
	}
}

func TestAlwaysAsk(t *testing.T) {
	b := start(t, func(d *Deps) { d.AlwaysAsk = true }, "yard")
	if a := b.do(t, "GET", "/api/v1/cameras", ""); a.StatusCode != 401 {
		t.Errorf("%d on loopback", a.StatusCode)
	}
}

func TestWithoutPasswordNobodyFromElsewhere(t *testing.T) {
	b := start(t, func(d *Deps) { d.Password = "" }, "yard")
	for _, h := range [][]string{nil, {"Authorization", "Bearer "}, {"Authorization", basic("", "")}} {
		a := b.do(t, "GET", "/api/v1/cameras", "", append(h, elsewhere...)...)
		if a.StatusCode != 401 || !strings.Contains(a.detail(t), "no password yet") {
			t.Errorf("%v: %d %s", h, a.StatusCode, a.body)
		}
	}
	a := b.do(t, "POST", "/sign-in", "password=", append([]string{"Content-Type", "application/x-www-form-urlencoded"}, elsewhere...)...)
	if a.StatusCode != 403 || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("sign-in without a password: %d %v", a.StatusCode, a.Header)
	}
}

func TestGuessingIsDelayed(t *testing.T) {
	b := start(t, nil, "yard")
	guess := func(password string) answer {
		return b.do(t, "POST", "/sign-in", url.Values{"password": {password}}.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, elsewhere...)...)
	}
	for n := range freeFailures + 1 {
		if a := guess("wrong"); a.StatusCode != 401 || !strings.Contains(a.body, "The password is wrong.") {
			t.Fatalf("guess %d: %d %s", n, a.StatusCode, a.body)
		}
	}
	a := guess(testPassword)
	if a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" || !strings.Contains(a.body, "try again in 1 s") {
		t.Errorf("guess in the delay: %d, Retry-After %q, %s", a.StatusCode, a.Header.Get("Retry-After"), a.body)
	}
	if a := b.do(t, "GET", "/api/v1/cameras", "", append([]string{"Authorization", "Bearer x"}, elsewhere...)...); a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("the API knows nothing of the delay: %d %v", a.StatusCode, a.Header)
	}
}

func TestLimiterDelaysGrowAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		no, yes := func() bool { return false }, func() bool { return true }
		for range freeFailures {
			if _, wait := l.try("10.0.0.1:5", no); wait != 0 {
				t.Fatalf("delayed by %v within the free tries", wait)
			}
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			want *= time.Second
			if _, wait := l.try("10.0.0.1:6", no); wait != 0 {
				t.Fatalf("still %v to wait", wait)
			}
			if ok, wait := l.try("10.0.0.1:7", yes); ok || wait != want {
				t.Fatalf("wait %v (%v), want %v", wait, ok, want)
			}
			time.Sleep(want)
		}
		if ok, _ := l.try("10.0.0.2:1", yes); !ok {
			t.Error("another address had to wait")
		}
		if ok, _ := l.try("10.0.0.1:1", yes); !ok || len(l.failures) != 0 {
			t.Error("the right password after the wait did not clear the record")
		}
		for n := range knownFailures + 10 {
			l.try(fmt.Sprintf("10.1.%d.%d:1", n/256, n%256), no)
			time.Sleep(time.Millisecond)
		}
		if len(l.failures) != knownFailures {
			t.Errorf("%d addresses remembered, want at most %d", len(l.failures), knownFailures)
		}
		if _, known := l.failures[addressKey("10.1.0.0:1")]; known {
			t.Error("the oldest did not make room")
		}
	})
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions("a")
		token, ends := s.issue()
		for i := range token {
			for _, c := range "AZaz09-_" {
				if forged := token[:i] + string(c) + token[i+1:]; forged != token && s.valid(forged) {
					t.Fatalf("%s is valid, but only %s was issued", forged, token)
				}
			}
		}
		if !s.valid(token) || !newSessions("a").valid(token) {
			t.Error("a restart must not sign anybody out")
		}
		if newSessions("b").valid(token) {
			t.Error("a new password must sign everybody out")
		}
		time.Sleep(time.Until(ends) + time.Second)
		if s.valid(token) {
			t.Error("valid after its end")
		}
		first, _ := s.issue()
		s.revoke(first)
		if s.valid(first) {
			t.Error("valid after sign-out")
		}
		for range knownRevoked + 5 {
			token, _ := s.issue()
			s.revoke(token)
		}
		if len(s.revoked) > knownRevoked {
			t.Errorf("%d sign-outs remembered", len(s.revoked))
		}
	})
}

func FuzzGuardParsers(f *testing.F) {
	for _, s := range []string{"/", "//evil", "/\\evil", "/cameras/a?b=c", "http://x/", "/sign-in", "[::1]:80", "127.0.0.1", "localhost:1", "Bearer x", "Basic eDp5", "/%2f/evil", "/a\tb", "1.2.3.4:5", "fe80::1%eth0"} {
		f.Add(s)
	}
	s := newSessions("x")
	f.Fuzz(func(t *testing.T, in string) {
		next := safeNext(in)
		base, _ := url.Parse("http://box.example/sign-in")
		u, err := base.Parse(next)
		if err != nil || u.Host != "box.example" || u.Scheme != "http" {
			t.Errorf("safeNext(%q) = %q leads to %v (%v)", in, next, u, err)
		}
		// Browsers read a backslash as a slash and leave tabs out.
		if strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") {
			t.Errorf("safeNext(%q) = %q", in, next)
		}
		if loopbackHost(in) && !strings.ContainsAny(in, "1lLoO") {
			t.Errorf("%q is no loopback name", in)
		}
		if p, bearer, ok := credential(in); ok && bearer && p == "" {
			t.Errorf("credential(%q) is an empty token", in)
		}
		addressKey(in)
		if s.valid(in) {
			t.Errorf("%q is a valid session", in)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = in
		if local(r) {
			t.Error("local without a connection")
		}
	})
}
