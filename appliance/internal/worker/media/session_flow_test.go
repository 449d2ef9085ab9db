package media

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/health"
	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// A session that is not realtime stops at its credit, to the frame, for video and
// documents alike, and loses nothing by waiting.
func TestSessionWaitsForCredit(t *testing.T) {
	start := sessionStart(t, "video/face_h264.mp4")
	start.Session.NoModel, start.Session.Video = true, link.VP8
	start.Session.Select = link.Select{Stream: "plain"}
	start.Session.Credit.Through = 7
	s := begin(t, start)
	s.until("seven frames", 10*time.Second, func() bool { return len(s.results) == 7 && len(s.units) == 7 })
	time.Sleep(300 * time.Millisecond)
	s.send(link.KindCredit, link.Credit{Through: 3}) // what was given is not taken back
	time.Sleep(200 * time.Millisecond)
	s.mu.Lock()
	if len(s.results) != 7 || len(s.units) != 7 {
		t.Errorf("with credit for 7 frames: %d documents, %d pictures", len(s.results), len(s.units))
	}
	if b := s.beats[len(s.beats)-1].Ledger; b.Decoded > 7+3*sessionDepth+4 {
		t.Errorf("it decoded %d frames ahead", b.Decoded)
	}
	s.mu.Unlock()
	s.send(link.KindCredit, link.Credit{Through: 8})
	s.until("the eighth frame", 5*time.Second, func() bool { return len(s.results) == 8 && len(s.units) == 8 })
	s.send(link.KindCredit, link.Credit{Through: unlimited})
	l := s.finish(30 * time.Second)
	if n := uint64(len(times(t, start.Source.URL))); uint64(len(s.documents())) != n || l.PicturesSent != n || uint64(s.count()) != n {
		t.Errorf("%d documents, %d pictures of %d frames", len(s.results), s.count(), n)
	}
}

// Whoever waits for credit is stopped all the same, and that is an orderly end.
func TestSessionStopsWhileItWaits(t *testing.T) {
	start := sessionStart(t, "video/face_h264.mp4")
	start.Session.NoModel = true
	start.Session.Credit.Through = 2
	s := begin(t, start)
	s.until("two frames", 10*time.Second, func() bool { return len(s.results) == 2 })
	s.send(link.KindStop, nil)
	s.finish(5 * time.Second)
}

// A realtime session goes on without credit: the documents beyond it are left out,
// with their numbers, and the video is whole. A file has its own pace.
func TestRealtimeSessionLeavesDocumentsOut(t *testing.T) {
	start := sessionStart(t, "video/face_h264.mp4")
	start.Session.NoModel, start.Session.Video, start.Session.Realtime = true, link.H264, true
	start.Session.Select = link.Select{Stream: "plain"}
	start.Session.Credit.Through = 3
	want := times(t, start.Source.URL)
	begun := time.Now()
	s := begin(t, start)
	s.until("twelve pictures", 10*time.Second, func() bool { return len(s.units) >= 12 && len(s.results) == 3 })
	s.send(link.KindCredit, link.Credit{Through: unlimited})
	l := s.finish(30 * time.Second)
	if took, long := time.Since(begun), want[len(want)-1]; took < long*8/10 {
		t.Errorf("a film of %v played in %v", long, took)
	}
	docs := s.documents()
	if docs[2].Meta.Frame != 3 || len(docs) < 4 || docs[3].Meta.Frame < 12 {
		t.Errorf("%d documents, the fourth of frame %d", len(docs), docs[min(3, len(docs)-1)].Meta.Frame)
	}
	last := docs[len(docs)-1].Meta
	if handled := l.Inferred; last.Frame != handled || l.Decoded != handled+l.Dropped || uint64(s.count()) != l.PicturesSent {
		t.Errorf("the last document is of frame %d, %+v", last.Frame, l)
	}
}

// slow is a model that takes its time and finds the same thing in every frame.
type slow struct {
	takes time.Duration
	fails func(frame int) bool
	seen  int
}

var errSlow = errors.New("the accelerator is gone")

