package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// jobs is a set of jobs in memory, each with the same log; the real ones are
// tested where they are.
type jobs struct {
	mu       sync.Mutex
	list     []Job
	lines    []string
	ended    bool
	changed  chan struct{}
	watchers map[int]func(JobEvent)
	next     int
	open     int // cursors
	asked    []string
	file     OpenJobFile
}

func newJobs(all ...Job) *jobs {
	return &jobs{list: all, changed: make(chan struct{}), watchers: map[int]func(JobEvent){}}
}

func someJob(id string) Job {
	return Job{ID: id, Upload: "u" + id, Name: id + ".mp4", Status: "running", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (j *jobs) List() []Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

func (j *jobs) Get(id string) (Job, error) {
	for _, one := range j.List() {
		if one.ID == id {
			return one, nil
		}
	}
	return Job{}, Explain(ErrNotFound, "There is no job with this id.")
}

func (j *jobs) note(text, id string) (Job, error) {
	j.mu.Lock()
	j.asked = append(j.asked, text+" "+id)
	j.mu.Unlock()
	return j.Get(id)
}

func (j *jobs) Create(_ context.Context, n NewJob) (Job, error) {
	if n.Upload == "" {
		return Job{}, Explain(ErrNotFound, "There is no upload with this id.")
	}
	one := someJob("new")
	one.Upload, one.Settings, one.Priority = n.Upload, n.Settings, n.Priority
	return one, nil
}
func (j *jobs) Cancel(_ context.Context, id string) (Job, error) { return j.note("cancel", id) }
func (j *jobs) Retry(_ context.Context, id string) (Job, error) {
	if _, err := j.Get(id); err != nil {
		return Job{}, err
	}
	return Job{}, Explain(ErrConflict, "The job is running: cancel it first.")
}
func (j *jobs) SetPriority(_ context.Context, id string, n int) (Job, error) {
	return j.note(fmt.Sprint("priority ", n), id)
}
func (j *jobs) Remove(_ context.Context, id string) error { _, err := j.note("remove", id); return err }

func (j *jobs) Watch(deliver func(JobEvent)) func() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	n := j.next
	j.watchers[n] = deliver
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.watchers, n)
	}
}

func (j *jobs) watching() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.watchers)
}

// add adds lines to the log, and perhaps ends it.
func (j *jobs) add(n int, end bool) {
	j.mu.Lock()
	for range n {
		j.lines = append(j.lines, fmt.Sprintf(`{"seq":%d,"frame":%d}`, len(j.lines)+1, len(j.lines)+1))
	}
	j.ended = end
	if end {
		j.list[0].Status, j.list[0].Results = "done", uint64(len(j.lines))
	}
	close(j.changed)
	j.changed = make(chan struct{})
	one := j.list[0]
	for _, w := range j.watchers {
		w(JobEvent{Job: &one})
	}
	j.mu.Unlock()
}

func (j *jobs) Results(id string, from uint64) (JobResults, error) {
	if _, err := j.Get(id); err != nil {
		return nil, err
	}
	j.mu.Lock()
	j.open++
	j.mu.Unlock()
	return &cursor{j, max(from, 1)}, nil
}

type cursor struct {
	j    *jobs
	next uint64
}

func (c *cursor) Next(context.Context) (uint64, []byte, bool, error) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	if c.next > uint64(len(c.j.lines)) {
		if c.j.ended {
			return 0, nil, false, io.EOF
		}
		return 0, nil, false, nil
	}
	c.next++
	return c.next - 1, []byte(c.j.lines[c.next-2]), true, nil
}

func (c *cursor) Wait(ctx context.Context) error {
	c.j.mu.Lock()
	ready, changed := c.next <= uint64(len(c.j.lines)) || c.j.ended, c.j.changed
	c.j.mu.Unlock()
	if ready {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	}
}

func (c *cursor) Ready(context.Context) (uint64, uint64, bool, error) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	return c.next, uint64(len(c.j.lines)), c.j.ended, nil
}

func (c *cursor) Close() {
	c.j.mu.Lock()
	c.j.open--
	c.j.mu.Unlock()
}

