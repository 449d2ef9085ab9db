package media

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/health"
	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

func artist(t *testing.T) *draw.Artist {
	t.Helper()
	a, err := draw.New()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func demo() link.Start {
	return link.Start{Mode: "live", Source: link.Source{URL: "demo:", Width: 640, Height: 360, FPS: 15}, Threads: 1}
}

// The whole of a live worker's duties, on the scene that the box draws itself.
func TestLiveWorker(t *testing.T) {
	s := begin(t, demo())
	s.until("detections without a viewer", 10*time.Second, func() bool {
		return len(s.found) > 0 && len(s.found[len(s.found)-1].Objects) > 0
	})
	if n := s.count(); n > 0 {
		t.Fatalf("%d units though nobody watches", n)
	}

	s.send(link.KindWant, link.Want{H264: true})
	s.until("H.264", 5*time.Second, func() bool { return len(s.units) >= 10 })
	units := s.since(0, link.H264)
	if !units[0].Keyframe || !bytes.HasPrefix(units[0].Data, []byte{0, 0, 0, 1}) {
		t.Errorf("the first unit: keyframe %v, begins % x", units[0].Keyframe, units[0].Data[:8])
	}
	for i, u := range units {
		if u.Slate || i > 0 && (u.PTS <= units[i-1].PTS || u.Keyframe) || u.Captured == 0 || u.Encode <= 0 {
			t.Errorf("unit %d: slate %v, key %v, %v, captured %d, encoded in %v", i, u.Slate, u.Keyframe, u.PTS, u.Captured, u.Encode)
		}
	}

	n := s.count()
	s.send(link.KindKeyframe, link.Keyframe{Codec: link.H264})
	s.until("the keyframe that was asked for", 2*time.Second, func() bool {
		for _, u := range s.units[n:] {
			if u.Keyframe {
				return true
			}
		}
		return false
	})
	if n := s.count() - n; n > 8 {
		t.Errorf("the keyframe came as the %dth picture", n)
	}

	s.send(link.KindWant, link.Want{VP8: true})
	s.until("VP8 alone", 5*time.Second, func() bool {
		last := s.units[max(0, len(s.units)-5):]
		for _, u := range last {
			if u.Codec != link.VP8 {
				return false
			}
		}
		return true
	})

	s.send(link.KindWant, link.Want{})
	time.Sleep(300 * time.Millisecond)
	n = s.count()
	time.Sleep(500 * time.Millisecond)
	if more := s.count() - n; more > 0 {
		t.Errorf("%d units after the last viewer went", more)
	}

	s.send(link.KindThrottle, link.Throttle{MaxFPS: 3, Reason: "heat"})
	s.until("frames skipped for heat", 3*time.Second, func() bool { return s.beats[len(s.beats)-1].Ledger.SkippedHeat > 5 })

	s.send(link.KindStop, nil)
	if err := s.wait(3 * time.Second); err != nil || s.done == nil {
		t.Fatalf("%v, done %v", err, s.done)
	}
	balanced(t, s.done.Ledger)
	if l := s.done.Ledger; l.Inferred == 0 || l.Failed > 0 || l.PicturesSent == 0 || l.Dropped > l.Decoded/10 {
		t.Errorf("%+v", l)
	}
	for _, b := range s.beats {
		if !b.Ledger.Balanced() {
			t.Errorf("a beat does not balance: %+v", b.Ledger)
		}
	}
	if st := s.status[len(s.status)-1]; st.State != link.Playing || st.Stream.Width != 640 || st.Analyser != motionName || st.Encoder == "" {
		t.Errorf("the last status is %+v", st)
	}
}

// A signal ends a live worker as a stop does: the whole service gets one when
// the box goes down, and that is no fault of a camera.
func TestSignalIsNoFault(t *testing.T) {
	s := begin(t, demo())
	s.until("a picture", 5*time.Second, func() bool { return len(s.found) > 0 })
	s.stop()
	if err := s.wait(3 * time.Second); err != nil || s.fault != nil || s.done == nil {
		t.Errorf("%v, fault %v, done %v", err, s.fault, s.done)
	}
}

func TestWorkerDoesNotOutliveTheLink(t *testing.T) {
	s := begin(t, demo())
	s.until("a picture", 5*time.Second, func() bool { return len(s.found) > 0 })
	s.conn.Close()
	if err := s.wait(3 * time.Second); !errors.Is(err, errAlone) {
		t.Errorf("it ended with %v", err)
	}
}

// scripted plays frames at a rate for as long as on says so.
func scripted(fps int, on func(at time.Duration) bool) read {
	return func(ctx context.Context, _ plan.Source, h engine.Handlers) error {
		h.Info(engine.Info{Codec: "drawn", Width: 320, Height: 240, FPS: float64(fps), Live: true})
		begun := time.Now()
		tick := time.NewTicker(time.Second / time.Duration(fps))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			if !on(time.Since(begun)) {
				continue
			}
			f, err := engine.NewFrame(plan.I420, 320, 240)
			if err != nil {
				return err
			}
			for _, p := range f.Planes { // whatever was there may be what no encoder takes
				for i := range p {
					p[i] = byte(128 + i%7)
				}
			}
			f.PTS, f.Captured = time.Since(begun), monotonic()
			h.Frame(f)
		}
	}
}

