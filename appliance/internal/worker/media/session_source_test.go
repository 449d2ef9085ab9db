package media

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/boxtest"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// encoded are pictures as a peer would send them, 30 a second, keyframes 15 apart.
// Each is a little brighter than the one before.
func encoded(t *testing.T, c link.Codec, n int) (all []link.AccessUnit) {
	t.Helper()
	var mu sync.Mutex
	e, err := engine.NewEncoder(plan.Encode{Codec: codecName(c), Width: 320, Height: 240, FPSNum: 30, FPSDen: 1, GOP: 15, Live: true}, func(u engine.Unit) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, link.AccessUnit{Codec: c, Keyframe: u.Keyframe, PTS: u.PTS, Data: u.Data})
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f, err := engine.NewFrame(plan.I420, 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		for p := range f.Planes {
			for k := range f.Planes[p] {
				f.Planes[p][k] = 128
				if p == 0 {
					f.Planes[p][k] = byte(50 + i%50*3)
				}
			}
		}
		// A clock that does not begin at nothing.
		f.PTS = time.Hour + time.Duration(i)*time.Second/30
		if err := e.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if len(all) != n {
		t.Fatalf("%d of %d pictures were encoded", len(all), n)
	}
	return all
}

func peerStart(c link.Codec) link.Start {
	return link.Start{Mode: "session", Source: link.Source{URL: "peer:" + codecName(c)}, Threads: 1, Session: &link.Session{
		NoModel: true, Outputs: []link.Output{outPlain}, Video: c,
		Select: link.Select{Stream: "plain", Data: []string{"plain"}}, Credit: link.Credit{Through: unlimited},
	}}
}

// Who sends frames by hand, the next when the last one came back, gets each back at
// once: document, picture in it, and video.
func TestPeersFramesComeBackOneByOne(t *testing.T) {
	for _, c := range []link.Codec{link.H264, link.VP8} {
		for _, realtime := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, realtime %v", c, realtime), func(t *testing.T) {
				units := encoded(t, c, 40)
				start := peerStart(c)
				start.Session.Realtime, start.Session.DeclaredFPS = realtime, 12.5
				s := begin(t, start)
				for i, u := range units {
					s.send(link.KindMedia, u)
					s.until(fmt.Sprintf("frame %d", i+1), 10*time.Second, func() bool { return len(s.results) == i+1 && len(s.units) == i+1 })
				}
				s.send(link.KindEnd, nil)
				l := s.finish(10 * time.Second)
				if l.Decoded != 40 || l.Dropped != 0 || s.refreshes > 0 {
					t.Errorf("%+v, %d requests for a keyframe", l, s.refreshes)
				}
				for i, d := range s.documents() {
					if want := uint64(i * videoClock / 30); d.Meta.PTS != want || stampOf(s.units[i].PTS) != want || d.Meta.Declared != 12.5 {
						t.Fatalf("frame %d: %+v, its picture is at %v", i+1, d.Meta, s.units[i].PTS)
					}
					if y := d.image(t, "plain").(*image.YCbCr).Y[1000]; int(y) < (34+i*3)*255/219-8 || int(y) > (34+i*3)*255/219+8 {
						t.Fatalf("the picture of frame %d is another: %d", i+1, y)
					}
				}
			})
		}
	}
}

// A peer's track that outruns its credit is left out up to a keyframe, which is asked
// for; what is left is whole.
func TestPeersTrackThatIsTooFast(t *testing.T) {
	units := encoded(t, link.VP8, 600)
	start := peerStart(link.VP8)
	start.Session.Credit.Through = 5
	start.Session.Select.Data = nil
	s := begin(t, start)
	for _, u := range units {
		s.send(link.KindMedia, u)
	}
	s.until("five frames, and a request for a keyframe", 10*time.Second, func() bool { return len(s.results) == 5 && s.refreshes > 0 })
	s.send(link.KindCredit, link.Credit{Through: unlimited})
	s.until("what waited", 10*time.Second, func() bool { return len(s.results) >= inboxUnits })
	s.send(link.KindMedia, units[len(units)-15]) // a keyframe
	s.send(link.KindEnd, nil)
	l := s.finish(20 * time.Second)
	if l.Decoded != uint64(len(units)+1) || l.Dropped == 0 || l.Inferred != uint64(len(s.results)) || l.DecoderErrors > 0 {
		t.Errorf("%+v", l)
	}
	if s.refreshes > 20 {
		t.Errorf("%d requests for a keyframe", s.refreshes)
	}
}