func (j *jobs) Files(id string) ([]JobFile, error) {
	if _, err := j.Get(id); err != nil {
		return nil, err
	}
	return []JobFile{j.file.JobFile}, nil
}

type nothing struct{}

func (nothing) Close() error { return nil }

func (j *jobs) OpenFile(id, name string) (*OpenJobFile, error) {
	if name != j.file.Name {
		return nil, Explain(ErrNotFound, "A job has no such file.")
	}
	f := j.file
	f.Content, f.Closer = strings.NewReader("0123456789"), nothing{}
	return &f, nil
}

// FuzzCursorParameters: whatever is asked for, the answer is lines in a row from
// where it was asked on, or says what is wrong.
func FuzzCursorParameters(f *testing.F) {
	for _, s := range [][3]string{{"1", "0", ""}, {"4", "2", "3"}, {"0", "18446744073709551615", "18446744073709551615"}, {"-1", "x", "\x00"}, {"18446744073709551615", "1", "9223372036854775807"}, {"", "", " 1"}} {
		f.Add(s[0], s[1], s[2])
	}
	all := newJobs(someJob("a"))
	all.add(9, true)
	d := testDeps(newCameras(), &logs{})
	d.Jobs = all
	h, err := New(d)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, from, limit, last string) {
		q := url.Values{"from": {from}, "limit": {limit}}.Encode()
		for _, path := range []string{"/api/v1/jobs/a/results?", "/api/v1/jobs/a/events?"} {
			r := httptest.NewRequest("GET", path+q, nil)
			r.Header.Set("Authorization", "Bearer "+testPassword)
			r.Header.Set("Last-Event-ID", last)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch w.Code {
			case 400, 422:
				continue
			case 200:
			default:
				t.Fatalf("%s%s: %d %s", path, q, w.Code, w.Body)
			}
			at := uint64(0)
			for _, l := range strings.Split(w.Body.String(), "\n") {
				var n struct{ Seq uint64 }
				if i := strings.Index(l, `{"seq":`); i < 0 || json.Unmarshal([]byte(l[i:]), &n) != nil {
					continue
				}
				if at != 0 && n.Seq != at+1 {
					t.Fatalf("%s%s: %d after %d", path, q, n.Seq, at)
				}
				at = n.Seq
			}
			if want, err := strconv.ParseUint(from, 10, 64); err == nil && last == "" && limit == "" && want <= 9 && at != 9 {
				t.Fatalf("%s%s: up to %d of 9", path, q, at)
			}
		}
	})
}

func TestJobRoutes(t *testing.T) {
	all := newJobs(someJob("a"), someJob("b"))
	b := start(t, func(d *Deps) { d.Jobs = all })
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/v1/jobs", "", 200, `"id":"b"`},
		{"GET", "/api/v1/jobs/a", "", 200, `"name":"a.mp4"`},
		{"GET", "/api/v1/jobs/x", "", 404, "no job"},
		{"POST", "/api/v1/jobs", `{"upload":"u1","settings":{"model":"motion","threshold":0.5,"track":1},"priority":7}`, 201, `"priority":7,"settings":{"model":"motion","threshold":0.5,"track":1}`},
		{"POST", "/api/v1/jobs", `{"upload":"u1"}`, 201, `"upload":"u1"`},
		{"POST", "/api/v1/jobs", `{"upload":""}`, 404, "no upload"},
		{"POST", "/api/v1/jobs", `{"upload":"u1","priority":101}`, 422, "priority"},
		{"POST", "/api/v1/jobs", `{"upload":"u1","settings":{"threshold":2}}`, 422, "threshold"},
		{"PATCH", "/api/v1/jobs/a", `{"priority":-3}`, 200, `"id":"a"`},
		{"PATCH", "/api/v1/jobs/a", `{}`, 422, "priority"},
		{"POST", "/api/v1/jobs/a/cancel", "", 200, `"id":"a"`},
		{"POST", "/api/v1/jobs/x/cancel", "", 404, "no job"},
		{"POST", "/api/v1/jobs/a/retry", "", 409, "cancel it first"},
		{"DELETE", "/api/v1/jobs/b", "", 204, ""},
		{"DELETE", "/api/v1/jobs/x", "", 404, "no job"},
		{"GET", "/api/v1/jobs/a/files", "", 200, `"files":`},
		{"GET", "/api/v1/jobs/x/results", "", 404, "no job"},
		{"GET", "/api/v1/jobs/x/events", "", 404, "no job"},
		{"GET", "/api/v1/jobs/a/results?from=-1", "", 422, "from"},
		{"GET", "/api/v1/jobs/a/results?wait=61", "", 422, "wait"},
		{"GET", "/api/v1/jobs/a/files/..%2f..%2fpassword", "", 404, "no such file"},
	} {
		a := b.do(t, c.method, c.path, c.body, "Content-Type", "application/json")
		if a.StatusCode != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, a.StatusCode, a.body, c.status, c.want)
		}
	}
	if want := []string{"priority -3 a", "cancel a", "cancel x", "remove b", "remove x"}; !slices.Equal(all.asked, want) {
		t.Errorf("asked %q, want %q", all.asked, want)
	}
}