// A source that falls silent gives way to the slate, at the size of its pictures,
// and comes back in its place; no viewer has to do anything.
func TestSlateWhileTheSourceIsSilent(t *testing.T) {
	// It is silent for as long as the machine takes to show the slate.
	const silentFrom = time.Second
	var again atomic.Bool
	s := begin(t, link.Start{Mode: "live"}, scripted(10, func(at time.Duration) bool { return at < silentFrom || again.Load() }))
	s.send(link.KindWant, link.Want{H264: true})
	slates := func() (n int) {
		for _, u := range s.units {
			if u.Slate {
				n++
			}
		}
		return n
	}
	s.until("pictures", 3*time.Second, func() bool { return len(s.units) > 3 })
	s.until("the slate", 6*time.Second, func() bool { return slates() > 2 })
	again.Store(true)
	s.until("pictures again", 5*time.Second, func() bool { return slates() > 2 && !s.units[len(s.units)-1].Slate })
	s.send(link.KindStop, nil)
	if err := s.wait(3 * time.Second); err != nil {
		t.Fatal(err)
	}
	var turns []bool // slate or not, once a turn
	for i, u := range s.units {
		if i == 0 || u.Slate != s.units[i-1].Slate {
			turns = append(turns, u.Slate)
			if !u.Keyframe {
				t.Errorf("unit %d is the first of its kind and no keyframe", i)
			}
		}
	}
	if len(turns) > 0 && turns[0] { // a slow machine's first picture
		turns = turns[1:]
	}
	if len(turns) != 3 || turns[0] || !turns[1] || turns[2] {
		t.Errorf("picture and slate took turns as %v", turns)
	}
}

// Who begins to watch a source that has played all along sees its picture, not a
// slate of the time in which nobody looked.
func TestFirstViewerSeesNoSlate(t *testing.T) {
	s := begin(t, link.Start{Mode: "live"}, scripted(2, func(time.Duration) bool { return true }))
	time.Sleep(slateAfter + 700*time.Millisecond)
	s.send(link.KindWant, link.Want{H264: true})
	s.until("pictures", 5*time.Second, func() bool { return len(s.units) >= 2 })
	for i, u := range s.since(0, link.H264) {
		if u.Slate {
			t.Errorf("unit %d is a slate", i)
		}
	}
}

// A slate worker has no source, shows its slate from the start, and goes when told.
func TestSlateWorker(t *testing.T) {
	s := begin(t, link.Start{Mode: "slate", Slate: "no connection to the camera", Since: time.Now().Add(-time.Hour)})
	s.send(link.KindWant, link.Want{H264: true, VP8: true})
	s.until("slates", 5*time.Second, func() bool { return len(s.units) > 4 })
	for _, c := range []link.Codec{link.H264, link.VP8} {
		for i, u := range s.since(0, c) {
			if !u.Slate || i == 0 && !u.Keyframe {
				t.Errorf("unit %d of codec %d: slate %v, keyframe %v", i, c, u.Slate, u.Keyframe)
			}
		}
	}
	s.send(link.KindStop, nil)
	if err := s.wait(3 * time.Second); err != nil {
		t.Error(err)
	}
}