// A track that begins in the middle asks for a keyframe and goes on with it.
func TestPeersTrackWithoutAKeyframe(t *testing.T) {
	units := encoded(t, link.H264, 30)
	s := begin(t, peerStart(link.H264))
	for _, u := range units[5:14] {
		s.send(link.KindMedia, u)
	}
	s.until("a request for a keyframe", 10*time.Second, func() bool { return s.refreshes == 1 })
	for _, u := range units[15:] {
		s.send(link.KindMedia, u)
	}
	s.send(link.KindEnd, nil)
	s.finish(10 * time.Second)
	if n := len(s.documents()); n != 15 {
		t.Errorf("%d of 15 frames", n)
	}
}

// A peer that goes before it sent anything is no fault.
func TestPeersTrackThatNeverCame(t *testing.T) {
	s := begin(t, peerStart(link.VP8))
	s.send(link.KindEnd, nil)
	s.finish(10 * time.Second)
}

// A confined session of a file, and of a peer's track, gives what a free one does.
func TestConfinedSessions(t *testing.T) {
	film := sessionStart(t, "video/face_h264.mp4")
	film.Model = yolox(t)
	film.Session.Video, film.Session.Gzip = link.H264, true
	film.Session.Select = link.Select{Stream: "drawn", Data: []string{"tracked", "drawn", "plain"}}
	track := peerStart(link.H264)
	track.Model, track.Session.NoModel = film.Model, false
	units := encoded(t, link.H264, 30)
	for name, start := range map[string]link.Start{"film": film, "track": track} {
		t.Run(name, func(t *testing.T) {
			start.Confine = true
			e := process(t, start, func(_ int, conn *link.Conn) {
				if name == "film" {
					return
				}
				for _, u := range units {
					conn.Send(link.KindMedia, u)
				}
				conn.Send(link.KindEnd, nil)
			})
			if e.done == nil || e.confined == nil {
				t.Fatalf("confined %v, fault %v\n%s", e.confined, e.fault, e.stderr)
			}
			docs := readAll(t, e.results)
			want := len(units)
			if name == "film" {
				want = len(times(t, start.Source.URL))
			}
			if len(docs) != want || len(e.units) != want {
				t.Fatalf("%d documents and %d pictures of %d frames\n%s", len(docs), len(e.units), want, e.stderr)
			}
			for _, d := range docs {
				if len(d.Errors) > 0 || len(d.Data) != len(start.Session.Select.Data) {
					t.Fatalf("frame %d: errors %q", d.Meta.Frame, d.Errors)
				}
			}
		})
	}
	t.Run("network", func(t *testing.T) {
		e := process(t, link.Start{Mode: "session", Confine: true, Source: link.Source{URL: "http://user:secret@127.0.0.1:1/"}, Session: &link.Session{NoModel: true}}, nil)
		if e.fault == nil || e.fault.Kind != link.FaultInternal || bytes.Contains([]byte(e.fault.Message), []byte("secret")) {
			t.Errorf("%+v", e.fault)
		}
	})
}

// flaky is a camera that serves motion JPEG, five pictures a connection. It refuses
// every other connection but the first.
func flaky(t *testing.T, asked *atomic.Int32) string {
	t.Helper()
	var pic bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 160, 120))
	for i := range img.Pix {
		img.Pix[i] = byte(i % 251)
	}
	if err := jpeg.Encode(&pic, img, nil); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%2 == 0 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
		for range 5 {
			fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", pic.Len())
			w.Write(pic.Bytes())
			fmt.Fprint(w, "\r\n")
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
	}))
	s.Start()
	t.Cleanup(s.Close)
	return s.URL + "/video"
}

// A camera that drops the connection is tried again in the same session: it says so,
// numbers go on without a gap, and time goes on.
func TestSessionOfAFlakyCamera(t *testing.T) {
	var asked atomic.Int32
	start := link.Start{Mode: "session", Source: link.Source{URL: flaky(t, &asked)}, Threads: 1, Session: &link.Session{
		Realtime: true, NoModel: true, Outputs: []link.Output{outPlain}, Select: link.Select{Data: []string{"plain"}}, Credit: link.Credit{Through: unlimited},
	}}
	s := begin(t, start)
	s.until("pictures of three connections", 20*time.Second, func() bool { return len(s.results) > 0 && asked.Load() >= 5 && len(s.results) >= 11 })
	s.send(link.KindStop, nil)
	s.finish(10 * time.Second)
	offline := 0
	for _, st := range s.status {
		if st.State == link.Offline && st.Reason != "" {
			offline++
			t.Log(st.Reason)
		}
	}
	if offline < 2 {
		t.Errorf("the loss was told %d times: %+v", offline, s.status)
	}
	docs := s.documents()
	gaps := 0
	for i, d := range docs {
		d.image(t, "plain")
		if d.Meta.Frame != uint64(i+1) || i > 0 && d.Meta.PTS <= docs[i-1].Meta.PTS {
			t.Fatalf("document %d: %+v", i+1, d.Meta)
		}
		if i > 0 && d.Meta.PTS-docs[i-1].Meta.PTS > videoClock*4/10 {
			gaps++
		}
	}
	if gaps < 2 {
		t.Errorf("time did not go on while the camera was away: %d gaps", gaps)
	}
}

