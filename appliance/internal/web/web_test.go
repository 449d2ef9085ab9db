package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestBuiltFromTheseSources compares the hashes that the build wrote with the
// sources as they are now.
func TestBuiltFromTheseSources(t *testing.T) {
	var lines []string
	ui := os.DirFS("ui")
	err := fs.WalkDir(ui, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		b, err := fs.ReadFile(ui, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		lines = append(lines, fmt.Sprintf("%s  %s\n", hex.EncodeToString(sum[:]), name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	built, err := fs.ReadFile(dist, "dist/sources.txt")
	if err != nil {
		t.Fatal(err)
	}
	have := strings.SplitAfter(strings.TrimSuffix(string(built), "\n")+"\n", "\n")
	have = have[:len(have)-1]
	for _, l := range lines {
		if !slices.Contains(have, l) {
			t.Errorf("dist was not built from ui/%s as it is now: run npm ci && npm run build in appliance/internal/web/ui", l[66:len(l)-1])
		}
	}
	for _, l := range have {
		if !slices.Contains(lines, l) {
			t.Errorf("dist was built from a ui/%s that is not there now", l[66:len(l)-1])
		}
	}
}

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p.Handler())
	t.Cleanup(s.Close)
	return s
}

// ask does not undo compression by itself.
func askFor(t *testing.T, method, url string, header map[string]string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

func TestAddresses(t *testing.T) {
	s := serve(t)
	for path, want := range map[string]int{
		"/": 200, "/system": 200, "/cameras/yard": 200, "/cameras/yard/": 200, "/files": 200, "/files/j06h": 200, "/try": 200, "/publish": 200, "/favicon.svg": 200,
		"/cameras/": 404, "/files/": 404, "/files/a/b": 404, "/filesx": 404, "/try/": 404, "/publish/yard": 404, "/cameras/a/b": 404, "/nothing": 404, "/index.html": 404, "/sign-in.html": 404,
		"/sources.txt": 404, "/assets/": 404, "/../web.go": 404,
	} {
		res, b := askFor(t, "GET", s.URL+path, nil)
		if res.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, res.StatusCode, want)
		}
		if want == 404 && !bytes.Contains(b, []byte("no page at this address")) {
			t.Errorf("GET %s does not say that nothing is there: %.80q", path, b)
		}
	}
	if res, _ := askFor(t, "POST", s.URL+"/", nil); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

// TestPagesAreWhole follows what the pages refer to, and holds them to the
// content policy: no inline code or style, nothing from elsewhere.
func TestPagesAreWhole(t *testing.T) {
	s := serve(t)
	refs := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	total := 0
	for _, name := range []string{"index.html", "sign-in.html", "not-found.html"} {
		b, err := fs.ReadFile(dist, "dist/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`<style|style="|\son\w+="|<script(?:[^>]*[^>\w])?>[^<]`).Match(b) {
			t.Errorf("%s has inline code or style, which the content policy forbids", name)
		}
		for _, m := range refs.FindAllSubmatch(b, -1) {
			ref := string(m[1])
			if strings.HasPrefix(ref, "#") || strings.HasPrefix(ref, "/api/") {
				continue
			}
			if !strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "//") {
				t.Errorf("%s refers to %s, which is not on this box", name, ref)
				continue
			}
			if res, _ := askFor(t, "GET", s.URL+ref, nil); res.StatusCode != 200 {
				t.Errorf("%s refers to %s: %d", name, ref, res.StatusCode)
			}
		}
	}
	p, _ := New()
	for name, f := range p.files {
		total += len(f.plain)
		for _, m := range regexp.MustCompile(`https?://[^"'\s)]+`).FindAll(f.plain, -1) {
			if string(m) != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s: the pages must work offline", name, m)
			}
		}
	}
	if total > 150_000 {
		t.Errorf("the pages' files hold %d bytes: keep them under 150 kB", total)
	}
}

func TestCachingAndCompression(t *testing.T) {
	s := serve(t)
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	hashed := regexp.MustCompile(`^/assets/[\w.-]+-[\w-]{8}\.(js|css)$`)
	paths := []string{"/", "/favicon.svg"}
	for name := range p.files {
		if strings.HasPrefix(name, "/assets/") {
			if !hashed.MatchString(name) {
				t.Errorf("%s is served as immutable, but its name carries no hash", name)
			}
			paths = append(paths, name)
		}
	}
	for _, at := range paths {
		plain, body := askFor(t, "GET", s.URL+at, nil)
		want := ask
		if strings.HasPrefix(at, "/assets/") {
			want = forever
		}
		if got := plain.Header.Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control %q, want %q", at, got, want)
		}
		packed, z := askFor(t, "GET", s.URL+at, map[string]string{"Accept-Encoding": "br, gzip;q=0.5"})
		if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%s was not compressed: %v", at, packed.Header)
		}
		zr, err := gzip.NewReader(bytes.NewReader(z))
		if err != nil {
			t.Fatal(err)
		}
		if unpacked, err := io.ReadAll(zr); err != nil || !bytes.Equal(unpacked, body) {
			t.Errorf("%s: compressed and plain differ (%v)", at, err)
		}
		if refused, _ := askFor(t, "GET", s.URL+at, map[string]string{"Accept-Encoding": "gzip;q=0"}); refused.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: gzip sent though refused", at)
		}
		tag := plain.Header.Get("ETag")
		if tag == packed.Header.Get("ETag") {
			t.Errorf("%s: both encodings carry the tag %s", at, tag)
		}
		same, b := askFor(t, "GET", s.URL+at, map[string]string{"If-None-Match": `"other", W/` + tag})
		if same.StatusCode != 304 || len(b) != 0 {
			t.Errorf("%s: %d with %d bytes for a known tag", at, same.StatusCode, len(b))
		}
		if head, b := askFor(t, "HEAD", s.URL+at, nil); len(b) != 0 || head.ContentLength != int64(len(body)) {
			t.Errorf("%s: HEAD tells %d bytes, GET has %d", at, head.ContentLength, len(body))
		}
	}
}

func TestSignInPage(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.SignIn(w, httptest.NewRequest("GET", "/sign-in", nil), 401, `/cameras/"><script>`, `The <b>password</b> is wrong.`)
	page := w.Body.String()
	if w.Code != 401 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d, Cache-Control %q", w.Code, w.Header().Get("Cache-Control"))
	}
	for _, part := range []string{`value="/cameras/&#34;&gt;&lt;script&gt;"`, `The &lt;b&gt;password&lt;/b&gt; is wrong.`, `aria-describedby="wrong"`, `method="post"`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %s:\n%s", part, page)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("the sign-in page needs a script")
	}
	w = httptest.NewRecorder()
	p.SignIn(w, httptest.NewRequest("GET", "/sign-in", nil), 200, "/", "")
	if strings.Contains(w.Body.String(), `role="alert"`) {
		t.Error("an alert without a message")
	}
}

func FuzzAcceptsGzip(f *testing.F) {
	for _, s := range []string{"gzip", "gzip;q=0", "*;q=0.1", "br,*", ";;,,q=", "gzip;q=nan"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if acceptsGzip([]string{s}) && !strings.ContainsAny(s, "*gG") {
			t.Errorf("%q does not accept gzip", s)
		}
	})
}