// Pages of lines, read on by what the answer says, are the whole log.
func TestResultsByCursor(t *testing.T) {
	all := newJobs(someJob("a"))
	all.add(10, false)
	b := start(t, func(d *Deps) { d.Jobs = all })
	for _, c := range []struct {
		query      string
		lines      int
		next, done string
	}{
		{"", 10, "11", "false"}, {"?from=0", 10, "11", "false"}, {"?from=4&limit=3", 3, "7", "false"},
		{"?from=11", 0, "11", "false"}, {"?from=99", 0, "99", "false"}, {"?from=18446744073709551615", 0, "18446744073709551615", "false"},
	} {
		a := b.do(t, "GET", "/api/v1/jobs/a/results"+c.query, "")
		if a.StatusCode != 200 || strings.Count(a.body, "\n") != c.lines || a.Header.Get("Watchpost-Next") != c.next ||
			a.Header.Get("Watchpost-Complete") != c.done || a.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %d %v %q", c.query, a.StatusCode, a.Header, a.body)
		}
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		all.add(2, false)
	}()
	if a := b.do(t, "GET", "/api/v1/jobs/a/results?from=11&wait=30", ""); strings.Count(a.body, "\n") != 2 || !strings.HasPrefix(a.body, `{"seq":11,`) {
		t.Errorf("after a wait: %q", a.body)
	}
	if a := b.do(t, "GET", "/api/v1/jobs/a/results?from=13&wait=1", ""); a.StatusCode != 200 || a.body != "" || a.Header.Get("Watchpost-Next") != "13" {
		t.Errorf("after a wait in vain: %d %q", a.StatusCode, a.body)
	}
	all.add(1, true)
	if a := b.do(t, "GET", "/api/v1/jobs/a/results?from=13&wait=30", ""); strings.Count(a.body, "\n") != 1 || a.Header.Get("Watchpost-Complete") != "true" {
		t.Errorf("at the end: %v %q", a.Header, a.body)
	}
	waitFor(t, "all cursors are closed", func() bool { all.mu.Lock(); defer all.mu.Unlock(); return all.open == 0 })
}

