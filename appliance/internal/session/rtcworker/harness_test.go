package rtcworker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/watchpost/watchpost/appliance/internal/health"
	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session"
	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/channel"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	workers "github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// patience is how long tests wait for what has to come.
const patience = time.Minute

// text is a log that can be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// box is the sessions' side of a box: real connections, real uploads, real processes.
type box struct {
	*Server
	t        testing.TB
	url      string
	log      *text
	uploads  *uploadtest.Box
	registry *prometheus.Registry
	peers    *peer.Factory

	mu   sync.Mutex
	pids []int // of every worker that was started
}

type setting struct {
	config Config
	peers  peer.Config
	upload upload.Config
	// prepare stands in the way of every worker's start; nil: nothing does.
	prepare func(*link.Start) error
	// panics has the log panic at this message; empty: at none.
	panics string
}

// trap is a log that panics.
type trap struct {
	slog.Handler
	at string
}

func (t trap) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == t.at {
		panic("a trap: " + t.at)
	}
	return t.Handler.Handle(ctx, r)
}

func (t trap) WithAttrs(a []slog.Attr) slog.Handler { return trap{t.Handler.WithAttrs(a), t.at} }

func start(t testing.TB, o setting) *box {
	t.Helper()
	b := &box{t: t, log: &text{}, registry: prometheus.NewRegistry(), uploads: uploadtest.Open(t, o.upload)}
	log := slog.New(trap{slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}), o.panics})
	o.peers.UDP = "127.0.0.1:0"
	var err error
	if b.peers, err = peer.New(slog.New(slog.DiscardHandler), o.peers); err != nil {
		t.Fatal(err)
	}
	spawner, err := workers.New(workers.Config{Env: []string{stubEnv + "=1"}, Args: []string{"worker"}, HelloTimeout: patience, BeatTimeout: patience}, log)
	if err != nil {
		t.Fatal(err)
	}
	meter, err := health.NewMeter(health.Config{}, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	b.Server, err = New(Deps{
		Loops: func(name string) Loop { return meter.Loop(name) },
		Log:   log, Peers: b.peers, Prepare: o.prepare, Queues: &queue.Registry{}, Registerer: b.registry,
		Spawn: func(ctx context.Context, start link.Start, handle func(link.Message)) (Process, error) {
			w, err := spawner.Start(ctx, start, handle, nil)
			if err != nil {
				return nil, err
			}
			b.mu.Lock()
			b.pids = append(b.pids, w.PID())
			b.mu.Unlock()
			return w, nil
		},
		Receive: func(ctx context.Context, ch session.Channel, r Receiving) error {
			return channel.Serve(ctx, ch, b.uploads, channel.Options{
				Name: r.Name, NoJob: true, Heard: r.Heard, Begun: r.Begun, Failed: r.Failed,
				Complete: func(id string) {
					if path, err := b.uploads.Path(id); err == nil {
						r.Complete(id, path)
					}
				},
			})
		},
		Discard: func(id string) {
			if err := b.uploads.Remove(context.Background(), id); err != nil && !errors.Is(err, upload.ErrNotFound) && !errors.Is(err, upload.ErrGone) {
				t.Errorf("discard %s: %v", id, err)
			}
		},
		Workflow: func(_ context.Context, c Configuration) (*workflow.Graph, error) {
			if c.Named() {
				return nil, &workflow.Refusal{Field: "workflow_configuration.workflow_id", Message: "there is no such workflow"}
			}
			return workflow.Compile(c.Request, func() []workflow.Model { return []workflow.Model{{Name: "motion", Labels: []string{"motion"}}} })
		},
	}, o.config)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(b.Handler())
	web.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelError)
	web.Start()
	b.url = web.URL
	t.Cleanup(func() {
		b.Close()
		web.Close()
		http.DefaultClient.CloseIdleConnections()
		spawner.Close()
		if err := b.peers.Close(); err != nil {
			t.Error(err)
		}
		for _, f := range meter.Figures() {
			if f.Loop != "runtime" {
				t.Errorf("the loop %s is still measured", f.Loop)
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, pid := range b.pids {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
				t.Errorf("worker %d is left", pid)
			}
		}
		if t.Failed() {
			t.Logf("the box's log:\n%s", b.log)
		}
	})
	return b
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// asks is a request for the detection workflow without pictures, paced by acks.
func asks(change ...func(*client.Request)) client.Request {
	r := client.Request{Workflow: client.Detection("motion"), DataOutput: client.Names("*")}
	for _, c := range change {
		c(&r)
	}
	return r
}

// plays has the source be a script.
func plays(format string, args ...any) func(*client.Request) {
	return func(r *client.Request) { r.RTSPURL = "rtsp://camera/x?" + fmt.Sprintf(format, args...) }
}

func (b *box) dial(r client.Request, o client.WorkerOptions) *client.Worker {
	b.t.Helper()
	w, err := client.Initialise(within(b.t), b.url, r, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = w.Close() })
	return w
}

