package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

// door is the whole front door, guard, timeouts and all, over real uploads.
type door struct {
	*uploadtest.Box
	url  string
	stop func() error // ends api.Serve
}

func openDoor(t *testing.T, pages http.Handler) *door {
	t.Helper()
	d := &door{Box: uploadtest.Open(t, upload.Config{})}
	b := &box{p: Program{Log: slog.New(slog.NewTextHandler(&d.Log, nil))}, registry: prometheus.NewRegistry()}
	u := &uploads{all: d.Uploads, jobs: func(string) []string { return []string{"j1"} }}
	tus, plain, err := b.roads(u, 1<<30, func(state.Settings) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	none := http.NotFoundHandler()
	h, err := api.New(api.Deps{
		Log: b.p.Log, Cameras: &cameras{watchers: make(map[int]func(api.Event))}, Uploads: u, Jobs: &jobs{}, Tus: tus, Bodies: plain, Channel: none, Session: none, Sessions: &peerSessions{}, Workflows: workflows{}, Traces: traces{},
		Hardware: func(context.Context) (api.Hardware, error) { return api.Hardware{}, nil },
		Models:   func(context.Context) ([]api.Model, error) { return nil, nil },
		System:   func() api.System { return api.System{} },
		Live:     none, Web: pages, Metrics: none, Healthz: none, Readyz: none,
		SignIn: func(w http.ResponseWriter, _ *http.Request, status int, _, _ string) { w.WriteHeader(status) },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, h, b.p.Log, l) }()
	d.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	d.url = "http://" + l.Addr().String()
	return d
}

func (d *door) ask(t *testing.T, method, path string, body io.Reader, into any, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
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
	if into != nil {
		if err := json.Unmarshal(all, into); err != nil {
			t.Fatalf("%s %s: %d %s: %v", method, path, res.StatusCode, all, err)
		}
	}
	return res.StatusCode
}

// One id on every road: begun with one, gone on with over another, shown by the third.
func TestOneUploadOnTwoRoads(t *testing.T) {
	d := openDoor(t, http.NotFoundHandler())
	data, sum := uploadtest.Data(1, 2<<20)
	const cut = 1 << 20 // far more than a request that carries no file may bring
	var u api.Upload
	if status := d.ask(t, "PUT", "/api/v1/uploads/walk.mp4", bytes.NewReader(data[:cut]), &u, "Content-Range", fmt.Sprintf("bytes 0-%d/%d", cut-1, len(data))); status != 202 {
		t.Fatalf("PUT: %d", status)
	}
	if u.Name != "walk.mp4" || u.Contiguous != cut || *u.Size != int64(len(data)) || u.Status != "receiving" || u.Expires == nil || len(u.Have) != 1 || u.Have[0] != [2]int64{0, cut} || u.Jobs[0] != "j1" {
		t.Errorf("%+v", u)
	}
	if status := d.ask(t, "PATCH", u.Roads.Tus, bytes.NewReader(data[cut:]), nil, "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset", fmt.Sprint(cut)); status != 204 {
		t.Fatalf("PATCH: %d", status)
	}
	d.Complete(u.ID)
	if status := d.ask(t, "GET", u.Roads.Body, nil, &u); status != 200 || u.Status != "complete" || u.SHA256 != sum || u.Completed == nil || u.Left != nil {
		t.Errorf("%d %+v", status, u)
	}
	if status := d.ask(t, "DELETE", u.Roads.Body, nil, nil); status != 204 {
		t.Errorf("DELETE: %d", status)
	}
	for path, status := range map[string]int{"/api/v1/uploads/u0000000000000000000000000": 404, "/api/v1/uploads/x": 404} {
		var p struct{ Detail string }
		if got := d.ask(t, "GET", path, nil, &p); got != status || p.Detail == "" {
			t.Errorf("%s: %d %q", path, got, p.Detail)
		}
	}
}

// A box that goes down does not wait for files that arrive, and keeps what came of them.
func TestGoingDownKeepsWhatArrives(t *testing.T) {
	d := openDoor(t, http.NotFoundHandler())
	var conns []net.Conn
	for _, head := range []string{"PUT /api/v1/uploads/x", "POST /api/v1/tus"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 1000\r\nContent-Type: application/offset+octet-stream\r\n\r\n0123456789", head)
		conns = append(conns, c)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if all := d.List(); len(all) == 2 && all[0].Contiguous == 10 && all[1].Contiguous == 10 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", d.List())
		}
	}
	if err := d.stop(); err != nil || strings.Contains(d.Log.String(), "cut off") {
		t.Errorf("%v; log %s", err, d.Log.String())
	}
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if all, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 503 ") || !strings.Contains(string(all), "Retry-After: 5") {
			t.Errorf("told %s, %v", all, err)
		}
	}
	d.Reopen()
	for _, i := range d.List() {
		if i.Contiguous != 10 || i.Status != state.UploadReceiving {
			t.Errorf("%+v", i)
		}
	}
}