// A source that will never be one ends the session at once.
func TestSessionOfACameraThatRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   link.FaultKind
	}{
		"absent":   {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, link.FaultNotFound},
		"refused":  {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, link.FaultRefused},
		"no video": {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>hello</html>") }, link.FaultUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			camera := httptest.NewServer(c.answer)
			defer camera.Close()
			s := begin(t, link.Start{Mode: "session", Source: link.Source{URL: camera.URL}, Session: &link.Session{NoModel: true}})
			if err := s.wait(10 * time.Second); err == nil || s.fault == nil || s.fault.Kind != c.want {
				t.Fatalf("%v, fault %+v", err, s.fault)
			}
			t.Log(s.fault)
		})
	}
}

// A source that cannot be reached yet is waited for, until the session is stopped.
func TestSessionOfACameraThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, url := range []string{"http://" + address + "/", "rtsp://" + address + "/"} {
		s := begin(t, link.Start{Mode: "session", Source: link.Source{URL: url}, Session: &link.Session{NoModel: true}})
		s.until("word of the loss", 10*time.Second, func() bool {
			return len(s.status) > 0 && s.status[len(s.status)-1].State == link.Offline && s.status[len(s.status)-1].Reason != ""
		})
		s.send(link.KindStop, nil)
		s.finish(10 * time.Second)
	}
}

// An RTSP camera whose plug is pulled is played again when it is back.
func TestSessionOfAnRTSPCamera(t *testing.T) {
	var clip boxtest.Clip
	clip.FPS = 30
	for _, u := range encoded(t, link.H264, 30) {
		clip.Units = append(clip.Units, u.Data)
	}
	camera, err := boxtest.NewRTSPCamera(clip, boxtest.RTSPConfig{TCPOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer camera.Cut()
	s := begin(t, link.Start{Mode: "session", Source: link.Source{URL: camera.URL("", "")}, Threads: 1, Session: &link.Session{
		NoModel: true, Outputs: []link.Output{outPlain}, Credit: link.Credit{Through: unlimited}, Video: link.VP8, Select: link.Select{Stream: "plain"},
	}})
	s.until("pictures", 10*time.Second, func() bool { return len(s.results) > 20 })
	camera.Cut()
	s.until("word of the loss", 10*time.Second, func() bool { return s.status[len(s.status)-1].State == link.Offline })
	if err := camera.Mend(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	n := len(s.results)
	s.mu.Unlock()
	s.until("pictures again", 15*time.Second, func() bool { return len(s.results) > n+20 && s.status[len(s.status)-1].State == link.Playing })
	s.send(link.KindStop, nil)
	s.finish(10 * time.Second)
	docs := s.documents()
	for i, d := range docs {
		if d.Meta.Frame != uint64(i+1) || i > 0 && d.Meta.PTS <= docs[i-1].Meta.PTS {
			t.Fatalf("document %d: %+v", i+1, d.Meta)
		}
	}
}

// A camera's worker plays motion JPEG, too, and its supervisor is told of the loss.
func TestLiveWorkerOfAnMJPEGCamera(t *testing.T) {
	var asked atomic.Int32
	s := begin(t, link.Start{Mode: "live", Source: link.Source{URL: flaky(t, &asked)}, Threads: 1})
	if err := s.wait(10 * time.Second); err == nil || s.fault == nil || s.fault.Kind != link.FaultUnreachable {
		t.Fatalf("%v, fault %+v", err, s.fault)
	}
	l := s.beats[len(s.beats)-1].Ledger
	if balanced(t, l); l.Decoded < 4 || l.Failed > 0 {
		t.Errorf("%+v", l)
	}
	var playing *link.Status
	for i := range s.status {
		if s.status[i].State == link.Playing {
			playing = &s.status[i]
		}
	}
	if playing == nil || playing.Stream.Width != 160 || playing.Stream.Codec == "" {
		t.Errorf("%+v", s.status)
	}
}
