package rtcworker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// puppet is a worker without a process, for tests on a clock of their own.
type puppet struct {
	mu     sync.Mutex
	credit uint64
	sel    link.Select
	killed chan struct{}
	once   sync.Once
}

func (p *puppet) Select(s link.Select) { p.mu.Lock(); p.sel = s; p.mu.Unlock() }
func (p *puppet) Credit(c link.Credit) { p.mu.Lock(); p.credit = c.Through; p.mu.Unlock() }

func (p *puppet) Media(link.AccessUnit) bool { return true }
func (p *puppet) MediaBytes() int            { return 0 }
func (p *puppet) End()                       {}
func (p *puppet) Keyframe(link.Codec)        {}
func (p *puppet) Stop()                      { p.Kill() }
func (p *puppet) Kill()                      { p.once.Do(func() { close(p.killed) }) }
func (p *puppet) Wait() link.Exit            { <-p.killed; return link.Exit{} }
func (p *puppet) PID() int                   { return 1 }

// cord is a connection that is closed, and a sink that takes what it is told to.
type cord struct {
	mu       sync.Mutex
	closed   time.Time
	messages [][]byte
	stuck    bool
	pace     time.Duration // of a message
}

func (w *cord) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = time.Now()
	return nil
}

func (w *cord) write(ctx context.Context, p []byte) error {
	w.mu.Lock()
	w.messages = append(w.messages, append([]byte(nil), p...))
	stuck, pace := w.stuck, w.pace
	w.mu.Unlock()
	select {
	case <-time.After(pace):
	case <-ctx.Done():
		return ctx.Err()
	}
	if stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (w *cord) drained(context.Context) error { return nil }

// stage is a session on a clock of its own.
type stage struct {
	*life
	puppet *puppet
	wire   *cord
	ended  chan struct{}
}

// stageOf runs a session whose peer has connected and has a channel.
func stageOf(t *testing.T, c Config, req *request, url string) *stage {
	t.Helper()
	s := &stage{puppet: &puppet{killed: make(chan struct{})}, wire: &cord{}, ended: make(chan struct{})}
	server := &Server{c: c.withDefaults(), sessions: map[string]*life{}, inUse: map[string]int{}}
	server.d = Deps{Log: slog.New(slog.DiscardHandler), Discard: func(string) {},
		Spawn: func(context.Context, link.Start, func(link.Message)) (Process, error) { return s.puppet, nil }}
	server.metrics = newMetrics(server)
	req.source, req.url = SourceRTSP, url
	s.life = server.newLife(req, &offer{out: -1, in: -1, channels: true})
	var err error
	s.graph, err = workflow.Compile(workflow.Request{Specification: client.Detection("motion").Specification}, func() []workflow.Model {
		return []workflow.Model{{Name: "motion"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.conn = s.wire
	go func() { s.run(); close(s.ended) }()
	return s
}

// open has the peer be connected, with somebody who reads documents.
func (s *stage) open() {
	s.tell(func() {
		s.outlets = []*outlet{{}}
		s.nowConnected("peer")
		s.sender.use(s.wire, false)
		s.credit.unread = false
	})
	synctest.Wait()
}

// at returns when the session was over, from its beginning.
func (s *stage) at(t *testing.T) (time.Duration, string) {
	t.Helper()
	<-s.ended
	return time.Since(s.began), s.finished.reason
}

const second = time.Second

// The clocks of a session, to the nanosecond.
func TestClocks(t *testing.T) {
	t.Run("not connected", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "rtsp://x")
			if d, reason := s.at(t); d != 30*second || reason != reasonNotConnected {
				t.Errorf("%v, %s", d, reason)
			}
		})
	})
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "rtsp://x")
			time.Sleep(5 * second)
			s.open()
			time.Sleep(50 * second)
			s.sign()
			// 60 s behind the last sign; the peer has 2 s to go then.
			if d, reason := s.at(t); d != 117*second || reason != reasonSilent {
				t.Errorf("%v, %s", d, reason)
			}
		})
	})
	t.Run("signs of life", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "rtsp://x")
			s.open()
			for i, sign := range []func(){
				func() {
					s.report(link.Message{Kind: link.KindResult, Value: link.Result{Frame: 1, Data: []byte("{}")}})
				},
				func() { s.report(link.Message{Kind: link.KindAccessUnit, Value: link.AccessUnit{}}) },
				s.sign,
			} {
				time.Sleep(59 * second)
				sign()
				synctest.Wait()
				if s.tell(func() {}) != true || s.ctx.Err() != nil {
					t.Fatalf("it ended before sign %d", i)
				}
			}
			// A worker's heartbeat is none: that it runs is not that it does something.
			time.Sleep(59 * second)
			s.report(link.Message{Kind: link.KindBeat, Value: link.Beat{}})
			if d, reason := s.at(t); d != (3*59+62)*second || reason != reasonSilent {
				t.Errorf("%v, %s", d, reason)
			}
		})
	})
	t.Run("timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{timeout: 7500 * time.Millisecond}, "rtsp://x")
			time.Sleep(4 * second)
			s.open()
			if d, reason := s.at(t); d != 4*second+7500*time.Millisecond+leaveTime || reason != reasonTimeout {
				t.Errorf("%v, %s", d, reason)
			}
			if last := s.wire.messages[len(s.wire.messages)-1]; string(last[chunkHeader:]) != string(lastWord(reasonTimeout, []string{s.finished.words})) {
				t.Errorf("%s", last[chunkHeader:])
			}
		})
	})
	t.Run("last word not taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "rtsp://x")
			s.open()
			s.wire.mu.Lock()
			s.wire.stuck = true
			s.wire.mu.Unlock()
			s.tell(func() { s.end(reasonOperator, "x") })
			if d, reason := s.at(t); d != deliverTime || reason != reasonOperator {
				t.Errorf("%v, %s", d, reason)
			}
		})
	})
	// The source came to its end, and the peer lives, and says so, but takes nothing.
	lingers := func(t *testing.T, timeout time.Duration) *stage {
		s := stageOf(t, Config{}, &request{timeout: timeout}, "rtsp://x")
		s.open()
		s.wire.mu.Lock()
		s.wire.stuck = true
		s.wire.mu.Unlock()
		for n := range uint64(3) {
			s.report(link.Message{Kind: link.KindResult, Value: link.Result{Frame: n + 1, Data: []byte("{}")}})
		}
		s.report(link.Message{Kind: link.KindDone, Value: link.Done{}})
		go func() {
			for {
				select {
				case <-time.After(50 * second):
					s.sign()
					s.tell(func() { s.acknowledged(0) })
				case <-s.ended:
					return
				}
			}
		}()
		return s
	}
	t.Run("nothing taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if d, reason := lingers(t, 0).at(t); d != 60*second || reason != reasonSilent {
				t.Errorf("%v, %q", d, reason)
			}
		})
	})
	t.Run("nothing taken in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if d, reason := lingers(t, 20*second).at(t); d != 20*second+deliverTime || reason != reasonTimeout {
				t.Errorf("%v, %q", d, reason)
			}
		})
	})
	t.Run("taken slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "rtsp://x")
			s.open()
			s.wire.mu.Lock()
			s.wire.pace = 50 * second
			s.wire.mu.Unlock()
			for n := range uint64(3) {
				s.report(link.Message{Kind: link.KindResult, Value: link.Result{Frame: n + 1, Data: make([]byte, chunkPayload+1)}})
			}
			s.report(link.Message{Kind: link.KindDone, Value: link.Done{}})
			// Six messages, the last word, and the time to leave.
			if d, reason := s.at(t); d != 7*50*second+leaveTime || reason != reasonDone {
				t.Errorf("%v, %q", d, reason)
			}
		})
	})
	t.Run("taken too slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{timeout: 120 * second}, "rtsp://x")
			s.open()
			s.wire.mu.Lock()
			s.wire.pace = 50 * second
			s.wire.mu.Unlock()
			for n := range uint64(3) {
				s.report(link.Message{Kind: link.KindResult, Value: link.Result{Frame: n + 1, Data: []byte("{}")}})
			}
			s.report(link.Message{Kind: link.KindDone, Value: link.Done{}})
			if d, reason := s.at(t); d != 120*second+deliverTime || reason != reasonTimeout {
				t.Errorf("%v, %q", d, reason)
			}
		})
	})
	t.Run("box goes down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "rtsp://x")
			s.open()
			s.wire.mu.Lock()
			s.wire.stuck = true
			s.wire.mu.Unlock()
			s.tell(func() { s.end(reasonStopping, "x") })
			if d, _ := s.at(t); d > 5*second {
				t.Errorf("%v", d)
			}
		})
	})
	t.Run("upload closed early", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "")
			s.req.source = SourceUnknown
			s.tell(func() { s.begun("u1", false) })
			s.open()
			s.tell(func() { s.uploadEnded(nil) })
			if d, reason := s.at(t); d != channelPause+leaveTime || reason != reasonUpload {
				t.Errorf("%v, %s", d, reason)
			}
		})
	})
}

