package media

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

func TestMain(m *testing.M) {
	// Once for the process, and with the user's registry of plugins: a worker's
	// own, in a new data folder, would be a scan of seconds.
	if err := engine.Start(engine.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, "GStreamer is needed:", err)
		os.Exit(1)
	}
	if lib := acceltest.Library(); lib != "" {
		os.Setenv(accel.LibraryEnv, lib)
	}
	os.Exit(m.Run())
}

// session is a worker that runs in this process, on a real link.
type session struct {
	t    testing.TB
	conn *link.Conn // the control process's end
	stop context.CancelFunc
	end  chan struct{}
	err  error         // of the worker, once end is closed
	said chan struct{} // closed when all that it said is read

	mu     sync.Mutex
	units  []link.AccessUnit
	found  []link.Detections
	status []link.Status
	beats  []link.Beat
	fault  *link.Fault
	done   *link.Done

	committed link.Committed
	results   []link.Result
	refreshes int
}

// begin runs a worker; what it plays may be given in the place of its source.
func begin(t testing.TB, start link.Start, play ...read) *session {
	t.Helper()
	conn, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	theirs := link.NewConn(c)
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{t: t, conn: conn, stop: cancel, end: make(chan struct{}), said: make(chan struct{})}
	if start.Camera == "" {
		start.Camera = "test"
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	segment, _ := strconv.Atoi(os.Getenv(segmentEnv))
	cfg := Config{DataDir: t.TempDir(), Version: "test", SegmentFrames: segment}
	go func() {
		defer close(s.end)
		defer theirs.Close()
		if len(play) == 0 {
			s.err = Run(ctx, theirs, cfg, log)
			return
		}
		w := &worker{conn: theirs, cfg: cfg, start: start, play: play[0], log: log, begun: time.Now()}
		s.err = w.run(ctx)
	}()
	go func() { defer close(s.said); s.read() }()
	t.Cleanup(func() {
		conn.Close()
		<-s.said
		select {
		case <-s.end:
		case <-time.After(10 * time.Second):
			t.Error("the worker outlives its control process")
		}
		cancel()
	})
	if len(play) == 0 {
		s.send(link.KindStart, start)
	}
	return s
}

func (s *session) send(k link.Kind, v any) {
	s.t.Helper()
	if err := s.conn.Send(k, v); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) read() {
	for {
		m, err := s.conn.Receive()
		if err != nil {
			return
		}
		s.mu.Lock()
		if m.Kind == link.KindRefresh {
			s.refreshes++
		}
		switch v := m.Value.(type) {
		case link.Result:
			s.results = append(s.results, v)
		case link.AccessUnit:
			s.units = append(s.units, v)
		case link.Detections:
			s.found = append(s.found, v)
		case link.Status:
			s.status = append(s.status, v)
		case link.Beat:
			s.beats = append(s.beats, v)
		case link.Committed:
			s.committed = v
		case link.Fault:
			s.fault = &v
		case link.Done:
			s.done = &v
		}
		s.mu.Unlock()
	}
}

// loaded is how many times as long everything may take on a machine that has other
// things to do. What must be quick is tested where quickness is the matter.
const loaded = 3

// until waits for what the worker reports to fulfil a condition; limit is for a
// machine that has nothing else to do.
func (s *session) until(what string, limit time.Duration, ok func() bool) {
	s.t.Helper()
	limit *= loaded
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		good := ok()
		s.mu.Unlock()
		if good {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Fatalf("not within %v: %s; %d units, %d detections, %d beats, fault %v, done %v", limit, what, len(s.units), len(s.found), len(s.beats), s.fault, s.done)
}

// wait returns the worker's error once it ended by itself.
func (s *session) wait(limit time.Duration) error {
	s.t.Helper()
	limit *= loaded
	select {
	case <-s.end:
	case <-time.After(limit):
		s.t.Fatalf("the worker did not end within %v", limit)
	}
	<-s.said
	return s.err
}

// since gives the units of a codec that came after the first n.
func (s *session) since(n int, c link.Codec) []link.AccessUnit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.units[n:]), func(u link.AccessUnit) bool { return u.Codec != c })
}

func (s *session) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.units)
}

// balanced fails the test for a ledger that is not complete.
func balanced(t testing.TB, l link.Ledger) {
	t.Helper()
	if !l.Balanced() || l.Pending != 0 {
		t.Errorf("the ledger does not balance: %+v", l)
	}
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}
