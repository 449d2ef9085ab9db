package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session"
	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/channel"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is the channels' side of a box, with real connections and real uploads.
type box struct {
	*uploadtest.Box
	sessions *session.Server
	queues   *queue.Registry
	log      *text
	url      string
}

// text is a log that can be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, most int, follow session.Follow) *box {
	t.Helper()
	said := &text{}
	log := slog.New(slog.NewTextHandler(said, nil))
	peers, err := peer.New(slog.New(slog.DiscardHandler), peer.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	b := &box{Box: uploadtest.Open(t, upload.Config{}), queues: new(queue.Registry), log: said}
	b.sessions, err = session.New(session.Deps{Log: log, Peers: peers, Queues: b.queues, Services: map[string]session.Service{
		"video_upload": func(ctx context.Context, ch session.Channel) error {
			return channel.Serve(ctx, ch, b.Uploads, channel.Options{})
		},
		session.ResultsLabel: session.Results(follow),
	}}, most)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(b.sessions.Handler())
	b.url = web.URL
	t.Cleanup(func() {
		b.sessions.Close()
		web.Close()
		http.DefaultClient.CloseIdleConnections()
		if err := peers.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func dial(t *testing.T, b *box, label string) (*client.Peer, *client.Channel) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p, ch, err := client.Dial(ctx, b.url, label, client.Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, ch
}

// A file is cut off by the loss of its peer half-way, and gone on with by
// another: what was told to be durable is not sent again.
func TestUploadOverAChannel(t *testing.T) {
	b := start(t, 4, nil)
	data, sum := uploadtest.Data(7, 9<<20+4321)
	f := client.File{ReaderAt: bytes.NewReader(data), Name: "clip.mp4", Size: int64(len(data)), SHA256: sum}

	p, ch := dial(t, b, "video_upload")
	var have [][2]int64
	f.Known = func(id string, ranges [][2]int64) {
		f.ID, have = id, ranges
		if len(ranges) > 0 && ranges[0][1] > 60 {
			_ = p.Close() // in the middle of it
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := ch.Upload(ctx, f); err == nil {
		t.Fatal("the upload outlives its connection")
	}
	kept := have[0][1]

	_, ch = dial(t, b, "video_upload")
	counting := &counter{ReaderAt: f.ReaderAt}
	f.ReaderAt = counting
	f.Known = func(id string, ranges [][2]int64) {
		if id != f.ID {
			t.Errorf("the upload goes on as %s, not %s", id, f.ID)
		}
	}
	done, err := ch.Upload(ctx, f)
	if err != nil || done.SHA256 != sum || done.ID != f.ID {
		t.Fatalf("%+v, %v", done, err)
	}
	chunks := (f.Size + 48<<10 - 1) / (48 << 10)
	if counting.reads > int(chunks-kept-1) {
		t.Errorf("%d of %d chunks were sent again, though %d were told to be durable", counting.reads, chunks, kept+1)
	}
	path, err := b.Path(f.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file on the box differs: %v", err)
	}
}

// counter counts the chunks that are read, which are those that are sent.
type counter struct {
	io.ReaderAt
	reads int
}

func (c *counter) ReadAt(p []byte, at int64) (int, error) {
	c.reads++
	return c.ReaderAt.ReadAt(p, at)
}

// The results channel gives every result once, in order, to a reader that breaks
// off and asks on, and tells the end and what is wrong.
func TestResultsOverAChannel(t *testing.T) {
	const most = 5000
	follow := func(ctx context.Context, job string, from uint64, take func(uint64, []byte) error) (string, uint64, error) {
		if job != "j1" {
			return "", 0, errors.New("there is no such job")
		}
		for seq := from; seq <= most; seq++ {
			long := ""
			if seq%1000 == 500 { // too long for one message, by far
				long = strings.Repeat("x", 300<<10)
			}
			if err := take(seq, fmt.Appendf(nil, `{"seq":%d,"frame":%d,"long":%q}`, seq, 2*seq, long)); err != nil {
				return "", 0, err
			}
		}
		return "done", most, nil
	}
	b := start(t, 4, follow)
	next := uint64(1)
	broken := errors.New("enough")
	for round := 0; ; round++ {
		p, ch := dial(t, b, "results")
		end, err := ch.Results("j1", next, func(line json.RawMessage) error {
			var l struct {
				Seq, Frame uint64
				Long       string
			}
			if err := json.Unmarshal(line, &l); err != nil || l.Seq != next || l.Frame != 2*next || (len(l.Long) == 300<<10) != (next%1000 == 500) {
				t.Fatalf("%.200s, want result %d: %v", line, next, err)
			}
			if next++; next%1700 == 0 {
				return broken
			}
			return nil
		})
		if errors.Is(err, broken) {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if err != nil || end.Results != most || end.Status != "done" || next != most+1 || round != 2 {
			t.Fatalf("round %d: %+v, %v, next %d", round, end, err, next)
		}
		if _, err := ch.Results("j2", 1, nil); err == nil || !strings.Contains(err.Error(), "no such job") {
			t.Errorf("a job that is not there: %v", err)
		}
		// The channel goes on after an error that is not its own.
		if end, err := ch.Results("j1", most, func(json.RawMessage) error { return nil }); err != nil || end.Results != most {
			t.Errorf("%+v, %v", end, err)
		}
		return
	}
}

// Channels of no service are told so; sessions have a bound; what is no offer is
// refused with a reason; a peer that leaves makes room.
func TestRefusals(t *testing.T) {
	b := start(t, 1, nil)
	p, ch := dial(t, b, "telepathy")
	if _, err := ch.Receive(make([]byte, 1<<16)); err == nil || !strings.Contains(err.Error(), "telepathy") {
		t.Errorf("an unknown service: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, _, err := client.Dial(ctx, b.url, "results", client.Options{Loopback: true}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("one session too many: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(30 * time.Second); b.sessions.Sessions() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the session of a peer that left stays")
		}
	}
	for name, c := range map[string]struct {
		typ, body string
		status    int
	}{
		"type":     {"text/plain", "v=0", http.StatusUnsupportedMediaType},
		"no SDP":   {"application/sdp", "hello", http.StatusBadRequest},
		"no media": {"application/sdp", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", http.StatusBadRequest},
		"no data":  {"application/sdp", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", http.StatusBadRequest},
		"no ICE":   {"application/sdp", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", http.StatusBadRequest},
		"large":    {"application/sdp", strings.Repeat("a", 100<<10), http.StatusRequestEntityTooLarge},
	} {
		res, err := http.Post(b.url+session.Endpoint, c.typ, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %s", name, res.Status, res.Header.Get("Content-Type"))
		}
	}
	r, err := http.NewRequest(http.MethodDelete, b.url+session.Endpoint+"/nobody", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("a session that is not there: %s", res.Status)
	}
}

// Channels that are refused are in nobody's queues, and told of in the log at most once a
// second; none is left when the peer is gone.
func TestManyChannels(t *testing.T) {
	b := start(t, 1, nil)
	p, _ := dial(t, b, "video_upload")
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	const many = 40
	began := time.Now()
	for range many {
		if _, err := p.Open(ctx, "video_upload"); err != nil {
			t.Fatal(err)
		}
	}
	metered := func() (n int) {
		for _, f := range b.queues.Figures() {
			if f.Name == session.OutBytes {
				n += f.Instances
			}
		}
		return n
	}
	time.Sleep(100 * time.Millisecond) // the last are being refused
	if n := metered(); n >= many {
		t.Errorf("%d channels are served", n)
	}
	said, seconds := strings.Count(b.log.String(), "refused"), int(time.Since(began)/time.Second)
	if said == 0 || said > seconds+1 {
		t.Errorf("in %d s, the log tells %d times of refused channels", seconds, said)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(30 * time.Second); metered() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d are left of a peer that is gone", metered())
		}
	}
}
