package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// Pages serves the embedded pages.
type Pages struct {
	files    map[string]*file // by path, with the leading slash
	index    *file
	notFound *file
	signIn   *template.Template
}

// file is one answer, made ready once: it never changes while the box runs.
type file struct {
	kind   string // Content-Type
	cache  string // Cache-Control
	plain  []byte
	packed []byte // gzip; nil when that is no smaller
	tag    string // ETag, without the encoding's mark
}

const (
	forever = "public, max-age=31536000, immutable" // names that carry the hash of their contents
	ask     = "no-cache"                            // kept, but asked for again each time
)

// kinds are the types of files that the pages consist of. The system's own table
// is not asked: it differs from box to box.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// New reads the embedded pages. It fails only when the binary was built from an
// incomplete dist.
func New() (*Pages, error) {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, fmt.Errorf("embedded pages: %w", err)
	}
	return load(root)
}

func load(root fs.FS) (*Pages, error) {
	p := &Pages{files: make(map[string]*file)}
	var signIn string
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		kind, ok := kinds[path.Ext(name)]
		switch {
		case !ok: // sources.txt: for the test, not for browsers
		case name == "sign-in.html":
			signIn = string(b)
		case name == "index.html":
			p.index = newFile(kind, ask, b)
		case name == "not-found.html":
			p.notFound = newFile(kind, ask, b)
		case strings.HasPrefix(name, "assets/"):
			p.files["/"+name] = newFile(kind, forever, b)
		default:
			p.files["/"+name] = newFile(kind, ask, b)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded pages: %w", err)
	}
	if p.index == nil || p.notFound == nil || signIn == "" {
		return nil, fmt.Errorf("embedded pages are incomplete: build appliance/internal/web/ui")
	}
	if p.signIn, err = template.New("sign-in").Parse(signIn); err != nil {
		return nil, fmt.Errorf("embedded sign-in page: %w", err)
	}
	return p, nil
}

func newFile(kind, cache string, b []byte) *file {
	sum := sha256.Sum256(b)
	f := &file{kind: kind, cache: cache, plain: b, tag: hex.EncodeToString(sum[:8])}
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level exists
	_, _ = w.Write(b)                                     // memory takes all
	_ = w.Close()
	if z.Len() < len(b) {
		f.packed = z.Bytes()
	}
	return f
}

// Handler serves the pages: their files, one document for the addresses that
// the script in it tells apart, and a page that says so for all others.
func (p *Pages) Handler() http.Handler { return http.HandlerFunc(p.serve) }

func (p *Pages) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Pages are read with GET.", http.StatusMethodNotAllowed)
		return
	}
	if f, ok := p.files[r.URL.Path]; ok {
		f.serve(w, r, http.StatusOK)
		return
	}
	if isPage(r.URL.Path) {
		p.index.serve(w, r, http.StatusOK)
		return
	}
	p.notFound.serve(w, r, http.StatusNotFound)
}

// isPage tells the addresses of ui/src/main.ts.
func isPage(at string) bool {
	switch at {
	case "/", "/system", "/files", "/try", "/publish":
		return true
	}
	id, ok := strings.CutPrefix(at, "/cameras/")
	if !ok {
		id, ok = strings.CutPrefix(at, "/files/")
	}
	id = strings.TrimSuffix(id, "/")
	return ok && id != "" && !strings.Contains(id, "/")
}

func (f *file) serve(w http.ResponseWriter, r *http.Request, status int) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", f.cache)
	body, tag := f.plain, `"`+f.tag+`"`
	if f.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			body, tag = f.packed, `"`+f.tag+`-gz"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", tag)
	if status == http.StatusOK && matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the browser went away
	}
}

// matches compares weakly, as RFC 9110 13.1.2 has it for If-None-Match.
func matches(header, tag string) bool {
	for t := range strings.SplitSeq(header, ",") {
		t = strings.TrimSpace(t)
		if t == "*" || strings.TrimPrefix(t, "W/") == tag {
			return true
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110 12.5.3); a weight of 0 refuses.
func acceptsGzip(values []string) bool {
	any := false
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, weight, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "gzip" && name != "*" {
				continue
			}
			q := 1.0
			if s, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q="); ok {
				var err error
				if q, err = strconv.ParseFloat(s, 64); err != nil {
					q = 0
				}
			}
			if name == "gzip" {
				return q > 0
			}
			any = q > 0
		}
	}
	return any
}

// SignIn writes the sign-in page; it works without scripts. next is a path on
// this box, message may be empty.
func (p *Pages) SignIn(w http.ResponseWriter, r *http.Request, status int, next, message string) {
	var b bytes.Buffer
	if err := p.signIn.Execute(&b, struct{ Next, Message string }{next, message}); err != nil {
		// The template holds two strings: a test would have met this.
		http.Error(w, "The sign-in page could not be written.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kinds[".html"])
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = b.WriteTo(w) // the browser went away
	}
}