const pageScript = `
window.told = ''
const n = 4 << 20
const bytes = new Uint8Array(n)
for (let i = 0; i < n; i++) bytes[i] = (i * 31 + (i >> 8)) % 251
const file = new File([new Blob([bytes])], 'page.mp4', { type: 'video/mp4', lastModified: 1 })
window.send = async (stopAt) => {
  const upload = new tus.Upload(file, {
    endpoint: '/api/v1/tus', chunkSize: 128 << 10, metadata: { filename: file.name, filetype: file.type },
    retryDelays: [0, 100, 500], removeFingerprintOnSuccess: true,
    onChunkComplete(size, accepted) {
      if (stopAt && accepted >= stopAt) upload.abort().then(() => { window.told = 'stopped at ' + accepted + ' ' + upload.url })
    },
    onError(e) { window.told = 'error ' + e },
    onSuccess() { window.told = 'success ' + upload.url },
  })
  const before = await upload.findPreviousUploads()
  window.found = before.length
  if (before.length) upload.resumeFromPreviousUpload(before[0])
  upload.start()
}
`

func pageBytes() []byte {
	b := make([]byte, 4<<20)
	for i := range b {
		b[i] = byte((i*31 + i>>8) % 251)
	}
	return b
}

// A page of the box, with the box's own strict policy for pages, pushes a file, is closed in
// the middle and opened again.
func TestTusInChromium(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: tus was not tried in a browser")
	}
	client := uploadtest.TusClient(t, "../upload/tus/testdata/client")
	script, err := os.ReadFile(filepath.Join(client, "node_modules", "tus-js-client", "dist", "tus.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/": `<!doctype html><script src="/tus.js"></script><script src="/page.js"></script>`, "/tus.js": string(script), "/page.js": pageScript}
	d := openDoor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if w.Header().Set("Content-Type", "text/html"); strings.HasSuffix(r.URL.Path, ".js") {
			w.Header().Set("Content-Type", "text/javascript")
		}
		io.WriteString(w, body)
	}))
	o := append([]chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.Headless},
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), o...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	defer func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("end the browser: %v", err)
		}
	}()
	chromedp.ListenTarget(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page threw: %v", e.ExceptionDetails)
		}
	})
	run := func(actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	told := func(prefix string) (text string) {
		t.Helper()
		for end := time.Now().Add(40 * time.Second); !strings.HasPrefix(text, prefix); time.Sleep(50 * time.Millisecond) {
			if run(chromedp.Evaluate(`window.told`, &text)); time.Now().After(end) || strings.HasPrefix(text, "error") {
				t.Fatalf("the page says %q, want %q", text, prefix)
			}
		}
		return text
	}

	run(chromedp.Navigate(d.url+"/"), chromedp.Evaluate(`send(1 << 20); 0`, nil))
	told("stopped at ")
	all := d.List()
	if len(all) != 1 || all[0].Contiguous < 1<<20 || all[0].Status != state.UploadReceiving {
		t.Fatalf("after the stop: %+v", all)
	}
	var found int
	run(chromedp.Navigate(d.url+"/"), chromedp.Evaluate(`send(0); 0`, nil))
	if text := told("success "); !strings.HasSuffix(text, "/api/v1/tus/"+all[0].ID) {
		t.Errorf("%q, but the upload was %s", text, all[0].ID)
	}
	if run(chromedp.Evaluate(`window.found`, &found)); found != 1 {
		t.Errorf("the page found %d earlier uploads", found)
	}
	want := sha256.Sum256(pageBytes())
	if i := d.Complete(all[0].ID); i.SHA256 != hex.EncodeToString(want[:]) || i.Name != "page.mp4" {
		t.Errorf("%+v", i)
	}
}