func (*slow) InputSize(int, int) (int, int) { return 64, 64 }
func (*slow) Close() error                  { return nil }
func (d *slow) Detect(vision.RGB, int, int) ([]vision.Detection, error) {
	time.Sleep(d.takes)
	d.seen++
	if d.fails != nil && d.fails(d.seen) {
		return nil, errSlow
	}
	return []vision.Detection{{Box: vision.Box{X0: 10, Y0: 10, X1: 110, Y1: 210}, Label: "person", Score: 0.5}}, nil
}

// with runs a session on a model of the test's own and a source of its own.
func with(t *testing.T, d detector, play read, start link.Start) *session {
	t.Helper()
	if start.Session.Outputs == nil {
		start.Session.Outputs = []link.Output{outFound, outTracked, outPlain, outDrawn}
	}
	conn, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	start.Mode, start.Camera = "session", "test"
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{t: t, conn: conn, stop: cancel, end: make(chan struct{}), said: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w := &worker{conn: link.NewConn(c), start: start, play: play, log: log, begun: time.Now(), detector: d}
	go func() {
		defer close(s.end)
		defer w.conn.Close()
		s.err = w.run(ctx)
	}()
	go func() { defer close(s.said); s.read() }()
	t.Cleanup(func() {
		conn.Close()
		<-s.said
		<-s.end
		cancel()
	})
	return s
}

// A frame that cannot be analysed is told of, in words and on its pictures, and the
// session goes on; a model that fails for good ends it.
func TestSessionWithAFailingModel(t *testing.T) {
	for _, c := range []struct {
		name string
		good func(int) bool
		ends bool
	}{
		{"now and then", func(n int) bool { return n%5 == 0 }, false},
		{"for good", func(n int) bool { return n > 5 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const frames = 100
			start := link.Start{Source: link.Source{URL: "film.mp4"}, Session: &link.Session{
				Select: link.Select{Data: []string{"found", "plain"}}, Credit: link.Credit{Through: unlimited}, Tracker: &link.Tracker{},
			}}
			s := with(t, &slow{fails: c.good}, drawn(frames), start)
			if c.ends {
				if err := s.wait(30 * time.Second); err == nil || s.fault == nil || s.fault.Kind != link.FaultModel || !strings.Contains(s.fault.Message, errSlow.Error()) {
					t.Fatalf("%v, fault %v, done %v", err, s.fault, s.done)
				}
				l := s.beats[len(s.beats)-1].Ledger
				if balanced(t, l); l.Failed != tooManyFailures || l.Inferred != 5 {
					t.Errorf("%+v", l)
				}
				return
			}
			l := s.finish(30 * time.Second)
			docs := s.documents()
			if len(docs) != frames || l.Failed != frames/5 || l.Inferred != frames*4/5 {
				t.Fatalf("%d documents, %+v", len(docs), l)
			}
			grey := docs[0].image(t, "plain")
			for i, d := range docs {
				bad := (i+1)%5 == 0
				_, told := d.Data["found"]
				if bad != (len(d.Errors) > 0) || bad == told || bad && !strings.Contains(strings.Join(d.Errors, " "), errSlow.Error()) {
					t.Fatalf("frame %d: %v with errors %q", i+1, d.Data, d.Errors)
				}
				if i%10 == 4 && differs(grey, d.image(t, "plain")) == 0 {
					t.Errorf("frame %d says nothing on its picture", i+1)
				}
				if i%10 == 5 && differs(grey, d.image(t, "plain")) != 0 {
					t.Errorf("frame %d says something on its picture", i+1)
				}
			}
		})
	}
}

// A realtime session with a slow model drops frames before they get a number, and
// what is left is fresh.
func TestRealtimeSessionDrops(t *testing.T) {
	start := link.Start{Source: link.Source{URL: "demo:"}, Session: &link.Session{
		Realtime: true, Select: link.Select{All: true}, Credit: link.Credit{Through: unlimited}, DeclaredFPS: 12,
	}}
	s := with(t, &slow{takes: 100 * time.Millisecond}, scripted(30, func(time.Duration) bool { return true }), start)
	s.until("ten documents", 10*time.Second, func() bool { return len(s.results) >= 10 })
	s.send(link.KindStop, nil)
	l := s.finish(10 * time.Second)
	docs := s.documents()
	for i, d := range docs {
		if d.Meta.Frame != uint64(i+1) {
			t.Fatalf("document %d is of frame %d", i+1, d.Meta.Frame)
		}
	}
	if l.Dropped < l.Inferred/2 || l.Dropped == 0 {
		t.Errorf("%+v", l)
	}
	if m := docs[len(docs)-1].Meta; m.Measured > 15 || m.Measured <= 0 || m.Declared != 30 || m.PTS < uint64(len(docs))*videoClock/15 {
		t.Errorf("%+v", m)
	}
}

func TestSessionGzip(t *testing.T) {
	start := sessionStart(t, "video/h265_video.mp4")
	start.Session.Gzip, start.Session.NoModel = true, true
	start.Session.Select = link.Select{Data: []string{"plain"}}
	s := begin(t, start)
	s.finish(30 * time.Second)
	for _, d := range s.documents() {
		d.image(t, "plain")
	}
	for _, r := range s.results {
		if !bytes.HasPrefix(r.Data, []byte{0x1f, 0x8b}) {
			t.Fatal("a document is not compressed")
		}
	}
}

// What is no video is a fault of its kind, and no document comes.
func TestSessionOfHostileFiles(t *testing.T) {
	dir := t.TempDir()
	noise := filepath.Join(dir, "noise.mp4")
	if err := os.WriteFile(noise, bytes.Repeat([]byte("ftypisommoovmdat"), 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"noise": noise, "absent": filepath.Join(dir, "absent.mp4"), "codec": sessionStart(t, "video/vvc_unsupported.mp4").Source.URL,
	} {
		t.Run(name, func(t *testing.T) {
			start := link.Start{Mode: "session", Source: link.Source{URL: url}, Session: &link.Session{NoModel: true}}
			s := begin(t, start)
			if err := s.wait(30 * time.Second); err == nil || s.fault == nil || s.done != nil || len(s.results) > 0 {
				t.Fatalf("%v, fault %v, done %v", err, s.fault, s.done)
			}
			t.Log(s.fault)
		})
	}
}

// Motion is analysed without a model's file, classes and threshold included.
func TestSessionOfMotion(t *testing.T) {
	for _, class := range []string{"Motion", "person"} {
		start := sessionStart(t, "video/highway_asp.avi")
		start.Classes = []string{class}
		s := begin(t, start)
		s.until("some documents", 20*time.Second, func() bool { return len(s.results) > 100 })
		s.send(link.KindStop, nil)
		s.finish(10 * time.Second)
		found, tracked := 0, map[int]bool{}
		for _, d := range s.documents() {
			for _, p := range d.predictions(t, "found").Predictions {
				if p.Class != "motion" || p.ClassID != 0 {
					t.Fatalf("%+v", p)
				}
				found++
			}
			for _, p := range d.predictions(t, "tracked").Predictions {
				tracked[*p.Tracker] = true
			}
		}
		if (found > 0) != (class == "Motion") || (len(tracked) > 0) != (found > 0) {
			t.Errorf("%s: %d objects, %d tracks", class, found, len(tracked))
		}
		if st := s.status[len(s.status)-1]; st.Analyser != motionName || st.State != link.Playing {
			t.Errorf("%+v", st)
		}
	}
}

// What a session holds does not grow with the frames that it handled.
func TestSessionMemory(t *testing.T) {
	const frames = 4000
	start := link.Start{Source: link.Source{URL: "film.mp4"}, Session: &link.Session{
		Select: link.Select{Stream: "drawn", Data: []string{"tracked", "drawn"}}, Credit: link.Credit{Through: unlimited},
		Tracker: &link.Tracker{}, Video: link.H264,
	}}
	s := with(t, &slow{}, drawn(frames), start)
	drop := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		if len(s.results) > 0 {
			n = int(s.results[len(s.results)-1].Frame)
		}
		s.results, s.units = s.results[:0], s.units[:0]
		return n
	}
	var early, late int64
	for n := 0; n < frames; time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.said:
			n = frames
		default:
			n = max(n, drop())
		}
		if n > frames/4 && early == 0 {
			early = health.ResidentBytes()
		}
		late = health.ResidentBytes()
	}
	s.finish(30 * time.Second)
	if early == 0 || late-early > 40<<20 {
		t.Errorf("%d MiB after a quarter of %d frames, %d MiB in the end", early>>20, frames, late>>20)
	}
	t.Logf("%d and %d MiB", early>>20, late>>20)
}
