package boxtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// strict is a box with little patience.
const strict = "models: {default: motion}\nsessions: {most: 3, silence: 4s, gzip: true}\n" + quietCamera

// mute listens on TCP and never says a word.
func mute(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c) // until the box gives up
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return l.Addr().String()
}

// TestSessionsThatComeToNothing has clients and sources that say nothing.
func TestSessionsThatComeToNothing(t *testing.T) {
	t.Parallel()
	address := mute(t)
	b := start(t, strict)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	before := footprintOf(t, b)
	silent := func(t *testing.T, f facts) {
		t.Helper()
		wellFormed(t, f)
		last := ended(t, f, "silent")
		if f.EndedAt < 3.5 || f.EndedAt > 30 || len(last.Errors) == 0 {
			t.Errorf("it ended after %.1f s: %v", f.EndedAt, last.Errors)
		}
		t.Logf("after %.1f s: %v", f.EndedAt, last.Errors)
	}
	t.Run("nothing", func(t *testing.T) {
		for name, p := range map[string]scenario{
			"client that uploads nothing":  uploading(dataOnly(fromFile, ask("motion", nil)), "", nil),
			"rtsp_url that never answers":  receiving(fromURL, ask("motion", fields{"rtsp_url": "rtsp://" + address + "/stream"})),
			"mjpeg_url that never answers": receiving(fromURL, ask("motion", fields{"mjpeg_url": "http://" + address + "/stream"})),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				silent(t, playPion(t, b, p))
			})
		}
	})
	// A client whose upload stops half way, with keep-alives at first.
	p := uploading(dataOnly(fromFile, ask("motion", nil)), media(t, "video/face_h264.mp4"), &sending{Pings: 2, Until: 1})
	silent(t, playAiortc(t, b, p))
	before.again(t, b)
}

// TestSessionsAreLimited asks for one more than there may be, then ends them by hand
// and with the box.
func TestSessionsAreLimited(t *testing.T) {
	t.Parallel()
	source := rtspCamera(t, clip(t, 320, 240), RTSPConfig{}).URL("", "")
	b := start(t, strict)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	before := footprintOf(t, b)
	const most = 3
	p := receiving(fromURL, ask("motion", fields{"rtsp_url": source, "webrtc_realtime_processing": true, "data_output": []string{outFound}}))
	p.Receive = false
	result := make(chan facts, most)
	var plays sync.WaitGroup
	begin := func() { plays.Go(func() { result <- playPion(t, b, p) }) }
	defer plays.Wait()
	for range most {
		begin()
	}
	list := sessions(t, b, "all three have frames", func(list []sessionView) bool {
		n := 0
		for _, s := range list {
			if s.Frames > 0 && s.PID > 0 && s.State == "running" {
				n++
			}
		}
		return n == most
	})
	if got := before.workers(b); len(got) != most {
		t.Errorf("%d worker processes of %d sessions", len(got), most)
	}
	for name, play := range bothClients {
		f := play(t, b, p)
		if r := f.Refused; r == nil || r.Status != http.StatusServiceUnavailable || r.RetryAfter == nil || r.Message == "" {
			t.Errorf("%s: one more session: %s", name, mustJSON(t, f.Refused))
		} else {
			t.Logf("%s: %s (Retry-After %s)", name, r.Message, *r.RetryAfter)
		}
	}

	t.Run("operator", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, b.URL+"/api/v1/sessions/"+list[0].ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatalf("%v %v", res, err)
		}
		res.Body.Close()
		f := <-result
		wellFormed(t, f)
		ended(t, f, "ended_by_operator")
		for _, d := range f.frames() {
			if !d.Gzipped {
				t.Fatalf("document %d is not compressed", d.ID)
			}
		}
		begin()
		sessions(t, b, "another one has its place", func(list []sessionView) bool { return len(list) == most && list[most-1].Frames > 0 })
	})
	t.Run("worker killed", func(t *testing.T) {
		// Number 0, of one that has no worker yet, would be this test and all around it.
		list := sessions(t, b, "three, the first with a worker", func(list []sessionView) bool { return len(list) == most && list[0].PID > 0 })
		if err := syscall.Kill(list[0].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		f := <-result
		wellFormed(t, f)
		t.Logf("%v", ended(t, f, "worker_failed").Errors)
	})
	t.Run("box stops", func(t *testing.T) {
		if err := b.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		defer func() { t.Logf("all had heard of it after %v", time.Since(asked).Round(time.Millisecond)) }()
		// A second signal, which the test's end would send, would not let it end in order.
		defer func() {
			select {
			case <-b.Exited():
			case <-time.After(stopTimeout):
				t.Errorf("the box goes on %v after SIGTERM", stopTimeout)
			}
		}()
		for range most - 1 {
			f := <-result
			wellFormed(t, f)
			if f.EndedBy != "complete" || deref(f.Documents[len(f.Documents)-1].Reason) != "box_stopping" {
				t.Errorf("it ended by %s after %.1f s (closed %v): %.300s", f.EndedBy, f.EndedAt, f.ClosedAt, mustJSON(t, f.Documents[len(f.Documents)-1]))
			}
		}
	})
}

