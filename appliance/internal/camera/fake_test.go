package camera

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// fakes is a hand-written Spawn: no process, so that time can be a test's own.
// The real ones are in real_test.go.
type fakes struct {
	mu    sync.Mutex
	live  func(n int, p *fakeProc) link.Exit // the n-th live worker, from 0
	slate func(p *fakeProc) link.Exit
	procs []*fakeProc
	lives int
}

// fakeProc is one fake worker; its script runs until it returns the exit.
type fakeProc struct {
	start  link.Start
	handle func(link.Message)
	at     time.Time
	stopc  chan struct{}
	killc  chan struct{}
	once   [2]sync.Once
	exit   chan link.Exit
	over   chan struct{}

	mu   sync.Mutex
	told []any
}

func (f *fakes) spawn(ctx context.Context, start link.Start, handle func(link.Message), _ func(string) string) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &fakeProc{
		start: start, handle: handle, at: time.Now(), stopc: make(chan struct{}), killc: make(chan struct{}),
		exit: make(chan link.Exit, 1), over: make(chan struct{}),
	}
	script := func(p *fakeProc) link.Exit { return f.slate(p) }
	if start.Mode == "live" {
		n := f.lives
		f.lives++
		script = func(p *fakeProc) link.Exit { return f.live(n, p) }
	}
	f.procs = append(f.procs, p)
	go func() {
		handle(link.Message{Kind: link.KindHello, Value: link.Hello{PID: 4711}})
		e := script(p)
		e.Runtime = time.Since(p.at)
		close(p.over)
		p.exit <- e
	}()
	return p, nil
}

func (p *fakeProc) tell(v any) {
	p.mu.Lock()
	p.told = append(p.told, v)
	p.mu.Unlock()
}
func (p *fakeProc) heard() []any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}
func (p *fakeProc) Want(w link.Want)         { p.tell(w) }
func (p *fakeProc) Keyframe(c link.Codec)    { p.tell(c) }
func (p *fakeProc) Throttle(t link.Throttle) { p.tell(t) }
func (p *fakeProc) Stop()                    { p.once[0].Do(func() { close(p.stopc) }) }
func (p *fakeProc) Kill()                    { p.once[1].Do(func() { close(p.killc) }) }
func (p *fakeProc) Wait() link.Exit          { return <-p.exit }

func (p *fakeProc) say(k link.Kind, v any) { p.handle(link.Message{Kind: k, Value: v}) }
func (p *fakeProc) running() bool {
	select {
	case <-p.over:
		return false
	default:
		return true
	}
}

// idle waits; false: the worker was ended meanwhile.
func (p *fakeProc) idle(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.stopc:
	case <-p.killc:
	}
	return false
}

// play shows pictures and beats for d. Frames are decoded unless frozen.
func (p *fakeProc) play(d time.Duration, frozen bool) bool {
	p.say(link.KindStatus, link.Status{State: link.Playing, Analyser: "motion", Stream: link.Stream{Codec: "h264", Width: 640, Height: 360}})
	began := time.Now()
	for n := uint64(1); time.Since(began) < d; n++ {
		decoded := n
		if frozen {
			decoded = 1
		}
		p.say(link.KindAccessUnit, link.AccessUnit{Codec: link.H264, Keyframe: n == 1, PTS: time.Since(began), Data: []byte("live")})
		p.say(link.KindBeat, link.Beat{RSS: 1 << 20, Ledger: link.Ledger{Decoded: decoded, Inferred: decoded - 1, Pending: 1}})
		if !p.idle(100 * time.Millisecond) {
			return false
		}
	}
	return true
}

// showSlate is a slate worker that does what it should.
func showSlate(p *fakeProc) link.Exit {
	for n := 0; ; n++ {
		p.say(link.KindAccessUnit, link.AccessUnit{Codec: link.H264, Keyframe: n == 0, Slate: true, PTS: time.Duration(n) * 200 * time.Millisecond, Data: []byte("slate")})
		if !p.idle(200 * time.Millisecond) {
			return link.Exit{}
		}
	}
}

var (
	errExit = link.Exit{Err: link.ErrDied, Code: 1, Stderr: []string{"oh dear", "rtsp://me:hunter2@cam burst"}}
	killed  = link.Exit{Code: -1, Signal: syscall.SIGKILL}
)

func faulty(kind link.FaultKind, text string) link.Exit {
	f := link.Fault{Kind: kind, Message: text}
	return link.Exit{Err: f, Fault: &f, Code: 1}
}

// of is the workers started so far in a mode, in order.
func (f *fakes) of(mode string) []*fakeProc {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*fakeProc
	for _, p := range f.procs {
		if p.start.Mode == mode {
			out = append(out, p)
		}
	}
	return out
}

// lockedSink is an Output for a test that looks while it runs.
type lockedSink struct {
	mu sync.Mutex
	sink
}

func (s *lockedSink) Publish(u link.AccessUnit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink.Publish(u)
}

// bubble runs a camera on fakes in fake time; body steers with time.Sleep.
func bubble(t *testing.T, f *fakes, change func(*Config), body func(*Camera, *lockedSink)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if f.slate == nil {
			f.slate = showSlate
		}
		out := &lockedSink{}
		cfg := Config{
			ID: "door", Start: link.Start{Model: "m", Source: link.Source{URL: "rtsp://me:hunter2@cam/1"}},
			Backoff: Backoff{Jitter: -1},
			Redact:  func(s string) string { return strings.ReplaceAll(s, "me:hunter2@", "") },
		}
		if change != nil {
			change(&cfg)
		}
		c, err := New(Deps{Spawn: f.spawn, Output: out, Log: slog.New(slog.DiscardHandler)}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		body(c, out)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		for i, p := range f.procs {
			if p.running() {
				t.Errorf("worker %d (%s) outlives the camera", i, p.start.Mode)
			}
		}
		if s := c.Snapshot(); s.State != Stopped || s.Worker != nil || !s.Ledger.Balanced() {
			t.Errorf("at the end: %+v", s)
		}
		last := time.Duration(-1)
		for _, u := range out.units {
			if u.PTS <= last {
				t.Errorf("a picture at %v came after one at %v", u.PTS, last)
			}
			last = u.PTS
		}
	})
}
