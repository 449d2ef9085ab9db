package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const testPassword = "correct horse"

// cameras is a set of cameras in memory: the real ones are the business of
// other packages, and these routes only pass on what they are told.
type cameras struct {
	mu       sync.Mutex
	list     []Camera
	watchers map[int]func(Event)
	next     int
	restarts []string
}

func newCameras(ids ...string) *cameras {
	c := &cameras{watchers: make(map[int]func(Event))}
	for _, id := range ids {
		c.list = append(c.list, Camera{
			ID: id, Name: strings.ToUpper(id), State: "playing", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Objects: []Object{}, Ledger: Ledger{Decoded: 10, Inferred: 6, SkippedMotion: 2, Dropped: 1, Pending: 1}.Settle(),
		})
	}
	return c
}

func (c *cameras) List() []Camera {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Camera(nil), c.list...)
}

func (c *cameras) Restart(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restarts = append(c.restarts, id)
	return nil
}

func (c *cameras) Watch(deliver func(Event)) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	n := c.next
	c.watchers[n] = deliver
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, n)
	}
}

func (c *cameras) send(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watchers {
		w(e)
	}
}

func (c *cameras) watching() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watchers)
}

// logs collects what is logged.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type box struct {
	cameras *cameras
	logs    *logs
	url     string
	stop    func() error // ends Serve and returns what it said
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) })
}

func testDeps(c *cameras, l *logs) Deps {
	return Deps{
		Version: "test", Log: slog.New(slog.NewTextHandler(l, nil)), Cameras: c, Password: testPassword,
		Hardware: func(context.Context) (Hardware, error) {
			return Hardware{
				Decoders:     []Element{{Codec: "h264", Element: "avdec_h264", Proven: true, Chosen: true}, {Codec: "h264", Element: "vah264dec", Reason: "no /dev/dri"}},
				Encoders:     []Element{},
				Accelerators: []Accelerator{{Name: "CPU", Proven: true}},
				Cameras:      []CaptureDevice{},
				Sandbox:      Sandbox{LandlockABI: 1, Seccomp: true, Missing: []string{"Landlock for TCP"}},
			}, nil
		},
		Models: func(context.Context) ([]Model, error) { return nil, nil },
		System: func() System { return System{Version: "test", Loops: []Loop{}} },
		Live: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				return
			}
			fmt.Fprintf(w, "live %s %s %s %d", r.Method, r.PathValue("id"), r.PathValue("session"), len(b))
		}),
		Jobs: newJobs(), Workflows: newWorkflows(), Traces: traces{}, Uploads: newUploads(), Tus: echo("tus"), Bodies: echo("bodies"), Channel: echo("channel"), Session: echo("session"), Sessions: &workerSessions{},
		Web: text("page"), Metrics: text("metrics"), Healthz: text("alive"), Readyz: text("ready"),
		SignIn: func(w http.ResponseWriter, _ *http.Request, status int, next, message string) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "sign in, then %s: %s", next, message)
		},
	}
}

// start serves the real handler on a free port of the loopback address.
func start(t *testing.T, change func(*Deps), ids ...string) *box {
	t.Helper()
	b := &box{cameras: newCameras(ids...), logs: &logs{}}
	d := testDeps(b.cameras, b.logs)
	if change != nil {
		change(&d)
	}
	h, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, h, d.Log, l) }()
	b.url = "http://" + l.Addr().String()
	b.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return b
}

type answer struct {
	*http.Response
	body string
}

// do sends one request on a connection of its own and follows no redirect.
func (b *box) do(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(all)}
}

// detail reads a problem's detail, and fails when the answer is none.
func (a answer) detail(t *testing.T) string {
	t.Helper()
	var p struct {
		Status int
		Title  string
		Detail string
	}
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("%d with Content-Type %q, want a problem: %s", a.StatusCode, ct, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != a.StatusCode || p.Title == "" || p.Detail == "" {
		t.Fatalf("status %d, but the problem says %+v", a.StatusCode, p)
	}
	return p.Detail
}

// elsewhere makes a request look as if it did not come from this box.
var elsewhere = []string{"Host", "watchpost.lan"}
