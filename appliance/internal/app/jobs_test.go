package app

import (
	"bufio"
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
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/job"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// pushBox is the push road put together: database, uploads, jobs, real media
// workers, and the front door.
type pushBox struct {
	t    *testing.T
	data string
	up   *upload.Uploads
	jobs *job.Jobs
	url  string
	stop func()
}

func openPushBox(t *testing.T, data string) *pushBox {
	t.Helper()
	p := Program{Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := config.Default()
	cfg.DataDir, cfg.Jobs.Model, cfg.Jobs.PauseForLive = data, config.Motion, false
	must(os.MkdirAll(data, 0o755))
	linkRegistry(t, data)
	db, _, err := state.Open(state.Options{Path: cfg.StateFile(), BackupDir: cfg.BackupDir(), Log: p.Log})
	must(err)
	spawner, err := worker.New(jobWorkerConfig(data, int64(cfg.Jobs.MaxResults)), p.Log)
	must(err)
	files := &pushedFiles{}
	all, err := p.openJobs(jobParts{cfg: cfg, db: db, uploads: files, spawner: spawner, have: newHardware(data, "test", p.Log)})
	must(err)
	dir, err := spool.Open(cfg.UploadsDir())
	must(err)
	up, err := upload.Open(upload.Deps{Log: p.Log, DB: db, Spool: dir, OnComplete: all.Completed, InUse: all.InUse}, upload.Config{})
	must(err)
	files.all = up
	none := http.NotFoundHandler()
	front, err := api.New(api.Deps{
		Version: "test", Log: p.Log, Cameras: &cameras{watchers: map[int]func(api.Event){}},
		Uploads:  &uploads{all: up, jobs: all.OfUpload},
		Jobs:     &jobs{all: all, check: func(s state.Settings) error { return p.checkSettings(cfg, s) }},
		Hardware: func(context.Context) (api.Hardware, error) { return api.Hardware{}, nil },
		Models:   func(context.Context) ([]api.Model, error) { return nil, nil },
		System:   func() api.System { return api.System{} },
		Live:     none, Web: none, SignIn: func(http.ResponseWriter, *http.Request, int, string, string) {},
		Metrics: none, Healthz: none, Readyz: none, Tus: none, Bodies: none, Channel: none, Session: none, Sessions: &peerSessions{}, Workflows: workflows{}, Traces: traces{},
	})
	must(err)
	server := httptest.NewServer(front)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := up.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	parts.Go(func() {
		if err := all.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	b := &pushBox{t: t, data: data, up: up, jobs: all, url: server.URL}
	b.stop = sync.OnceFunc(func() {
		cancel()
		server.CloseClientConnections()
		server.Close()
		parts.Wait()
		spawner.Close()
		for _, err := range []error{up.Close(), dir.Close(), db.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(b.stop)
	return b
}

// create announces a file.
func (b *pushBox) create(name string, size int64) string {
	b.t.Helper()
	i, err := b.up.Create(b.t.Context(), upload.Spec{Name: name, Size: size})
	if err != nil {
		b.t.Fatal(err)
	}
	return i.ID
}

func (b *pushBox) send(id string, offset int64, data []byte) {
	b.t.Helper()
	if _, err := b.up.Append(b.t.Context(), id, offset, bytes.NewReader(data)); err != nil {
		b.t.Fatal(err)
	}
}

// push sends a whole file of the test media and returns its job's id.
func (b *pushBox) push(name string) string {
	b.t.Helper()
	data := mediaBytes(b.t, name)
	id := b.create(filepath.Base(name), int64(len(data)))
	b.send(id, 0, data)
	return "j" + id[1:]
}

func mediaBytes(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(acceltest.Media(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// do asks the front door and reads JSON into v, if that is given.
func (b *pushBox) do(method, path, body string, v any) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if v == nil {
		return res
	}
	if err := json.Unmarshal(text, v); err != nil {
		b.t.Fatalf("%s %s: %d %s: %v", method, path, res.StatusCode, text, err)
	}
	return res
}

func (b *pushBox) await(id, what string, ok func(api.Job) bool) api.Job {
	b.t.Helper()
	var j api.Job
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := b.jobs.Get(id); err == nil {
			if b.do("GET", "/api/v1/jobs/"+id, "", &j); ok(j) {
				return j
			}
		}
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain for %s: %+v", what, j)
		}
	}
}

func ended(j api.Job) bool {
	return j.Status == "done" || j.Status == "failed" || j.Status == "set_aside" || j.Status == "canceled"
}

// follow reads results over HTTP, page by page, while they come; after each page
// it may be slow. It returns all lines.
func (b *pushBox) follow(id string) (all []string, err error) {
	next, complete := uint64(1), false
	for !complete {
		res, err := http.Get(fmt.Sprintf("%s/api/v1/jobs/%s/results?from=%d&limit=50&wait=5", b.url, id, next))
		if err != nil {
			return all, err
		}
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			var l struct{ Seq uint64 }
			if err := json.Unmarshal(in.Bytes(), &l); err != nil || l.Seq != next {
				res.Body.Close()
				return all, fmt.Errorf("line %d in the place of %d (%v)", l.Seq, next, err)
			}
			next++
			all = append(all, in.Text())
		}
		res.Body.Close()
		if got := res.Header.Get("Watchpost-Next"); res.StatusCode != 200 || got != strconv.FormatUint(next, 10) {
			return all, fmt.Errorf("status %d, next %s, want %d", res.StatusCode, got, next)
		}
		complete = res.Header.Get("Watchpost-Complete") == "true"
	}
	return all, nil
}

// listen reads results as server-sent events over connections that break off after
// some of them, and goes on where the last event was.
func (b *pushBox) listen(id string) (lines uint64, err error) {
	for visits := 0; ; visits++ {
		req, err := http.NewRequest("GET", b.url+"/api/v1/jobs/"+id+"/events", nil)
		if err != nil {
			return lines, err
		}
		if lines > 0 {
			req.Header.Set("Last-Event-ID", strconv.FormatUint(lines, 10))
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return lines, err
		}
		in := bufio.NewScanner(res.Body)
		in.Buffer(nil, 4<<20)
		over := false
		for left := 40 + 90*visits; left > 0 && in.Scan(); {
			if n, ok := strings.CutPrefix(in.Text(), "id: "); ok {
				if lines++; n != strconv.FormatUint(lines, 10) {
					res.Body.Close()
					return lines, fmt.Errorf("event %s in the place of %d", n, lines)
				}
				left--
			}
			over = over || in.Text() == "event: end"
		}
		res.Body.Close()
		if over {
			return lines, nil
		}
	}
}

// A pushed file is analysed by a worker that is killed half-way: readers see
// every line once, and the results are whole.
func TestPushedFileIsAnalysed(t *testing.T) {
	b := openPushBox(t, t.TempDir())
	id := b.push("video/one-by-one-person-detection.mp4")
	b.await(id, "a job", func(j api.Job) bool { return j.ID == id })
	lines := make(chan []string, 1)
	go func() {
		all, err := b.follow(id)
		if err != nil {
			t.Error(err)
		}
		lines <- all
	}()
	heard := make(chan uint64, 1)
	go func() {
		n, err := b.listen(id)
		if err != nil {
			t.Error(err)
		}
		heard <- n
	}()
	j := b.await(id, "results", func(j api.Job) bool { return j.Results > 100 && j.Worker != nil && j.Progress.Frames > 0 || ended(j) })
	if j.Sandbox == nil || j.Progress.Frames == 0 || j.Progress.Duration == nil {
		t.Errorf("running: %+v", j)
	}
	if j.Worker == nil || syscall.Kill(j.Worker.PID, syscall.SIGKILL) != nil {
		t.Fatalf("there is no worker to be killed: %+v", j)
	}
	// What there is of the video can be watched while it grows.
	res := b.do("GET", "/api/v1/jobs/"+id+"/files/annotated.mp4", "", nil)
	if res.StatusCode != 200 || res.Header.Get("Watchpost-Complete") != "false" {
		t.Errorf("the growing video: %d %v", res.StatusCode, res.Header)
	}
	j = b.await(id, "the end", ended)
	all := <-lines
	if n := <-heard; n != j.Results {
		t.Errorf("%d lines came as events, the job has %d", n, j.Results)
	}
	var outcome struct {
		Results uint64
		Ledger  struct{ Decoded uint64 }
	}
	if err := json.Unmarshal(j.Outcome, &outcome); err != nil || j.Status != "done" || j.Deaths != 1 || j.Attempts != 2 {
		t.Fatalf("%+v, %v", j, err)
	}
	if uint64(len(all)) != j.Results || outcome.Results != j.Results || outcome.Ledger.Decoded != j.Results {
		t.Errorf("%d lines were read, the job has %d, the summary tells of %+v", len(all), j.Results, outcome)
	}
	text, err := os.ReadFile(filepath.Join(b.data, "jobs", id, "detections.jsonl"))
	if err != nil || string(text) != strings.Join(all, "\n")+"\n" {
		t.Errorf("what was read is not what is in the file (%v)", err)
	}
	var files struct{ Files []api.JobFile }
	b.do("GET", "/api/v1/jobs/"+id+"/files", "", &files)
	for _, f := range files.Files {
		if !f.Complete || f.Bytes == 0 {
			t.Errorf("%+v", f)
		}
		res := b.do("GET", "/api/v1/jobs/"+id+"/files/"+f.Name, "", nil)
		if res.StatusCode != 200 || res.ContentLength != f.Bytes || res.Header.Get("Content-Type") != f.Media {
			t.Errorf("%s: %d %v", f.Name, res.StatusCode, res.Header)
		}
	}
	if len(files.Files) != 6 {
		t.Errorf("files: %+v", files)
	}
	if res := b.do("DELETE", "/api/v1/jobs/"+id, "", nil); res.StatusCode != 204 {
		t.Errorf("removed: %d", res.StatusCode)
	}
	if left := holds(t, filepath.Join(b.data, "jobs")); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

// A file whose index is in front is analysed while it arrives, also by a box that
// is stopped and started meanwhile; the results are those of the whole file.
func TestPushedFileIsAnalysedAsItArrives(t *testing.T) {
	data := mediaBytes(t, "video/highway_asp.avi")
	dir := t.TempDir()
	b := openPushBox(t, dir)
	up := b.create("highway.avi", int64(len(data)))
	id := "j" + up[1:]
	half := len(data) / 2
	b.send(up, 0, data[:half])
	j := b.await(id, "results before the last byte", func(j api.Job) bool { return j.Results > 0 || ended(j) })
	if j.Status != "running" || !j.Streamed {
		t.Fatalf("%+v", j)
	}
	t.Logf("%d results with %d of %d bytes there", j.Results, half, len(data))
	b.stop()
	b = openPushBox(t, dir)
	before := j.Results
	b.send(up, int64(half), data[half:])
	j = b.await(id, "the end", ended)
	if j.Status != "done" || j.Results <= before || j.Deaths != 0 {
		t.Fatalf("%+v", j)
	}
	streamed, err := b.follow(id)
	if err != nil {
		t.Fatal(err)
	}
	var again api.Job
	if res := b.do("POST", "/api/v1/jobs", fmt.Sprintf(`{"upload":%q,"settings":{"model":"motion","no_video":true}}`, up), &again); res.StatusCode != 201 {
		t.Fatalf("another job: %d", res.StatusCode)
	}
	b.await(again.ID, "the end", ended)
	whole, err := b.follow(again.ID)
	if err != nil || len(whole) == 0 || strings.Join(whole, "\n") != strings.Join(streamed, "\n") {
		t.Errorf("as a stream %d lines, as a whole %d, and they differ (%v)", len(streamed), len(whole), err)
	}
}

// What is no video, or none that this box can decode, is told in one line; a
// settled fault is not tried again.
func TestPushedFilesThatCannotBeAnalysed(t *testing.T) {
	b := openPushBox(t, t.TempDir())
	junk := b.create("junk.mp4", 100<<10)
	b.send(junk, 0, bytes.Repeat([]byte("no video "), 100<<10/9+1)[:100<<10])
	for id, kind := range map[string]string{b.push("video/vvc_unsupported.mp4"): "", "j" + junk[1:]: ""} {
		j := b.await(id, "the end", ended)
		if j.Status != "failed" || j.Reason == "" || strings.Contains(j.Reason, b.data) || strings.Contains(j.Reason, "\n") || j.Attempts > 2 {
			t.Errorf("%s: %+v", kind, j)
		}
		t.Logf("%s: %s", j.Name, j.Reason)
	}
	var p struct{ Detail string }
	for body, want := range map[string]string{
		`{"upload":"` + junk + `","settings":{"model":"nosuch"}}`:      "nosuch",
		`{"upload":"` + junk + `","settings":{"model":"/etc/x.onnx"}}`: "by a path",
		`{"upload":"` + junk + `","settings":{"track":-1}}`:            "",
	} {
		if res := b.do("POST", "/api/v1/jobs", body, &p); res.StatusCode != 400 && res.StatusCode != 422 || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, p.Detail)
		}
	}
}

func TestJobErrors(t *testing.T) {
	for _, kind := range []error{job.ErrNotFound, job.ErrConflict, job.ErrInvalid, job.ErrClosing, job.ErrDamaged} {
		err := jobError(fmt.Errorf("%w: do this", kind))
		known := false
		for _, k := range []error{api.ErrNotFound, api.ErrConflict, api.ErrInvalid, api.ErrUnavailable, api.ErrGone} {
			known = known || errors.Is(err, k)
		}
		if !known || !strings.Contains(err.Error(), "do this") {
			t.Errorf("%v becomes %v", kind, err)
		}
	}
}