// A source that cannot be had is a fault of its kind, and the last status.
func TestSourceFaults(t *testing.T) {
	for _, c := range []struct {
		url  string
		want link.FaultKind
	}{
		{"/nowhere/at/all.mp4", link.FaultNotFound},
		{"rtsp://user:secret-word@127.0.0.1:1/x", link.FaultUnreachable},
		{"/dev/video999", link.FaultNotFound},
	} {
		t.Run(c.url, func(t *testing.T) {
			s := begin(t, link.Start{Mode: "live", Source: link.Source{URL: c.url}})
			err := s.wait(20 * time.Second)
			if s.fault == nil || s.fault.Kind != c.want {
				t.Fatalf("%v, fault %+v", err, s.fault)
			}
			t.Log(s.fault.Message)
			st := s.status[len(s.status)-1]
			if st.State != link.Offline || st.Reason != s.fault.Message {
				t.Errorf("the last status is %+v", st)
			}
			if bytes.Contains([]byte(s.fault.Message+err.Error()), []byte("secret-word")) {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}

// faulty is an encoder that takes so many frames.
type faulty struct{ good int }

func (*faulty) Keyframe()    {}
func (*faulty) Name() string { return "faulty" }
func (*faulty) Close() error { return nil }
func (e *faulty) Push(f *engine.Frame) error {
	f.Release()
	if e.good--; e.good < 0 {
		return errors.New("the device is gone")
	}
	return nil
}

// A live encoder that breaks is replaced, after a pause; the frames in between
// fail, and none is lost to the pool.
func TestBrokenEncoderIsReplaced(t *testing.T) {
	sent := make(chan link.AccessUnit, 64)
	r := &renditions{
		threads: 1, log: slog.New(slog.DiscardHandler), started: func(string) {},
		send: func(u link.AccessUnit) error { sent <- u; return nil },
	}
	defer r.close()
	shape := shape{width: 320, height: 240, fps: 30}
	r.want(link.Want{H264: true})
	// pushed feeds frames until a picture comes, and counts the failures before.
	pushed := func() (failed int, took time.Duration) {
		began := time.Now()
		for n := 0; len(sent) == 0 && time.Since(began) < 5*time.Second; n++ {
			f, err := engine.NewFrame(plan.I420, 320, 240)
			if err != nil {
				t.Fatalf("frame %d: %v", n, err)
			}
			f.PTS = time.Since(began)
			if err := r.push(f, shape); err != nil {
				failed++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(sent) == 0 {
			t.Fatal("the encoder was not replaced")
		}
		for len(sent) > 0 {
			<-sent
		}
		return failed, time.Since(began)
	}
	r.open[link.H264] = &rendition{encoder: &faulty{good: 3}, shape: shape}
	if failed, took := pushed(); failed != 1 {
		t.Errorf("a first failure cost %d frames and %v", failed, took)
	}
	r.shut(link.H264)
	r.open[link.H264] = &rendition{encoder: &faulty{good: 3}, shape: shape}
	if failed, took := pushed(); failed < 10 || took < encoderPause {
		t.Errorf("a second failure was followed after %v, %d frames later", took, failed)
	}
}

// openh264enc gives up on black and white noise, such as an analogue camera
// without a signal shows: then another encoder is used, where there is one.
func TestEncoderThatCannotIsReplacedByAnother(t *testing.T) {
	if err := engine.Start(engine.Options{}); err != nil {
		t.Fatal(err)
	}
	if !engine.HasElement("openh264enc") || !engine.HasElement("x264enc") {
		t.Skip("needs both openh264enc and x264enc")
	}
	sent := make(chan link.AccessUnit, 64)
	r := &renditions{
		threads: 1, log: slog.New(slog.DiscardHandler), started: func(string) {},
		send: func(u link.AccessUnit) error { sent <- u; return nil },
	}
	defer r.close()
	r.want(link.Want{H264: true})
	rng := rand.New(rand.NewPCG(1, 1))
	began := time.Now()
	for len(sent) < 5 {
		if time.Since(began) > 5*time.Second {
			t.Fatal("no pictures of noise")
		}
		f, err := engine.NewFrame(plan.I420, 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Planes {
			for i := range p {
				p[i] = byte(rng.UintN(2) * 255)
			}
		}
		f.PTS = time.Since(began)
		_ = r.push(f, shape{width: 320, height: 240, fps: 30}) // the first ones fail
		time.Sleep(20 * time.Millisecond)
	}
}

// A stage that hangs silences the worker, which its supervisor then kills.
func TestHangingStageIsNoSignOfLife(t *testing.T) {
	var w worker
	p := &pictureStage{}
	w.stage.Store(p)
	w.analysis.Store(&analysis{})
	if got := w.stuck(); got != "" {
		t.Errorf("idle stages: %q", got)
	}
	p.busy.since.Store(monotonic() - int64(stuckAfter) - 1)
	if got := w.stuck(); got != "encoder" {
		t.Errorf("an encoder that hangs: %q", got)
	}
	w.start.Mode = "file"
	if got := w.stuck(); got != "" {
		t.Errorf("a file's encoder that takes its time: %q", got)
	}
}

// Viewers come and go for months: encoders, their threads and their memory go
// with them.
func TestEncodersLeaveNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	s := begin(t, demo())
	s.until("frames", 5*time.Second, func() bool { return len(s.found) > 0 })
	threads := func() int {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Skip("no /proc here")
		}
		return len(list)
	}
	watch := func() {
		s.send(link.KindWant, link.Want{H264: true, VP8: true})
		s.until("units of both", 5*time.Second, func() bool {
			var seen [maxCodec + 1]bool
			for _, u := range s.units {
				seen[u.Codec] = true
			}
			return seen[link.H264] && seen[link.VP8]
		})
		s.send(link.KindWant, link.Want{})
		time.Sleep(300 * time.Millisecond)
		s.mu.Lock()
		s.units, s.found = nil, nil // their memory is not the worker's
		s.mu.Unlock()
	}
	var before, after int
	var early, late int64
	for i := range 24 {
		watch()
		if i == 7 {
			before, early = threads(), health.ResidentBytes()
		}
	}
	after, late = threads(), health.ResidentBytes()
	t.Logf("threads %d, then %d; memory %d MB, then %d MB", before, after, early>>20, late>>20)
	if after > before+4 || late > early+16<<20 {
		t.Errorf("16 more encoders of each kind left threads (%d, then %d) or memory (%d MB, then %d MB)", before, after, early>>20, late>>20)
	}
}
