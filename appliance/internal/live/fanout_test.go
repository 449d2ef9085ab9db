package live

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		http.DefaultClient.CloseIdleConnections()
		os.Exit(code)
	}))
}

func TestLossIsRecovered(t *testing.T) {
	s, e, web := testServer(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.run(ctx, 60)
	// Every 13th packet, and once a run of 20, is lost the first time.
	var mu sync.Mutex
	lost := map[uint16]bool{}
	n, over := 0, false
	c := watch(t, web.URL, clientOptions{drop: func(seq uint16) bool {
		mu.Lock()
		defer mu.Unlock()
		n++
		if over || n < 20 || lost[seq] || n%13 != 0 && (n < 300 || n >= 320) {
			return false
		}
		lost[seq] = true
		return true
	}})
	eventually(t, "500 packets", 10*time.Second, func() bool { return len(c.received()) > 500 })
	mu.Lock()
	over = true
	mu.Unlock()
	defer func() { t.Logf("%+v", s.Stats().Streams[0]) }()
	eventually(t, "the last retransmissions", 2*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		got := map[uint16]bool{}
		for _, p := range c.received() {
			got[p.SequenceNumber] = true
		}
		for seq := range lost {
			if !got[seq] {
				return false
			}
		}
		return true
	})
	cancel()
	got, _ := units(t, c.inOrder(), H264)
	st := s.Stats().Streams[0]
	t.Logf("%d pictures whole, %d packets lost on the way; %+v", len(got), len(lost), st)
	if st.NacksAnswered < uint64(len(lost)) || st.NacksMissed != 0 {
		t.Errorf("stats %+v", st)
	}
}

// relay is a TCP hop between a viewer and the server, which can stop reading
// what the server sends.
type relay struct {
	net.Listener
	paused atomic.Bool
	wg     sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	r.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp4", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			_ = out.(*net.TCPConn).SetReadBuffer(32 << 10)
			r.wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			r.wg.Go(func() { r.back(in, out) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); r.paused.Store(false); r.wg.Wait() })
	return r
}

func (r *relay) back(in, out net.Conn) {
	defer func() { _ = in.Close() }()
	buf := make([]byte, 16<<10)
	for {
		for r.paused.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		n, err := out.Read(buf)
		if err != nil {
			return
		}
		if _, err := in.Write(buf[:n]); err != nil {
			return
		}
	}
}

// redirect has the answer's TCP candidate point to the relay.
func (r *relay) redirect(answer string) string {
	tcp := regexp.MustCompile(`( tcp \d+ 127\.0\.0\.1) \d+ `)
	return tcp.ReplaceAllString(answer, fmt.Sprintf("${1} %d ", r.Addr().(*net.TCPAddr).Port))
}

func TestSlowViewerSkipsAlone(t *testing.T) {
	s, e, web := testServer(t, nil)
	e.size, e.gop = 20000, 45
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var slowest atomic.Int64
	go func() { // as fakeEncoder.run, with a clock on Publish
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for start := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			at := time.Now()
			e.next(at.Sub(start))
			slowest.Store(max(slowest.Load(), int64(time.Since(at))))
		}
	}()
	_, tcp := s.Addr()
	r := newRelay(t, tcp.String())
	slow := watch(t, web.URL, clientOptions{tcp: true, answer: r.redirect})
	fast := watch(t, web.URL, clientOptions{drop: func(uint16) bool { return false }})
	eventually(t, "both to have pictures", 5*time.Second, func() bool {
		return len(slow.received()) > 100 && len(fast.received()) > 100
	})
	r.paused.Store(true)
	eventually(t, "units to be skipped", 8*time.Second, func() bool {
		st := s.Stats().Streams[0]
		return st.Queue > 0 || st.Skipped > 0
	})
	mark := len(fast.received())
	time.Sleep(1500 * time.Millisecond)
	if n := len(fast.received()) - mark; n < 400 { // 600 KB/s
		t.Errorf("the fast viewer got %d packets in 1.5 s", n)
	}
	before := len(slow.received())
	r.paused.Store(false)
	eventually(t, "the slow viewer to come back", 8*time.Second, func() bool {
		return s.Stats().Streams[0].Skipped > 0 && len(slow.received()) > before+600
	})
	st := s.Stats().Streams[0]
	if st.Connected != 2 || st.Skipped < 10 || st.NacksMissed > 0 {
		t.Errorf("stats %+v", st)
	}
	if gaps := keyframesAfterGaps(t, slow.received()); gaps == 0 {
		t.Error("the slow viewer had no gap in time")
	}
	// By count, not by the clock: a starved test is late, but misses nothing.
	pictures := map[uint32]bool{}
	for _, p := range fast.inOrder() {
		pictures[p.Timestamp] = true
	}
	if missed := int(st.Units) - len(pictures); missed > 20 { // those before it joined
		t.Errorf("the fast viewer has %d of %d pictures", len(pictures), st.Units)
	}
	t.Logf("slowest Publish %v; %+v", time.Duration(slowest.Load()), st)
}

