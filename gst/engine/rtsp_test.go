package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/format"

	"github.com/watchpost/watchpost/gst/plan"
)

// watched is what one Read of a camera gave.
type watched struct {
	frames   int
	infos    []Info
	warnings []string
	err      error
	took     time.Duration
	first    time.Duration // until the first frame
}

// watch reads a camera until it has given n frames, or ends.
func watch(src plan.Source, n int, limit time.Duration, each func(*Frame)) watched {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var w watched
	start := time.Now()
	w.err = Read(ctx, src, Handlers{
		Info:    func(i Info) { w.infos = append(w.infos, i) },
		Warning: func(s string) { w.warnings = append(w.warnings, s) },
		Frame: func(f *Frame) {
			if w.frames++; w.frames == 1 {
				w.first = time.Since(start)
			}
			if each != nil {
				each(f)
			}
			f.Release()
			if w.frames == n {
				cancel()
			}
		},
	})
	w.took = time.Since(start)
	return w
}

func (w watched) ended(kind ErrorKind, words ...string) error {
	var e *Error
	if !errors.As(w.err, &e) {
		return fmt.Errorf("ended with %v after %v", w.err, w.took)
	}
	if e.Kind != kind {
		return fmt.Errorf("%s %q, want %s", e.Kind, e.Message, kind)
	}
	for _, word := range words {
		if !strings.Contains(e.Message, word) {
			return fmt.Errorf("%q does not say %q", e.Message, word)
		}
	}
	return nil
}

func TestRTSPTransports(t *testing.T) {
	clip := levels(t, 320, 240, 15)
	for _, c := range []struct {
		name, transport string
		cam             *rtspCam
		over            gortsplib.Protocol
	}{
		{"tcp", "tcp", &rtspCam{}, gortsplib.ProtocolTCP},
		{"udp", "udp", &rtspCam{}, gortsplib.ProtocolUDP},
		{"tcp is preferred", "", &rtspCam{}, gortsplib.ProtocolTCP},
		{"udp where tcp is refused", "", &rtspCam{noTCP: true}, gortsplib.ProtocolUDP},
		{"tcp where udp is refused", "", &rtspCam{noUDP: true}, gortsplib.ProtocolTCP},
		{"tcp where udp is blocked", "", &rtspCam{deafUDP: true}, gortsplib.ProtocolTCP},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cam := c.cam
			cam.start(t, h264Track(t, clip), clip, true)
			w := watch(plan.Source{URL: cam.url(""), Transport: c.transport}, 20, 15*time.Second, nil)
			t.Logf("first frame after %v over %v; %v", w.first, cam.over(), w.warnings)
			if w.frames < 20 || cam.over() != c.over {
				t.Errorf("%d frames over %v: %v", w.frames, cam.over(), w.err)
			}
			if took := w.took - w.first; took > 3*time.Second {
				t.Errorf("it took %v to end", took)
			}
		})
	}
}

func TestRTSPCodecs(t *testing.T) {
	const raw = "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "
	for _, c := range []struct {
		name   string
		track  func(clip [][]byte) format.Format
		launch string
		need   string
		want   string
	}{
		{"H.265", func([][]byte) format.Format { return &format.H265{PayloadTyp: 96} },
			raw + "x265enc tune=zerolatency key-int-max=15 ! h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au", "x265enc", "H.265"},
		{"MJPEG", func([][]byte) format.Format { return &format.MJPEG{} }, raw + "jpegenc", "jpegenc", "JPEG"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clip := made(t, c.launch, c.need)
			cam := &rtspCam{}
			cam.start(t, c.track(clip), clip, false)
			moves := map[string]bool{}
			w := watch(plan.Source{URL: cam.url("")}, 40, 15*time.Second, func(f *Frame) { moves[fmt.Sprint(grid(f))] = true })
			t.Logf("%+v, first after %v, %d different pictures; %v", w.infos, w.first, len(moves), w.warnings)
			if w.frames < 40 || len(w.infos) == 0 || w.infos[0].Codec != c.want || w.infos[0].Width != 320 || w.infos[0].Height != 240 {
				t.Errorf("%d frames, %+v, %v", w.frames, w.infos, w.err)
			}
			if len(moves) < 15 {
				t.Errorf("only %d different pictures", len(moves))
			}
		})
	}
}