// sessionView is what tests look at of a session.
type sessionView struct {
	ID, Source, State, Reason string
	Frames, Documents         uint64
	LeftOut                   uint64 `json:"documents_left_out"`
	PID                       int
}

// sessions asks for them until ok says so.
func sessions(t *testing.T, b *Box, what string, ok func([]sessionView) bool) []sessionView {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var list struct{ Sessions []sessionView }
		if err := b.Get(t.Context(), "/api/v1/sessions", &list); err != nil {
			t.Fatal(err)
		}
		if ok(list.Sessions) {
			return list.Sessions
		}
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s: %+v", what, list.Sessions)
		}
	}
}

// unheard is how long nothing comes of a peer until it counts as lost, where the network
// does not tell of it: peer.DefaultTimeout.
const unheard = 10 * time.Second

// TestSessionLeavesNothing loses peers without a word in the middle of everything.
func TestSessionLeavesNothing(t *testing.T) {
	t.Parallel()
	source := rtspCamera(t, clip(t, 320, 240), RTSPConfig{}).URL("", "")
	b := start(t, "models: {default: motion}\nsessions: {most: 16}\n"+quietCamera)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	vanish := func(p scenario, s stop) scenario {
		s.How = "vanish"
		p.Stop = &s
		return p
	}
	plans := map[string]scenario{
		"while it watches": vanish(receiving(fromURL, ask("motion", fields{"rtsp_url": source, "webrtc_realtime_processing": true})), stop{Documents: 10, Pictures: 10}),
		"while it uploads": vanish(uploading(dataOnly(fromFile, ask("motion", nil)), media(t, "video/bikes_bframes.mp4"), &sending{Until: 5}), stop{Seconds: 2}),
		"while its file is analysed": vanish(uploading(dataOnly(fromFile, ask("motion", fields{"data_output": []string{outRaw}})),
			media(t, "video/one-by-one-person-detection.mp4"), nil), stop{Documents: 5}),
		"while it films": vanish(receiving(fromCamera, ask("motion", nil)), stop{Documents: 10}),
	}
	// The first session of a box has things made that stay: a certificate, buffers.
	warm := plans["while it watches"]
	warm.Stop = &stop{Documents: 5}
	playPion(t, b, warm)
	time.Sleep(time.Second)
	before := footprintOf(t, b)
	var mu sync.Mutex
	var lost time.Time
	t.Run("vanish", func(t *testing.T) {
		for what, p := range plans {
			for name, play := range bothClients {
				t.Run(what+"/"+name, func(t *testing.T) {
					t.Parallel()
					f := play(t, b, p)
					mu.Lock()
					defer mu.Unlock()
					if f.Killed.After(lost) {
						lost = f.Killed
					}
					if f.Killed.IsZero() {
						t.Errorf("it ended by %s: %s", f.EndedBy, mustJSON(t, f.notices()))
					}
				})
			}
		}
	})
	before.within(t, b, time.Until(lost.Add(unheard+gone)))
	t.Logf("everything was gone %.1f s after the last peer vanished", time.Since(lost).Seconds())
	t.Run("killed", func(t *testing.T) { // its machine says that nobody has the port any more
		f := playAiortc(t, b, plans["while it watches"])
		if f.Killed.IsZero() {
			t.Fatalf("it ended by %s", f.EndedBy)
		}
		before.within(t, b, time.Until(f.Killed.Add(gone)))
		t.Logf("everything was gone %.1f s after the client was killed", time.Since(f.Killed).Seconds())
	})
	t.Run("says goodbye", func(t *testing.T) {
		playPion(t, b, warm)
		closed := time.Now()
		before.again(t, b)
		t.Logf("everything was gone %.1f s after the peer closed", time.Since(closed).Seconds())
	})
}

// TestSessionsOfHostileFiles uploads what is broken in every way.
func TestSessionsOfHostileFiles(t *testing.T) {
	t.Parallel()
	b := start(t, "models: {default: motion}\nsessions: {most: 4}\n"+quietCamera)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	before := footprintOf(t, b)
	turns := make(chan struct{}, 2)
	t.Run("files", func(t *testing.T) {
		for _, path := range mediaFiles(t, "broken") {
			t.Run(filepath.Base(path), func(t *testing.T) {
				t.Parallel()
				turns <- struct{}{}
				defer func() { <-turns }()
				f := playPion(t, b, uploading(dataOnly(fromFile, ask("motion", nil)), path, nil))
				wellFormed(t, f)
				reason := ""
				if len(f.Documents) > 0 {
					last := f.Documents[len(f.Documents)-1]
					if reason = deref(last.Reason); reason != "" {
						reason = "source_failed"
					}
					t.Logf("%d frames; %s: %v", len(f.frames()), deref(last.Reason), last.Errors)
				}
				ended(t, f, reason)
			})
		}
	})
	if c := camera(t, b, "cam"); c.Restarts.Count != 0 {
		t.Errorf("the camera's worker was started anew: %+v", c.Restarts)
	}
	before.again(t, b)
}