// keyframesAfterGaps checks that sequence numbers have no gaps, and that after
// each gap in time comes a keyframe. It returns the number of gaps.
func keyframesAfterGaps(t *testing.T, packets []*rtp.Packet) (gaps int) {
	t.Helper()
	for i := 1; i < len(packets); i++ {
		p, q := packets[i-1], packets[i]
		if q.SequenceNumber != p.SequenceNumber+1 {
			t.Fatalf("sequence number %d after %d", q.SequenceNumber, p.SequenceNumber)
		}
		if q.Timestamp-p.Timestamp < 90000/4 {
			continue
		}
		gaps++
		if q.Payload[0]&0x1f != 24 { // STAP-A: parameter sets
			t.Errorf("after %d ms without a picture came NAL type %d, no keyframe", (q.Timestamp-p.Timestamp)/90, q.Payload[0]&0x1f)
		}
	}
	return gaps
}

// cuttable is a UDP hop to the server that can fall silent.
func cuttable(t *testing.T, to net.Addr) (port int, cut func()) {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, to.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	var viewer atomic.Pointer[net.UDPAddr]
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			viewer.Store(from)
			_, _ = back.Write(buf[:n])
		}
	})
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			if to := viewer.Load(); to != nil {
				_, _ = front.WriteToUDP(buf[:n], to)
			}
		}
	})
	var once sync.Once
	cut = func() { once.Do(func() { _ = front.Close(); _ = back.Close(); wg.Wait() }) }
	t.Cleanup(cut)
	return front.LocalAddr().(*net.UDPAddr).Port, cut
}

func openFiles() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(d)
}

// TestViewersLeaveNothing lets 100 viewers come and go, in every way there is.
func TestViewersLeaveNothing(t *testing.T) {
	s, e, web := testServer(t, func(c *Config) { c.Timeout = time.Second })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.run(ctx, 15)
	udp, _ := s.Addr()
	var sessions []weak.Pointer[session]
	var peers []weak.Pointer[webrtc.PeerConnection]
	once := func(n int, kind string) {
		var pcs []*webrtc.PeerConnection
		var cuts []func()
		for range n {
			switch kind {
			case "never connects":
				pc := newPeer(t, clientOptions{})
				pcs = append(pcs, pc)
				res, body := request(t, "POST", web.URL+endpoint, typeSDP, offerOf(t, pc, false), nil)
				if res.StatusCode != 201 {
					t.Fatalf("%s %s", res.Status, body)
				}
			case "falls silent":
				port, cut := cuttable(t, udp)
				cuts = append(cuts, cut)
				c := watch(t, web.URL, clientOptions{hide: true, answer: func(a string) string {
					return regexp.MustCompile(`( udp \d+ 127\.0\.0\.1) \d+ `).ReplaceAllString(without(a, "a=candidate:3757"), fmt.Sprintf("${1} %d ", port))
				}})
				pcs = append(pcs, c.pc)
			case "TCP":
				pcs = append(pcs, watch(t, web.URL, clientOptions{tcp: true}).pc)
			default:
				pcs = append(pcs, watch(t, web.URL, clientOptions{}).pc)
			}
		}
		if kind != "never connects" {
			eventually(t, "viewers to connect: "+kind, 20*time.Second, func() bool { return s.Stats().Streams[0].Connected == n })
		}
		s.mu.Lock()
		for _, ses := range s.sessions {
			sessions, peers = append(sessions, weak.Make(ses)), append(peers, weak.Make(ses.pc))
		}
		s.mu.Unlock()
		for _, cut := range cuts {
			cut()
		}
		if kind == "falls silent" || kind == "never connects" {
			eventually(t, "viewers to be given up: "+kind, 10*time.Second, func() bool { return s.Stats().Streams[0].Viewers == 0 })
		}
		for _, pc := range pcs {
			_ = pc.Close()
		}
		eventually(t, "viewers to be gone: "+kind, 10*time.Second, func() bool { return s.Stats().Streams[0].Viewers == 0 })
	}
	kinds := []string{"closes", "never connects", "falls silent", "TCP"}
	for _, k := range kinds {
		once(1, k) // what the first of each leaves is the program's
	}
	// The clients live in this process too: the server's share of the heap is
	// shown by what can still be reached.
	settle := func() (goroutines, files, reachable int) {
		http.DefaultClient.CloseIdleConnections()
		time.Sleep(200 * time.Millisecond)
		runtime.GC()
		for i := range sessions {
			if sessions[i].Value() != nil || peers[i].Value() != nil {
				reachable++
			}
		}
		return runtime.NumGoroutine(), openFiles(), reachable
	}
	g0, f0, _ := settle()
	for _, k := range kinds {
		once(25, k)
	}
	var g, f, left int
	eventually(t, "goroutines, files and memory to be back", 15*time.Second, func() bool {
		g, f, left = settle()
		return g <= g0+2 && f <= f0+2 && left == 0
	})
	t.Logf("%d viewers; goroutines %d → %d, files %d → %d, %d sessions reachable", len(sessions), g0, g, f0, f, left)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots != 0 || len(s.sessions) != 0 {
		t.Errorf("%d places and %d sessions are left", s.slots, len(s.sessions))
	}
}