// A file that fails is the end of a session that waits for it, and of no other: one
// whose source plays goes on when a second upload on its channel comes to nothing.
func TestSecondFileFails(t *testing.T) {
	for _, plays := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t, Config{}, &request{}, "")
			s.req.source = SourceUnknown
			s.open()
			r := s.receiving()
			if plays {
				r.Complete("u1", "file")
				s.tell(func() { s.sender.use(s.wire, false) })
				synctest.Wait()
			}
			r.Failed("u2", errors.New("it is refused"))
			synctest.Wait()
			want := reasonUpload
			if plays {
				if !s.tell(func() { s.end(reasonDone, "") }) {
					t.Error("the second file ended the session")
				}
				want = reasonDone
			}
			if _, reason := s.at(t); reason != want {
				t.Errorf("plays %v: ended with %q, want %q", plays, reason, want)
			}
		})
	}
}

// Credit is what the contract between client, box and worker says.
func TestCredit(t *testing.T) {
	c := credit{window: 20}
	step := func(what string, want uint64) {
		t.Helper()
		if got := c.limit(); got != want {
			t.Errorf("%s: up to %d, want %d", what, got, want)
		}
	}
	step("at first", 8)
	c.written = 30
	step("30 written", 38)
	c.ack(10, 30)
	step("it never goes back", 38)
	c.ack(25, 30)
	step("25 acknowledged", 45)
	c.ack(5, 30)
	step("an older one", 45)
	c.ack(1<<60, 31)
	step("what was not sent", 51)
	c.written = 40
	step("it was, since", 60)
	c.unread = true
	step("nobody reads", unlimited)

	c = credit{realtime: true, window: 20}
	step("realtime", 4)
	c.written = 10
	step("10 written", 14)
	c.waiting, c.handled = 4, 500
	step("the reader is behind", 14)
	c.waiting = 3
	step("it has room again", 504)
	c.written = 502
	step("and goes on", 506)
}

// A worker that comes up when its session is over is ended; one that does not come up is told of.
func TestLateWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stageOf(t, Config{}, &request{}, "rtsp://x")
		started := make(chan struct{})
		s.s.d.Spawn = func(context.Context, link.Start, func(link.Message)) (Process, error) {
			close(started)
			time.Sleep(second)
			return s.puppet, nil
		}
		s.open()
		<-started
		s.tell(func() { s.gone(reasonLeft, "x") })
		<-s.ended
		select {
		case <-s.puppet.killed:
		default:
			t.Error("the worker lives on")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := stageOf(t, Config{}, &request{}, "rtsp://x")
		s.s.d.Spawn = func(context.Context, link.Start, func(link.Message)) (Process, error) {
			return nil, link.Fault{Kind: link.FaultModel, Message: "no such model"}
		}
		s.open()
		if _, reason := s.at(t); reason != reasonWorker || s.finished.words != "no such model" {
			t.Errorf("%+v", s.finished)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := stageOf(t, Config{}, &request{}, "rtsp://x")
		s.s.d.Prepare = func(*link.Start) error { return errors.New("the disk is gone") }
		s.open()
		if _, reason := s.at(t); reason != reasonWorker {
			t.Errorf("%+v", s.finished)
		}
	})
}
