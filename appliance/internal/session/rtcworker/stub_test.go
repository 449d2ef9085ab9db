package rtcworker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// stubEnv has this test binary be a worker: a real process on a real link, which plays
// what its source says instead of media.
const stubEnv = "WATCHPOST_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(stubEnv) != "" {
		os.Exit(stub())
	}
	goleak.VerifyTestMain(m)
}

// script is what a stub plays: the query of an rtsp:// URL, or the text of a file.
//
//	frames  how many there are (10); size of a document's padding, bytes (0)
//	pace    milliseconds between frames (0)
//	fault   the kind of a Fault at the beginning, or, with after=N, behind frame N
//	crash   it dies behind frame N; hang: it beats and does nothing; lost: it says so behind frame N
type script struct{ url.Values }

func (s script) number(key string, otherwise int) int {
	if n, err := strconv.Atoi(s.Get(key)); err == nil {
		return n
	}
	return otherwise
}

// stubWorker is a worker that knows Session mode's rules and no media.
type stubWorker struct {
	conn  *link.Conn
	start link.Start

	mu      sync.Mutex
	sel     link.Select
	through uint64
	raised  chan struct{}
	media   chan link.AccessUnit
	handled uint64
}

func stub() int {
	signal.Ignore(syscall.SIGPIPE)
	conn, err := link.Inherited()
	if err != nil {
		return 9
	}
	m, err := conn.Receive()
	if err != nil || m.Kind != link.KindStart {
		return 9
	}
	w := &stubWorker{conn: conn, start: m.Value.(link.Start), raised: make(chan struct{}, 1), media: make(chan link.AccessUnit, 4096)}
	w.sel, w.through = w.start.Session.Select, w.start.Session.Credit.Through
	_ = conn.Send(link.KindHello, link.Hello{Version: "stub", PID: os.Getpid()})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer cancel(); w.listen() }()
	go w.beat(ctx)
	return w.play(ctx)
}

func (w *stubWorker) listen() {
	for {
		m, err := w.conn.Receive()
		if err != nil || m.Kind == link.KindStop {
			return
		}
		w.mu.Lock()
		switch v := m.Value.(type) {
		case link.Select:
			w.sel = v
		case link.Credit:
			w.through = max(w.through, v.Through)
			select {
			case w.raised <- struct{}{}:
			default:
			}
		case link.AccessUnit:
			w.media <- v
		}
		if m.Kind == link.KindEnd {
			close(w.media)
		}
		w.mu.Unlock()
	}
}

func (w *stubWorker) beat(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		n := w.handled
		w.mu.Unlock()
		_ = w.conn.Send(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: n, Inferred: n}})
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *stubWorker) play(ctx context.Context) int {
	if codec, ok := strings.CutPrefix(w.start.Source.URL, "peer:"); ok {
		return w.mirror(ctx, codec)
	}
	var s script
	if w.start.Confine {
		text, err := os.ReadFile(w.start.Source.URL)
		if err != nil {
			_ = w.conn.Send(link.KindFault, link.Fault{Kind: link.FaultNotFound, Message: err.Error()})
			return 1
		}
		s.Values, _ = url.ParseQuery(strings.TrimSpace(strings.TrimRight(string(text), "\x00")))
	} else {
		u, err := url.Parse(w.start.Source.URL)
		if err != nil {
			return 9
		}
		s.Values = u.Query()
	}
	after := s.number("after", 0)
	fault := func() int {
		_ = w.conn.Send(link.KindFault, link.Fault{Kind: link.FaultKind(s.Get("fault")), Message: "it is said to fail"})
		return 1
	}
	if s.Has("fault") && after == 0 {
		return fault()
	}
	if s.Has("hang") {
		<-ctx.Done()
		return 0
	}
	for i := range s.number("frames", 10) {
		n := uint64(i + 1)
		if !w.frame(ctx, n, time.Duration(i)*40*time.Millisecond, s.number("size", 0), 1000) {
			return 0
		}
		switch {
		case s.Has("fault") && i+1 == after:
			return fault()
		case i+1 == s.number("crash", 0):
			fmt.Fprintln(os.Stderr, "panic: the stub was told to crash")
			return 2
		case i+1 == s.number("lost", 0):
			_ = w.conn.Send(link.KindStatus, link.Status{State: link.Offline, Reason: "the camera does not answer"})
		}
		time.Sleep(time.Duration(s.number("pace", 0)) * time.Millisecond)
	}
	_ = w.conn.Send(link.KindDone, link.Done{})
	return 0
}

// mirror makes a frame of each picture of the peer.
func (w *stubWorker) mirror(ctx context.Context, codec string) int {
	n := uint64(0)
	for u := range w.media {
		if n++; !w.frame(ctx, n, time.Duration(n-1)*40*time.Millisecond, 0, len(u.Data)) {
			return 0
		}
	}
	_ = w.conn.Send(link.KindDone, link.Done{})
	return 0
}

// frame handles one frame as a worker does; false: it is to stop.
func (w *stubWorker) frame(ctx context.Context, n uint64, pts time.Duration, size, picture int) bool {
	ask := w.start.Session
	w.mu.Lock()
	w.handled = n
	w.mu.Unlock()
	for !ask.Realtime {
		w.mu.Lock()
		ok := n <= w.through
		w.mu.Unlock()
		if ok {
			break
		}
		select {
		case <-w.raised:
		case <-ctx.Done():
			return false
		}
	}
	w.mu.Lock()
	sel, covered := w.sel, n <= w.through
	w.mu.Unlock()
	if sel.Stream != "" && ask.Video != 0 {
		_ = w.conn.SendUnit(link.AccessUnit{Codec: ask.Video, Keyframe: n%25 == 1, PTS: pts, Data: fakePicture(ask.Video, n%25 == 1, picture)})
	}
	if sel.NoDocuments || !covered {
		return ctx.Err() == nil
	}
	outputs := map[string]any{}
	for _, o := range ask.Outputs {
		if slices.Contains(sel.Data, o.Name) || sel.All && !o.Image() {
			outputs[o.Name] = strings.Repeat("x", size)
		}
	}
	doc, err := json.Marshal(map[string]any{
		"serialized_output_data": outputs, "errors": []string{}, "processing_complete": false, "termination_reason": nil,
		"video_metadata": map[string]any{"frame_id": n, "received_at": "2026-01-02T03:04:05.000006+00:00", "pts": (n - 1) * 3600, "time_base": 1. / 90000,
			"declared_fps": ask.DeclaredFPS, "measured_fps": 0, "width": 64, "height": 48},
		"stream": sel.Stream,
	})
	if err != nil {
		return false
	}
	_ = w.conn.SendResult(link.Result{Frame: n, PTS: pts, Data: doc})
	return ctx.Err() == nil
}

// fakePicture is bytes that packetize like a picture.
func fakePicture(c link.Codec, key bool, size int) []byte {
	if c == link.VP8 {
		b := make([]byte, max(size, 16))
		if b[0] = 1; key { // RFC 6386 section 9.1: the lowest bit is 0 in keyframes
			copy(b, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0})
		}
		return b
	}
	nal := func(b []byte, head ...byte) []byte { return append(append(b, 0, 0, 0, 1), head...) }
	var b []byte
	if key {
		b = nal(b, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x02, 0x80, 0xbf, 0xe5)
		b = nal(b, 0x68, 0xce, 0x3c, 0x80)
		b = nal(b, 0x65, 0x88)
	} else {
		b = nal(b, 0x41, 0x9a)
	}
	for i := range max(size, 16) {
		b = append(b, byte(i)|1)
	}
	return b
}
