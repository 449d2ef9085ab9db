package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// reader reads one event stream.
type reader struct {
	t   *testing.T
	res *http.Response
	in  *bufio.Reader
}

func (b *box) read(t *testing.T, path string) *reader {
	t.Helper()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, b.url+path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %d %s", path, res.StatusCode, res.Header.Get("Content-Type"))
	}
	return &reader{t, res, bufio.NewReader(res.Body)}
}

// next returns the next event's name and data.
func (r *reader) next() (name, data string) {
	r.t.Helper()
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return "end", err.Error()
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" && name != "":
			return name, data
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		}
	}
}

func (r *reader) expect(name string, into any) {
	r.t.Helper()
	got, data := r.next()
	if got != name {
		r.t.Fatalf("event %q (%s), want %q", got, data, name)
	}
	if err := json.Unmarshal([]byte(data), into); err != nil {
		r.t.Fatalf("%s: %v", data, err)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestEventsOfOneCamera(t *testing.T) {
	b := start(t, nil, "yard", "gate")
	r := b.read(t, "/api/v1/cameras/gate/events")
	var c Camera
	if r.expect("camera", &c); c.ID != "gate" || c.State != "playing" {
		t.Fatalf("first %+v, want gate's present state", c)
	}
	b.cameras.send(Event{Detections: &Detections{Camera: "yard", Frame: 1}})
	b.cameras.send(Event{Camera: &Camera{ID: "gate", State: "offline", Reason: "cable\nout"}})
	if r.expect("camera", &c); c.State != "offline" || c.Reason != "cable\nout" {
		t.Errorf("got %+v", c)
	}
	var d Detections
	for n := range uint64(5) {
		b.cameras.send(Event{Detections: &Detections{Camera: "gate", Frame: n, Objects: []Object{{ID: 1, Label: "person"}}}})
	}
	for n := range uint64(5) {
		if r.expect("detections", &d); d.Frame != n || d.Missed != 0 || len(d.Objects) != 1 {
			t.Errorf("got %+v, want frame %d", d, n)
		}
	}
	r.res.Body.Close()
	waitFor(t, "the reader's watch has ended", func() bool { return b.cameras.watching() == 0 })
}

func TestEventsOfAllCameras(t *testing.T) {
	b := start(t, nil, "yard", "gate")
	r := b.read(t, "/api/v1/events?detections=none")
	var c Camera
	for _, id := range []string{"yard", "gate"} {
		if r.expect("camera", &c); c.ID != id {
			t.Errorf("%s, want %s", c.ID, id)
		}
	}
	b.cameras.send(Event{Detections: &Detections{Camera: "yard"}})
	b.cameras.send(Event{Camera: &Camera{ID: "yard", State: "ended"}})
	if r.expect("camera", &c); c.ID != "yard" || c.State != "ended" {
		t.Errorf("got %+v", c)
	}
}

// A reader that takes nothing must cost the sender nothing, hold a bounded
// amount, and learn afterwards what it missed.
func TestSlowReader(t *testing.T) {
	b := start(t, nil, "yard")
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/v1/cameras/yard/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	waitFor(t, "the stream is open", func() bool { return b.cameras.watching() == 1 })

	many := make([]Object, 200)
	const frames = 4000 // some 60 MB: more than the kernel keeps for a connection
	var worst time.Duration
	for n := range uint64(frames) {
		began := time.Now()
		b.cameras.send(Event{Detections: &Detections{Camera: "yard", Frame: n, Objects: many}})
		worst = max(worst, time.Since(began))
	}
	if worst > 200*time.Millisecond {
		t.Errorf("sending took up to %v because of a slow reader", worst)
	}
	b.cameras.send(Event{Camera: &Camera{ID: "yard", State: "stopped"}})

	in := bufio.NewReaderSize(conn, 1<<20)
	var seen, missed, last uint64
	for stopped := false; !stopped || seen+missed < frames; {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d seen and %d missed: %v", seen, missed, err)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		if strings.Contains(data, `"state":"stopped"`) {
			stopped = true
		}
		var d Detections
		if strings.Contains(data, `"pts_ns"`) {
			if err := json.Unmarshal([]byte(data), &d); err != nil {
				t.Fatal(err)
			}
			if seen > 0 && d.Frame != last+1+d.Missed {
				t.Errorf("frame %d after %d, but %d were missed", d.Frame, last, d.Missed)
			}
			seen, missed, last = seen+1, missed+d.Missed, d.Frame
		}
	}
	if missed == 0 || seen+missed != frames || last != frames-1 {
		t.Errorf("%d seen, %d missed, last %d: want %d in all, some missed, and the newest", seen, missed, last, frames)
	}
	t.Logf("%d seen, %d missed; the slowest send took %v", seen, missed, worst)
}

func TestLatestDetectionsOnly(t *testing.T) {
	m := newMailbox("", latestDetection, 1, nil)
	for n := range uint64(10) {
		m.put(Event{Detections: &Detections{Camera: "a", Frame: n}})
		m.put(Event{Detections: &Detections{Camera: "b", Frame: n}})
		m.put(Event{Camera: &Camera{ID: "a", Viewers: int(n)}})
	}
	c, d := m.take()
	if len(c) != 1 || c[0].Viewers != 9 {
		t.Errorf("states %+v, want the newest of a", c)
	}
	if len(d) != 2 || d[0].Frame != 9 || d[1].Frame != 9 || d[0].Missed != 9 || d[1].Missed != 9 {
		t.Errorf("detections %+v, want frame 9 of each with 9 missed", d)
	}
	if c, d := m.take(); len(c)+len(d) != 0 {
		t.Error("taken twice")
	}
}

func TestKeepAlive(t *testing.T) {
	c := newCameras("yard")
	f := newFeed(c, nil)
	f.keepAlive = 20 * time.Millisecond
	b := start(t, func(d *Deps) {
		d.Web = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(r.Context(), w, "", everyDetection) })
	})
	r := b.read(t, "/")
	if name, _ := r.next(); name != "camera" {
		t.Errorf("first event %q", name)
	}
	for range 3 {
		if name, _ := r.next(); name != "alive" {
			t.Errorf("event %q, want a keep-alive", name)
		}
	}
}

