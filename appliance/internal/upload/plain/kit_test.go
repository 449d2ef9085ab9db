package plain

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// view is what these tests show of an upload.
type view struct {
	ID, Status, SHA256   string
	Received, Contiguous int64
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
		View: func(i upload.Info) any {
			return view{i.ID, string(i.Status), i.SHA256, i.Received, i.Contiguous}
		},
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

type answer struct {
	*http.Response
	body string
}

// do sends one request on a connection of its own.
func (b *box) do(method, path string, body io.Reader, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+Path+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 20 * time.Second}
	res, err := tr.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res, string(all)}
}

// upload reads an answer that shows an upload.
func (b *box) upload(a answer, status int) view {
	b.t.Helper()
	var v view
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.StatusCode != status {
		b.t.Fatalf("%d %s, want %d and an upload (%v)", a.StatusCode, a.body, status, err)
	}
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Location") != Path+"/"+v.ID {
		b.t.Fatalf("headers %v", a.Header)
	}
	return v
}

// problem reads an answer that tells what is wrong.
func (b *box) problem(a answer, status int, has string) (about view) {
	b.t.Helper()
	var p struct {
		Title, Detail string
		Status        int
		Upload        view
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		b.t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	if a.StatusCode != status || p.Status != status || p.Title == "" || !strings.Contains(p.Detail, has) || a.Header.Get("Content-Type") != "application/problem+json" {
		b.t.Fatalf("%d %s (%s), want a problem %d with %q", a.StatusCode, a.body, a.Header.Get("Content-Type"), status, has)
	}
	return p.Upload
}

func (b *box) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&b.Log, nil)) }

func record() *httptest.ResponseRecorder { return httptest.NewRecorder() }
