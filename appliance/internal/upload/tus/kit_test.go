package tus

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box serves the handler over real uploads.
type box struct {
	*uploadtest.Box
	t       *testing.T
	handler http.Handler
	url     string
}

func start(t *testing.T, uc upload.Config, c Config) *box {
	t.Helper()
	b := &box{Box: uploadtest.Open(t, uc), t: t}
	b.serve(c, intake.NewTurns(0, nil, nil))
	return b
}

func (b *box) serve(c Config, turns *intake.Turns) {
	b.t.Helper()
	h, err := New(Deps{
		Log: slog.New(slog.NewTextHandler(&b.Log, nil)), Uploads: b.Uploads, Turns: turns,
		Check: func(s state.Settings) error {
			if s.Model == "none" {
				return io.ErrNoProgress
			}
			return nil
		},
	}, c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.handler, b.url = h, uploadtest.Serve(b.t, h)
}

type reply struct {
	*http.Response
	body string
}

// do sends one request of tus 1.0.0 on a connection of its own.
func (b *box) do(method, path string, body io.Reader, header ...string) reply {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{res, string(all)}
}

// want fails unless a has the status and its body has the text.
func (b *box) want(a reply, status int, has string) {
	b.t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, has) {
		b.t.Fatalf("%s %s: %d %q %v, want %d with %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, a.Header, status, has)
	}
}

// create begins an upload and returns its path and id.
func (b *box) create(header ...string) (path, id string) {
	b.t.Helper()
	a := b.do("POST", Path, nil, header...)
	b.want(a, 201, "")
	path = a.Header.Get("Location")
	if !strings.HasPrefix(path, Path+"/") {
		b.t.Fatalf("Location %q: want a path without a host", path)
	}
	return path, strings.TrimPrefix(path, Path+"/")
}

const part = "application/offset+octet-stream"

// expires reads an Upload-Expires that lies ahead.
func (b *box) expires(a reply) {
	b.t.Helper()
	at, err := time.Parse(time.RFC1123, a.Header.Get("Upload-Expires"))
	if err != nil || !at.After(time.Now()) || !strings.HasSuffix(a.Header.Get("Upload-Expires"), " GMT") {
		b.t.Errorf("%s: Upload-Expires %q", a.Request.Method, a.Header.Get("Upload-Expires"))
	}
}