// TestRestartOfProducer lets the camera's run end and another begin, with
// timestamps from 0 again, and a slate between.
func TestRestartOfProducer(t *testing.T) {
	_, e, web := testServer(t, nil)
	c := watch(t, web.URL, clientOptions{})
	eventually(t, "connection", 5*time.Second, func() bool { return c.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	for _, run := range []string{"camera", "slate", "camera"} {
		for i := range 15 {
			e.mu.Lock()
			e.force[0] = i == 0
			e.mu.Unlock()
			e.next(time.Duration(i) * 33 * time.Millisecond)
			time.Sleep(10 * time.Millisecond)
		}
		_ = run
	}
	eventually(t, "45 pictures", 5*time.Second, func() bool {
		n := 0
		for _, p := range c.received() {
			if p.Marker {
				n++
			}
		}
		return n >= 45
	})
	_, stamps := units(t, c.received(), H264)
	for i := 1; i < len(stamps); i++ {
		if d := stamps[i] - stamps[i-1]; d == 0 || d > 9000 {
			t.Errorf("timestamp step %d before picture %d", d, i)
		}
	}
}

func TestDemand(t *testing.T) {
	_, e, web := testServer(t, func(c *Config) { c.Linger = 300 * time.Millisecond })
	wants := func() string {
		e.mu.Lock()
		defer e.mu.Unlock()
		return strings.ReplaceAll(fmt.Sprint(e.wants), "] [", "],[")
	}
	a := watch(t, web.URL, clientOptions{})
	eventually(t, "H.264 to be wanted", 2*time.Second, func() bool { return wants() == "[[true false]]" })
	request(t, "DELETE", web.URL+a.session, "", "", nil)
	b := watch(t, web.URL, clientOptions{}) // a reload
	time.Sleep(500 * time.Millisecond)
	if got := wants(); got != "[[true false]]" {
		t.Errorf("a reload restarted the encoder: %s", got)
	}
	v := watch(t, web.URL, clientOptions{vp8: true})
	eventually(t, "VP8 to be wanted", 2*time.Second, func() bool { return wants() == "[[true false],[true true]]" })
	request(t, "DELETE", web.URL+b.session, "", "", nil)
	request(t, "DELETE", web.URL+v.session, "", "", nil)
	eventually(t, "nothing to be wanted", 2*time.Second, func() bool { return strings.HasSuffix(wants(), "[false false]]") })
}

// TestKeyframeRequests has viewers ask for keyframes in a storm.
func TestKeyframeRequests(t *testing.T) {
	_, e, web := testServer(t, nil)
	e.gop = 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.run(ctx, 30)
	var cs []*client
	for range 3 {
		cs = append(cs, watch(t, web.URL, clientOptions{}))
	}
	eventually(t, "all to have pictures", 5*time.Second, func() bool {
		return !slices.ContainsFunc(cs, func(c *client) bool { return len(c.received()) < 30 })
	})
	end := time.Now().Add(2500 * time.Millisecond)
	for time.Now().Before(end) {
		for _, c := range cs {
			sendPLI(t, c)
		}
		time.Sleep(20 * time.Millisecond)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := 1; i < len(e.requests); i++ {
		if d := e.requests[i].Sub(e.requests[i-1]); d < 950*time.Millisecond {
			t.Errorf("request %d came %v after the one before", i, d)
		}
	}
	if n := len(e.requests); n < 3 || n > 5 {
		t.Errorf("%d requests", n)
	}
}
