package mjpeg

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errEnough = errors.New("enough")

// stream serves n pictures, and then holds the connection until the client leaves.
func stream(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=--cut")
		for i := range n {
			p := photo(i)
			fmt.Fprintf(w, "--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(p), p)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

// camera is a server; its address is without credentials.
func camera(t *testing.T, h http.Handler, secure bool) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.URL
}

// as puts credentials into an address.
func as(t *testing.T, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// take reads n pictures and leaves.
func take(t *testing.T, address string, n int, wait time.Duration) (got [][]byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	last := time.Now()
	err = read(ctx, address, wait, func(b []byte, at time.Time) error {
		if at.Before(last) || time.Since(at) > 5*time.Second {
			t.Errorf("arrived %v", at)
		}
		last = at
		if got = append(got, b); len(got) == n {
			return errEnough
		}
		return nil
	})
	return got, err
}

func TestRead(t *testing.T) {
	for _, secure := range []bool{false, true} {
		got, err := take(t, camera(t, stream(3), secure)+"/video?x=1", 3, 10*time.Second)
		if !errors.Is(err, errEnough) || len(got) != 3 {
			t.Fatalf("secure %v: %d pictures, %v", secure, len(got), err)
		}
		for i := range got {
			if !bytes.Equal(got[i], photo(i)) {
				t.Errorf("picture %d differs", i)
			}
		}
	}
}

// digester wants a sign-in by Digest, and checks the answer by the formulas of RFC
// 7616 clause 3.4, written down a second time.
func digester(algorithm, qop string, stales int, next http.Handler) http.Handler {
	const nonce, realm, opaque = "n0nce==", `the "camera"`, "0pa/que"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := challenges(r.Header.Values("Authorization"))
		refuse := func(more string) {
			c := fmt.Sprintf(`Digest realm="the \"camera\"", nonce=%q, opaque=%q%s`, nonce, opaque, more)
			if algorithm != "" {
				c += ", algorithm=" + algorithm
			}
			if qop != "" {
				c += fmt.Sprintf(", qop=%q", qop)
			}
			w.Header().Add("WWW-Authenticate", `Basic realm="x", `+c)
			w.WriteHeader(http.StatusUnauthorized)
		}
		if len(list) != 1 || list[0].scheme != "digest" {
			refuse("")
			return
		}
		if stales > 0 {
			stales--
			refuse(", stale=true")
			return
		}
		p := list[0].params
		kind := map[string]func() hash.Hash{"": md5.New, "MD5": md5.New, "MD5-sess": md5.New, "SHA-256": sha256.New, "SHA-256-sess": sha256.New}[algorithm]
		sum := func(parts ...string) string {
			h := kind()
			io.WriteString(h, strings.Join(parts, ":"))
			return hex.EncodeToString(h.Sum(nil))
		}
		a1 := sum("user", realm, "pa:ss@/?#")
		if strings.HasSuffix(algorithm, "-sess") {
			a1 = sum(a1, nonce, p["cnonce"])
		}
		want := sum(a1, nonce, sum("GET", r.RequestURI))
		if qop != "" {
			want = sum(a1, nonce, p["nc"], p["cnonce"], p["qop"], sum("GET", r.RequestURI))
		}
		if p["response"] != want || p["username"] != "user" || p["realm"] != realm || p["opaque"] != opaque || p["uri"] != r.RequestURI {
			refuse("")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestSignIn(t *testing.T) {
	const password = "pa:ss@/?#"
	basic := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != "user" || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		stream(1)(w, r)
	})
	for name, h := range map[string]http.Handler{
		"basic":        basic,
		"RFC 2069":     digester("", "", 0, stream(1)),
		"MD5":          digester("MD5", "auth", 0, stream(1)),
		"MD5-sess":     digester("MD5-sess", "auth,auth-int", 0, stream(1)),
		"SHA-256":      digester("SHA-256", "auth", 0, stream(1)),
		"SHA-256-sess": digester("SHA-256-sess", "auth", 0, stream(1)),
		"stale":        digester("SHA-256", "auth", 1, stream(1)),
	} {
		t.Run(name, func(t *testing.T) {
			address := camera(t, h, false) + "/axis-cgi/mjpg/video.cgi?resolution=640x480"
			if _, err := take(t, as(t, address, "user", password), 1, 10*time.Second); !errors.Is(err, errEnough) {
				t.Error(err)
			}
			if name == "stale" {
				return
			}
			for who, a := range map[string]string{"wrong": as(t, address, "user", "wrong-one"), "nobody": address} {
				_, err := take(t, a, 1, 10*time.Second)
				var e *Error
				if !errors.As(err, &e) || e.Kind != Refused || strings.Contains(e.Message, "wrong-one") || strings.Contains(e.Message, "user@") {
					t.Errorf("%s: %v", who, err)
				}
			}
		})
	}
}

// The example of RFC 7616 clause 3.9.1, but for the cnonce, which is ours.
func TestDigestHeader(t *testing.T) {
	list := challenges([]string{
		`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
		`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
	})
	h, ok := authorization(list, "Mufasa", "Circle of Life", "/dir/index.html")
	got := challenges([]string{h})
	if !ok || len(list) != 2 || len(got) != 1 || got[0].params["algorithm"] != "SHA-256" || got[0].params["qop"] != "auth" || len(got[0].params["response"]) != 64 {
		t.Errorf("%v: %s", ok, h)
	}
}

func TestRedirects(t *testing.T) {
	seen := make(chan string, 10)
	other := camera(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	}), false)
	other = strings.Replace(other, "127.0.0.1", "localhost", 1)
	mux := http.NewServeMux()
	mux.Handle("/video", stream(1))
	mux.Handle("/moved", http.RedirectHandler("/video?a=b", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusMovedPermanently))
	mux.Handle("/away", http.RedirectHandler(other, http.StatusTemporaryRedirect))
	mux.Handle("/file", http.RedirectHandler("file:///etc/passwd", http.StatusTemporaryRedirect))
	address := camera(t, mux, false)
	if _, err := take(t, address+"/moved", 1, 10*time.Second); !errors.Is(err, errEnough) {
		t.Error(err)
	}
	for path, kind := range map[string]Kind{"/loop": Unsupported, "/file": Unsupported, "/away": Refused} {
		_, err := take(t, as(t, address+path, "user", "secret-word"), 1, 10*time.Second)
		var e *Error
		if !errors.As(err, &e) || e.Kind != kind || strings.Contains(e.Message, "secret-word") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if a := <-seen; a != "" || len(seen) > 0 {
		t.Errorf("another host was told %q", a)
	}
}

func TestHostile(t *testing.T) {
	answer := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, body)
		}
	}
	code := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(n) } }
	raw := func(text string, then func(net.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			io.WriteString(c, text)
			if then != nil {
				then(c)
			}
		}
	}
	hold := func(c net.Conn) { io.Copy(io.Discard, c) } // until the client leaves
	const multi = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=cut\r\n\r\n"
	for name, x := range map[string]struct {
		h    http.HandlerFunc
		kind Kind
		says string
		n    int
	}{
		"single":         {answer("image/jpeg", string(photo(1))), Unsupported, "single pictures", 0},
		"page":           {answer("text/html", "<html>"), Unsupported, "web page", 0},
		"nothing known":  {answer("application/x-foo", "x"), Unsupported, "motion JPEG", 0},
		"not found":      {code(404), NotFound, "path", 0},
		"forbidden":      {code(403), Refused, "403", 0},
		"busy":           {code(503), Unreachable, "503", 0},
		"teapot":         {code(418), Unsupported, "418", 0},
		"no HTTP":        {raw("RTSP/1.0 200 OK\r\n\r\n", nil), Unreachable, "", 0},
		"closed":         {raw("", nil), Unreachable, "closed", 0},
		"silent":         {raw("", hold), Unreachable, "does not answer", 0},
		"silent header":  {raw("HTTP/1.1 200 OK\r\nContent-", hold), Unreachable, "does not answer", 0},
		"silent body":    {raw(multi+"--cut\r\n\r\n"+string(photo(1))+"\r\n", hold), Unreachable, "no picture", 1},
		"ended":          {raw(multi+"--cut\r\n\r\n"+string(photo(1))+"\r\n--cut--\r\n", nil), Unreachable, "closed the connection", 1},
		"cut off":        {raw(multi+"--cut\r\n\r\n"+string(photo(1)[:99]), nil), Unreachable, "closed the connection", 0},
		"large":          {raw(multi+"--cut\r\nContent-Length: 999999999\r\n\r\n", hold), Damaged, "16 MiB", 0},
		"endless header": {raw("HTTP/1.1 200 OK\r\n"+strings.Repeat("X: y\r\n", 1<<15), hold), Unreachable, "", 0},
		"drip": {raw(multi+"--cut\r\n\r\n", func(c net.Conn) {
			for _, b := range photo(1) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}), Unreachable, "no picture", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := as(t, camera(t, x.h, false)+"/live", "user", "secret-word") + "?pwd=hidden-word"
			got, err := take(t, address, 99, time.Second)
			var e *Error
			if !errors.As(err, &e) || e.Kind != x.kind || !strings.Contains(e.Message, x.says) || len(got) != x.n {
				t.Errorf("%d pictures, %v", len(got), err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret-word") || strings.Contains(err.Error(), "hidden-word")) {
				t.Errorf("it tells the password: %v", err)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for address, kind := range map[string]Kind{
		"http://user:secret-word@" + l.Addr().String() + "/x?pwd=secret-word": Unreachable,
		"http://user:secret-word@":            Unsupported,
		"http://user:secr%zzet-word@host/":    Unsupported,
		"ftp://user:secret-word@127.0.0.1/":   Unsupported,
		"https://u:secret-word@127.0.0.1:1/x": Unreachable,
	} {
		_, err := take(t, address, 1, 5*time.Second)
		var e *Error
		if !errors.As(err, &e) || e.Kind != kind || strings.Contains(e.Message, "-word") {
			t.Errorf("%v", err)
		}
	}
	// http where https is spoken, and the other way round.
	plain, secure := camera(t, stream(1), false), camera(t, stream(1), true)
	for _, a := range []string{strings.Replace(plain, "http:", "https:", 1), strings.Replace(secure, "https:", "http:", 1)} {
		_, err := take(t, a, 1, 5*time.Second)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// A receiver that takes its time is no silence of the camera's; a cancel is prompt.
func TestSlowReceiver(t *testing.T) {
	address := camera(t, stream(3), false)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	start := time.Now()
	err := read(ctx, address, 500*time.Millisecond, func([]byte, time.Time) error {
		time.Sleep(700 * time.Millisecond)
		if n++; n == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 3 || time.Since(start) > 10*time.Second {
		t.Errorf("%d pictures, %v, %v", n, err, time.Since(start))
	}
}