// refused expects a refusal.
func (b *box) refused(r client.Request, o client.WorkerOptions) *client.Refused {
	b.t.Helper()
	w, err := client.Initialise(within(b.t), b.url, r, o)
	var refused *client.Refused
	if err == nil {
		_ = w.Close()
	}
	if !errors.As(err, &refused) {
		b.t.Fatalf("not refused: %v", err)
	}
	return refused
}

// empty waits until no session is left, and checks that nothing else is.
func (b *box) empty() {
	b.t.Helper()
	for end := time.Now().Add(patience); len(b.List()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("sessions are left: %+v", b.List())
		}
	}
	b.Server.mu.Lock()
	inUse := len(b.inUse)
	b.Server.mu.Unlock()
	if inUse != 0 {
		b.t.Errorf("%d uploads are still taken", inUse)
	}
	if n := b.budget.spent(); n != 0 {
		b.t.Errorf("%d bytes of the budget are still taken", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, pid := range b.pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
			b.t.Errorf("worker %d outlives its session", pid)
		}
	}
}

// ended waits for the session's end in the log, and returns its reason.
func (b *box) ended() string {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, line, ok := strings.Cut(b.log.String(), `msg="session ended"`)
		if ok {
			_, reason, _ := strings.Cut(line, "reason=")
			reason, _, _ = strings.Cut(reason, " ")
			return reason
		}
		if time.Now().After(end) {
			b.t.Fatal("no session ended")
		}
	}
}

// finish takes all documents, and checks that they are what a session's have to be:
// without gaps, and closed by the last.
func finish(t testing.TB, w *client.Worker, acks bool) (frames []uint32, last *client.Document) {
	t.Helper()
	last, err := w.Finish(within(t), acks, func(d *client.Document) error {
		if d.Frame > 0 {
			frames = append(frames, d.Frame)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		if f != uint32(i+1) {
			t.Fatalf("document %d is of frame %d", i+1, f)
		}
	}
	if last.Frame != uint32(len(frames)+1) || last.Outputs != nil || last.Metadata != nil {
		t.Errorf("the last message: %+v, behind %d frames", last, len(frames))
	}
	return frames, last
}

// post sends any body.
func (b *box) post(contentType string, body io.Reader) (*http.Response, map[string]any) {
	b.t.Helper()
	res, err := http.Post(b.url+Endpoint, contentType, body)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		b.t.Fatalf("%s: %v", res.Status, err)
	}
	return res, answer
}

// removed waits until the box keeps as many uploads.
func (b *box) keeps(n int) {
	b.t.Helper()
	for end := time.Now().Add(patience); len(b.uploads.List()) != n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%d uploads are kept, want %d", len(b.uploads.List()), n)
		}
	}
}

func film(content string, size int) client.Film {
	data := slices.Grow([]byte(content), size)
	for len(data) < size {
		data = append(data, 0)
	}
	return client.Film{ReaderAt: bytes.NewReader(data), Size: int64(len(data))}
}

// each calls f with every session.
func (b *box) each(f func(*life)) {
	b.Server.mu.Lock()
	defer b.Server.mu.Unlock()
	for _, l := range b.sessions {
		f(l)
	}
}

// until waits until the only session's control loop finds ok.
func (b *box) until(ok func(*life) bool) {
	b.t.Helper()
	var only *life
	b.each(func(l *life) { only = l })
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		answer := make(chan bool, 1)
		if only.tell(func() { answer <- ok(only) }) && <-answer {
			return
		}
		if time.Now().After(end) {
			b.t.Fatal("what was waited for does not come about")
		}
	}
}

// finishFrom takes the documents that are left.
func finishFrom(t testing.TB, w *client.Worker) (n int, last *client.Document) {
	t.Helper()
	last, err := w.Finish(within(t), true, func(*client.Document) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n, last
}

// gather writes the metrics as they are exposed.
func gather(t testing.TB, r *prometheus.Registry, w io.Writer) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			t.Fatal(err)
		}
	}
}