func TestRTSPSignIn(t *testing.T) {
	clip := levels(t, 320, 240, 15)
	for _, c := range []struct {
		name        string
		method      auth.VerifyMethod
		credentials string
		good        bool
	}{
		{"digest", auth.VerifyMethodDigestMD5, "admin:s3cr%2Fet@", true},
		{"basic", auth.VerifyMethodBasic, "admin:s3cr%2Fet@", true},
		{"digest, wrong", auth.VerifyMethodDigestMD5, "admin:wr0ngpass@", false},
		{"basic, wrong", auth.VerifyMethodBasic, "admin:wr0ngpass@", false},
		{"digest, none", auth.VerifyMethodDigestMD5, "", false},
		{"basic, none", auth.VerifyMethodBasic, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cam := &rtspCam{user: "admin", password: "s3cr/et"}
			cam.start(t, h264Track(t, clip), clip, false, c.method)
			w := watch(plan.Source{URL: cam.url(c.credentials)}, 5, 10*time.Second, nil)
			t.Logf("%d frames in %v: %v %v", w.frames, w.took, w.err, w.warnings)
			said := fmt.Sprint(w.err, w.warnings)
			for _, secret := range []string{"s3cr", "wr0ng", "admin:"} {
				if strings.Contains(said, secret) {
					t.Errorf("%q is in %q", secret, said)
				}
			}
			if c.good && w.frames < 5 {
				t.Errorf("%d frames: %v", w.frames, w.err)
			}
			if !c.good {
				if err := w.ended(Refused, "user and password"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestRTSPFaults(t *testing.T) {
	clip := levels(t, 320, 240, 15)
	t.Run("no such stream", func(t *testing.T) {
		t.Parallel()
		cam := &rtspCam{missing: true}
		cam.start(t, h264Track(t, clip), clip, false)
		w := watch(plan.Source{URL: cam.url("")}, 5, 10*time.Second, nil)
		if err := w.ended(NotFound, "no such stream"); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		w := watch(plan.Source{URL: "rtsp://admin:s3cret@" + l.Addr().String() + "/live"}, 5, 10*time.Second, nil)
		t.Log(w.took, w.err)
		if err := w.ended(Unreachable, "address and port"); err != nil || w.took > 2*time.Second {
			t.Error(err, w.took)
		}
	})
	t.Run("closes midway", func(t *testing.T) {
		t.Parallel()
		cam := &rtspCam{}
		cam.start(t, h264Track(t, clip), clip, false)
		var cut time.Time
		n := 0
		w := watch(plan.Source{URL: cam.url("")}, 1000, 15*time.Second, func(*Frame) {
			if n++; n == 20 {
				cut = time.Now()
				go cam.close()
			}
		})
		t.Log(time.Since(cut), w.err)
		if err := w.ended(Unreachable, "closed the connection"); err != nil || time.Since(cut) > 3*time.Second {
			t.Error(err, time.Since(cut))
		}
	})
	t.Run("changes its size", func(t *testing.T) {
		t.Parallel()
		cam := &rtspCam{}
		cam.start(t, h264Track(t, clip), clip, false)
		other := levels(t, 640, 360, 15)
		n := 0
		var sizes []string
		w := watch(plan.Source{URL: cam.url("")}, 60, 15*time.Second, func(f *Frame) {
			if n++; n == 20 {
				cam.change(other)
			}
			if s := fmt.Sprintf("%dx%d", f.Width, f.Height); !slices.Contains(sizes, s) {
				sizes = append(sizes, s)
			}
		})
		if w.frames < 60 || len(w.infos) != 2 || w.infos[1].Width != 640 || fmt.Sprint(sizes) != "[320x240 640x360]" {
			t.Errorf("%d frames, sizes %v, %+v, %v, %v", w.frames, sizes, w.infos, w.warnings, w.err)
		}
	})
	t.Run("falls silent", func(t *testing.T) {
		t.Parallel()
		cam := &rtspCam{}
		cam.start(t, h264Track(t, clip), clip, false)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		var cancelled time.Time
		err := Read(ctx, plan.Source{URL: cam.url("")}, Handlers{Frame: func(f *Frame) {
			f.Release()
			if n++; n == 20 {
				cam.silent.Store(true)
				time.AfterFunc(2*time.Second, func() { cancelled = time.Now(); cancel() })
			}
		}})
		if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > time.Second {
			t.Errorf("cancelled, it took %v to end with %v", took, err)
		}
	})
}

// dumb accepts connections and never says a word.
func dumb(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "rtsp://admin:s3cret@" + l.Addr().String() + "/live"
}

func TestRTSPDumbServer(t *testing.T) {
	t.Run("ends", func(t *testing.T) {
		t.Parallel()
		w := watch(plan.Source{URL: dumb(t)}, 1, 20*time.Second, nil)
		t.Log(w.took, w.err)
		if err := w.ended(Unreachable, "does not answer"); err != nil || w.took > 7*time.Second {
			t.Error(err, w.took)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		t.Parallel()
		w := watch(plan.Source{URL: dumb(t)}, 1, 500*time.Millisecond, nil)
		if !errors.Is(w.err, context.DeadlineExceeded) || w.took > 1500*time.Millisecond {
			t.Error(w.err, w.took)
		}
	})
}

// frozen is a camera's address, through a proxy that stops passing anything on
// when it is told to.
func frozen(t *testing.T, to string) (address string, freeze func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var stopped atomic.Bool
	done := make(chan struct{})
	var both sync.WaitGroup
	go func() {
		defer close(done)
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			pass := func(dst, src net.Conn) {
				buf := make([]byte, 64<<10)
				for {
					n, err := src.Read(buf)
					if err != nil {
						break
					}
					if !stopped.Load() {
						_, _ = dst.Write(buf[:n])
					}
				}
				a.Close()
				b.Close()
			}
			both.Go(func() { pass(a, b) })
			both.Go(func() { pass(b, a) })
		}
	}()
	t.Cleanup(func() { l.Close(); <-done; both.Wait() })
	return l.Addr().String(), func() { stopped.Store(true) }
}

// A camera whose plug was pulled answers nothing any more, not even the request
// to end the session.
func TestRTSPDeadServerEnds(t *testing.T) {
	clip := levels(t, 320, 240, 15)
	cam := &rtspCam{}
	cam.start(t, h264Track(t, clip), clip, false)
	address, freeze := frozen(t, cam.addr)
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	n := 0
	err := Read(ctx, plan.Source{URL: "rtsp://" + address + "/live"}, Handlers{Frame: func(f *Frame) {
		f.Release()
		if n++; n == 20 {
			freeze()
			time.AfterFunc(500*time.Millisecond, func() { cancelled = time.Now(); cancel() })
		}
	}})
	if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > time.Second {
		t.Errorf("cancelled, it took %v to end with %v", took, err)
	}
}

// The time of capture is when the packets of a picture were here; the picture
// itself must follow within less than a frame's time.
func TestRTSPDelay(t *testing.T) {
	clip := levels(t, 640, 360, 15)
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			cam := &rtspCam{}
			cam.start(t, h264Track(t, clip), clip, false)
			var arrival, total []time.Duration
			watch(plan.Source{URL: cam.url(""), Transport: transport, Threads: 2}, 150, 20*time.Second, func(f *Frame) {
				now, clock := time.Now(), monotonic()
				all := now.Sub(cam.sentAt(level(f)))
				arrival = append(arrival, all-time.Duration(clock-f.Captured))
				total = append(total, all)
			})
			if len(total) < 150 {
				t.Fatalf("%d frames", len(total))
			}
			arrival, total = arrival[30:], total[30:]
			slices.Sort(arrival)
			slices.Sort(total)
			middle, late := len(total)/2, len(total)*9/10
			t.Logf("sent to captured: median %v, p90 %v; sent to frame: median %v, p90 %v", arrival[middle], arrival[late], total[middle], total[late])
			if arrival[middle] > 10*time.Millisecond || arrival[0] < -time.Millisecond || total[middle] > 25*time.Millisecond {
				t.Errorf("too late")
			}
		})
	}
}

func TestRTSPNameNotKnown(t *testing.T) {
	w := watch(plan.Source{URL: "rtsp://admin:s3cret@nosuchcamera.invalid/live"}, 1, 20*time.Second, nil)
	t.Log(w.took, w.err)
	if err := w.ended(Unreachable, "name"); err != nil {
		t.Error(err)
	}
}