// TestSlowReaders have clients that read nothing of what is sent to them, beside one
// that reads.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	b := start(t, "models: {default: motion}\nsessions: {most: 8}\n"+quietCamera)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	source := rtspCamera(t, clip(t, 1280, 720), RTSPConfig{}).URL("", "")
	before, memory := footprintOf(t, b), rss(t, b.PID())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var slow []*client.Worker
	for _, over := range []fields{
		{"rtsp_url": source, "webrtc_realtime_processing": true},
		{"rtsp_url": source, "webrtc_realtime_processing": false},
		{"mjpeg_url": mjpegCamera(t, jpegClip(t, 1280, 720), MJPEGConfig{}).URL("", ""), "webrtc_realtime_processing": true},
	} {
		over["data_output"] = []string{outRaw, outBoxed, outNamed}
		w, err := client.Initialise(ctx, b.URL, client.Request{More: ask("motion", over)}, client.WorkerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, w)
	}
	sessions(t, b, "all have handled frames", func(list []sessionView) bool {
		return len(list) == 3 && list[0].Frames > 3 && list[1].Frames > 3 && list[2].Frames > 3
	})
	time.Sleep(5 * time.Second)
	list := sessions(t, b, "all are there", func(list []sessionView) bool { return len(list) == 3 })
	t.Logf("after 5 s: %+v", list)
	// Three pictures of a document have about 100 kB; of 5 s at 30 a second, 45 MB would wait.
	if grown := rss(t, b.PID()) - memory; grown > 64<<20 {
		t.Errorf("the control process grew by %d MiB", grown>>20)
	} else {
		t.Logf("the control process grew by %d MiB", grown>>20)
	}
	if list[0].Frames <= list[0].Documents {
		t.Errorf("a realtime session whose client reads nothing leaves nothing out: %+v", list[0])
	}
	// Somebody else is served meanwhile.
	p := uploading(dataOnly(fromFile, ask("motion", fields{"data_output": []string{"*"}})), media(t, "video/h265_video.mp4"), nil)
	f := playPion(t, b, p)
	wellFormed(t, f)
	ended(t, f, "")
	// And who reads on gets what is whole.
	for _, w := range slow {
		for range 3 {
			if d, err := w.Next(ctx); err != nil || d.Metadata == nil && d.Frame != 0 {
				t.Errorf("%+v: %v", d, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	before.again(t, b)
}

// TestMuchJSON sends ten megabytes of it, as request and over the channel.
func TestMuchJSON(t *testing.T) {
	t.Parallel()
	b := start(t, "models: {default: motion}\n"+quietCamera)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	before, memory := footprintOf(t, b), rss(t, b.PID())
	const size = 10 << 20
	for name, body := range map[string]string{
		"deep": strings.Repeat(`{"a":`, size/5), "wide": `{"workflow_configuration":[` + strings.Repeat("{},", size/3) + `{}]}`,
		"text": `{"webrtc_offer":{"type":"offer","sdp":"` + strings.Repeat("v=0\\r\\n", size/7) + `"}}`,
	} {
		res, err := http.Post(b.URL+"/initialise_webrtc_worker", "application/json", bytes.NewReader([]byte(body)))
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			continue // it did not read to the end, which is fine
		}
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(res.Body) // the status tells enough
		res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s: %.200s", name, res.Status, said)
		}
		t.Logf("%s: %s: %.200s", name, res.Status, said)
	}
	source := rtspCamera(t, clip(t, 320, 240), RTSPConfig{}).URL("", "")
	p := dataOnly(fromURL, ask("motion", fields{"rtsp_url": source, "webrtc_realtime_processing": true}))
	p.Stop = &stop{Documents: 300, Seconds: 8}
	// One message of ten megabytes, which no one may send, and many that are allowed.
	for name, say := range map[string][]string{
		"one":  {`{"data_output":["` + strings.Repeat("x", size) + `"]}`},
		"many": strings.SplitAfter(strings.Repeat(`{"data_output":["`+strings.Repeat("x", 50<<10)+"\"]}\n", size/(50<<10)), "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			p.Say = say
			f := playAiortc(t, b, p)
			t.Logf("%d documents, %d notices, ended by %s", len(f.frames()), len(f.notices()), f.EndedBy)
			if name == "many" {
				wellFormed(t, f)
				if len(f.frames()) < 20 {
					t.Errorf("%d documents came", len(f.frames()))
				}
			}
		})
	}
	if grown := rss(t, b.PID()) - memory; grown > 64<<20 {
		t.Errorf("the control process grew by %d MiB", grown>>20)
	}
	before.again(t, b)
}