// A reader of events that comes back goes on after the last line that it had.
func TestResultEvents(t *testing.T) {
	all := newJobs(someJob("a"), someJob("b"))
	all.add(3, false)
	b := start(t, func(d *Deps) { d.Jobs = all })
	r := b.read(t, "/api/v1/jobs/a/events?from=2")
	var j Job
	r.expect("job", &j)
	type numbered struct{ Seq uint64 }
	var l numbered
	for want := uint64(2); want <= 3; want++ {
		if r.expect("result", &l); l.Seq != want {
			t.Fatalf("line %d, want %d", l.Seq, want)
		}
	}
	all.add(1, false)
	r.expect("job", &j)
	if r.expect("result", &l); l.Seq != 4 {
		t.Fatalf("line %d, want 4", l.Seq)
	}
	r.res.Body.Close()

	all.add(5000, true)
	req := mustRequest(t, b.url+"/api/v1/jobs/a/events?from=2")
	req.Header.Set("Last-Event-ID", "4")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(5)
	for _, ev := range strings.Split(string(text), "\n\n") {
		if id, rest, ok := strings.Cut(strings.TrimPrefix(ev, "id: "), "\nevent: result\ndata: "); ok {
			if err := json.Unmarshal([]byte(rest), &l); err != nil || l.Seq != next || id != fmt.Sprint(next) {
				t.Fatalf("%q, want line %d (%v)", ev, next, err)
			}
			next++
		}
	}
	if next != 5005 || !strings.Contains(string(text), "event: end\ndata: {\"job\":\"a\",\"status\":\"done\",\"results\":5004}\n\n") {
		t.Errorf("%d lines, then %q", next-5, text[max(0, len(text)-300):])
	}
	waitFor(t, "nobody watches", func() bool { return all.watching() == 0 })
	if a := b.do(t, "GET", "/api/v1/jobs/a/events", "", "Last-Event-ID", "four"); a.StatusCode != 400 {
		t.Errorf("a wrong id: %d", a.StatusCode)
	}
}

// What a worker wrote stays one event, whatever it is.
func TestResultIsOneEvent(t *testing.T) {
	all := newJobs(someJob("a"))
	all.lines = []string{"{\"seq\":1,\r\r event: end\rdata: {}\r\r\"frame\":7}"}
	all.add(1, true)
	b := start(t, func(d *Deps) { d.Jobs = all })
	res, err := http.Get(b.url + "/api/v1/jobs/a/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || strings.Contains(string(text), "\r") || !strings.Contains(string(text), `"frame":7}`) {
		t.Errorf("%q, %v", text, err)
	}
}

func TestJobsEvents(t *testing.T) {
	all := newJobs(someJob("a"))
	b := start(t, func(d *Deps) { d.Jobs = all })
	r := b.read(t, "/api/v1/jobs/events")
	var j Job
	r.expect("job", &j)
	waitFor(t, "it watches", func() bool { return all.watching() == 1 })
	all.add(1, true)
	if r.expect("job", &j); j.Status != "done" {
		t.Errorf("told of %+v", j)
	}
}

func TestJobFiles(t *testing.T) {
	all := newJobs(someJob("a"))
	all.file = OpenJobFile{
		JobFile: JobFile{Name: "annotated.mp4", Media: "video/mp4", Bytes: 10, Complete: true, Modified: time.Unix(1e9, 0)},
		Tag:     "t1", Source: "wärm/\"up\".mp4",
	}
	b := start(t, func(d *Deps) { d.Jobs = all })
	const path = "/api/v1/jobs/a/files/annotated.mp4"
	a := b.do(t, "GET", path, "")
	if a.StatusCode != 200 || a.body != "0123456789" || a.Header.Get("Content-Type") != "video/mp4" || a.Header.Get("ETag") != `"t1"` ||
		a.Header.Get("Watchpost-Complete") != "true" || !strings.Contains(a.Header.Get("Content-Disposition"), "inline; filename*=utf-8''w%C3%A4rm__up_.mp4.annotated.mp4") {
		t.Errorf("%d %v %q", a.StatusCode, a.Header, a.body)
	}
	for _, c := range []struct {
		header       []string
		status       int
		body, reason string
	}{
		{[]string{"Range", "bytes=2-4"}, 206, "234", "a range"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"t1"`}, 206, "234", "the same file"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"t0"`}, 200, "0123456789", "another file"},
		{[]string{"Range", "bytes=10-"}, 416, "", "past the end"},
		{[]string{"If-None-Match", `"t1"`}, 304, "", "known"},
	} {
		a := b.do(t, "GET", path, "", c.header...)
		if a.StatusCode != c.status || c.body != "" && a.body != c.body {
			t.Errorf("%s: %d %q", c.reason, a.StatusCode, a.body)
		}
	}
	if a := b.do(t, "GET", path+"?download=true", ""); !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") {
		t.Error(a.Header)
	}
	all.file.Complete = false
	if a := b.do(t, "GET", path, ""); a.Header.Get("Watchpost-Complete") != "false" || a.Header.Get("Last-Modified") != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("growing: %v", a.Header)
	}
}