func TestStreamsEndOnShutdown(t *testing.T) {
	b := start(t, nil, "yard")
	r := b.read(t, "/api/v1/events")
	r.next()
	began := time.Now()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("shutdown took %v with a stream open", took)
	}
	if name, _ := r.next(); name != "end" {
		t.Errorf("%q after shutdown", name)
	}
	if strings.Contains(b.logs.String(), "cut off") {
		t.Error("the stream was cut off instead of ended")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	b := start(t, nil, "yard")
	for range eventStreams {
		b.read(t, "/api/v1/events")
	}
	a := b.do(t, "GET", "/api/v1/cameras/yard/events", "")
	if a.StatusCode != 503 || !strings.Contains(a.detail(t), "close some pages") {
		t.Errorf("one stream too many: %d %s", a.StatusCode, a.body)
	}
}

// The server's read deadline must not end a stream.
func TestStreamOutlivesReadTimeout(t *testing.T) {
	c := newCameras("yard")
	d := testDeps(c, &logs{})
	h, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t.Context(), h, d.Log)
	s.ReadTimeout, s.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() { s.Close(); <-ended }()
	b := &box{cameras: c, url: "http://" + l.Addr().String()}
	r := b.read(t, "/api/v1/events")
	r.next()
	time.Sleep(400 * time.Millisecond)
	c.send(Event{Camera: &Camera{ID: "yard", State: "offline"}})
	if name, data := r.next(); name != "camera" || !strings.Contains(data, "offline") {
		t.Errorf("after the timeouts: %s %s", name, data)
	}
}

// Nor must it end a file that arrives slowly: its handler renews the deadlines.
func TestFileOutlivesReadTimeout(t *testing.T) {
	d := testDeps(newCameras(), &logs{})
	d.Bodies = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Time{})); err != nil {
			t.Errorf("the handler of files cannot reach the deadlines: %v", err)
		}
		echo("bodies").ServeHTTP(w, r)
	})
	h, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t.Context(), h, d.Log)
	s.ReadTimeout, s.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() { s.Close(); <-ended }()
	body, in := io.Pipe()
	go func() {
		for range 4 {
			time.Sleep(100 * time.Millisecond)
			fmt.Fprint(in, "x")
		}
		in.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+l.Addr().String()+"/api/v1/uploads/slow", body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || !strings.HasSuffix(string(got), " 4 <nil>") {
		t.Errorf("%s, %v", got, err)
	}
}
