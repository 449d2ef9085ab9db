package channel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message is one of the channel.
type message struct {
	data []byte
	text bool
}

// pipe is a channel whose other end is the test.
type pipe struct {
	in, out chan message
	closed  chan struct{}
}

func newPipe() *pipe {
	return &pipe{in: make(chan message), out: make(chan message, 1000), closed: make(chan struct{})}
}

func (p *pipe) Read(b []byte) (int, bool, error) {
	select {
	case m := <-p.in:
		if len(m.data) > len(b) {
			return 0, false, io.ErrShortBuffer
		}
		return copy(b, m.data), m.text, nil
	case <-p.closed:
		return 0, false, io.EOF
	}
}

func (p *pipe) Write(b []byte) error     { return p.put(message{bytes.Clone(b), false}) }
func (p *pipe) WriteText(b []byte) error { return p.put(message{bytes.Clone(b), true}) }

func (p *pipe) put(m message) error {
	select {
	case p.out <- m:
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	}
}

// client is the test's end.
type client struct {
	t testing.TB
	*pipe
	served chan error
}

func serve(t testing.TB, u Uploads, o Options) *client {
	c := &client{t: t, pipe: newPipe(), served: make(chan error, 1)}
	go func() { c.served <- Serve(context.Background(), c.pipe, u, o) }()
	return c
}

// send sends a message, or returns how the box ended the channel instead.
func (c *client) send(data []byte, text bool) error {
	select {
	case c.in <- message{data, text}:
		return nil
	case err := <-c.served:
		c.served <- err
		return fmt.Errorf("ended: %w", err)
	}
}

func (c *client) chunk(index, total int, payload []byte) error {
	p := binary.LittleEndian.AppendUint32(nil, uint32(index))
	p = binary.LittleEndian.AppendUint32(p, uint32(total))
	return c.send(append(p, payload...), false)
}

func (c *client) announce(a announcement) error {
	data, err := json.Marshal(map[string]any{"upload": a})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.send(data, true)
}

// said is what the box says.
type said struct {
	Upload *struct {
		ID     string
		Have   [][2]int64
		Status string
	}
	Committed *struct {
		ID   string
		Have [][2]int64
	}
	Done  *struct{ ID, Job, SHA256 string }
	Error *struct{ Message string }
}

func (c *client) next() said {
	c.t.Helper()
	var s said
	select {
	case m := <-c.out:
		if err := json.Unmarshal(m.data, &s); err != nil || !m.text {
			c.t.Fatalf("the box says %q: %v", m.data, err)
		}
	case <-time.After(20 * time.Second):
		c.t.Fatal("the box says nothing")
	}
	return s
}

func (c *client) until(ok func(said) bool) said {
	c.t.Helper()
	for {
		if s := c.next(); ok(s) {
			return s
		}
	}
}

// end closes the channel and returns what Serve did.
func (c *client) end() error {
	close(c.closed)
	return <-c.served
}

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func complete(t *testing.T, u *uploadtest.Box, id string) upload.Info {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		i, err := u.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if i.Status == state.UploadComplete {
			return i
		}
		if time.Now().After(end) {
			t.Fatalf("still %s with %d of %d bytes: %v; %v", i.Status, i.Received, i.Size, i.Have, u.Flush(context.Background(), id))
		}
	}
}

func same(t *testing.T, u *uploadtest.Box, id string, want []byte) {
	t.Helper()
	path, err := u.Path(id)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the file on disk has %d bytes, differs from the %d sent: %v", len(got), len(want), err)
	}
}

// The plain protocol: chunks in any order, with repeats and keep-alives, of a file
// that nobody announced; the size follows from the last chunk.
func TestPlain(t *testing.T) {
	u := uploadtest.Open(t, upload.Config{})
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 20 {
		chunk := 1 + rng.IntN(5000)
		data := random(rng, 1+rng.IntN(40*chunk))
		total := (len(data) + chunk - 1) / chunk
		before := len(u.List())
		c := serve(t, u, Options{Name: fmt.Sprintf("round %d", round)})
		order := rng.Perm(total)
		if round == 0 {
			last := slices.Index(order, total-1)
			order[0], order[last] = order[last], order[0] // the last one comes first
		}
		for _, i := range append(order, rng.Perm(total)[:total/3]...) {
			if err := c.chunk(i, total, data[i*chunk:min(len(data), (i+1)*chunk)]); err != nil {
				t.Fatalf("round %d: chunk %d of %d: %v", round, i, total, err)
			}
			if rng.IntN(10) == 0 {
				if err := c.send([]byte{7}, false); err != nil {
					t.Fatal(err)
				}
				if m := <-c.out; m.text || !bytes.Equal(m.data, []byte{7}) {
					t.Fatalf("the keep-alive comes back as %q", m.data)
				}
			}
		}
		if err := c.end(); err != nil {
			t.Fatal(err)
		}
		list := u.List()
		if len(list) != before+1 {
			t.Fatalf("%d uploads", len(list)-before)
		}
		i := complete(t, u, list[before].ID)
		if i.SHA256 != sum(data) {
			t.Errorf("round %d: hash %s", round, i.SHA256)
		}
		same(t, u, i.ID, data)
		if len(c.out) > 0 {
			t.Errorf("the plain protocol has no word like %q", (<-c.out).data)
		}
	}
}

// A file is cut off, gone on with over a new channel, and told to be safe.
func TestResume(t *testing.T) {
	u := uploadtest.Open(t, upload.Config{})
	rng := rand.New(rand.NewPCG(5, 6))
	const size = 4096
	data := random(rng, 100*size+123)
	a := announcement{Name: "clip.mp4", Size: int64(len(data)), ChunkSize: size, SHA256: sum(data)}
	part := func(i int) []byte { return data[i*size : min(len(data), (i+1)*size)] }

	c := serve(t, u, Options{})
	if err := c.announce(a); err != nil {
		t.Fatal(err)
	}
	first := c.next().Upload
	if first == nil || first.ID == "" || len(first.Have) != 0 || first.Status != "receiving" {
		t.Fatalf("%+v", first)
	}
	for i := 20; i < 60; i++ {
		if err := c.chunk(i, 101, part(i)); err != nil {
			t.Fatal(err)
		}
	}
	c.until(func(s said) bool {
		return s.Committed != nil && s.Committed.ID == first.ID && len(s.Committed.Have) == 1 && s.Committed.Have[0] == [2]int64{20, 59}
	})
	if err := c.end(); err != nil {
		t.Fatal(err)
	}

	c = serve(t, u, Options{JobOf: func(id string) string { return "job of " + id }})
	a.ID = first.ID
	if err := c.announce(a); err != nil {
		t.Fatal(err)
	}
	again := c.next().Upload
	if again == nil || again.ID != first.ID || len(again.Have) != 1 || again.Have[0] != [2]int64{20, 59} {
		t.Fatalf("%+v", again)
	}
	for i := range 101 {
		if i < 20 || i > 59 {
			if err := c.chunk(i, 101, part(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := c.until(func(s said) bool { return s.Done != nil }).Done
	if done.ID != first.ID || done.SHA256 != sum(data) || done.Job != "job of "+first.ID {
		t.Errorf("%+v", done)
	}
	same(t, u, first.ID, data)

	// Asked once more, it is whole: repeats are fine, another file is begun on the
	// same channel, and an id that is not known gives a new one.
	if err := c.announce(a); err != nil {
		t.Fatal(err)
	}
	if whole := c.until(func(s said) bool { return s.Upload != nil }).Upload; len(whole.Have) != 1 || whole.Have[0] != [2]int64{0, 100} || whole.Status != "complete" {
		t.Errorf("%+v", whole)
	}
	if err := c.chunk(3, 101, part(3)); err != nil {
		t.Fatal(err)
	}
	a.ID = state.NewUploadID()
	if err := c.announce(a); err != nil {
		t.Fatal(err)
	}
	if other := c.until(func(s said) bool { return s.Upload != nil }).Upload; other.ID == first.ID || len(other.Have) != 0 {
		t.Errorf("%+v", other)
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
}

// Who serves a channel is told of what comes over it, and of the file's end even where
// the client closes the channel with its last byte.
func TestHooks(t *testing.T) {
	u := uploadtest.Open(t, upload.Config{})
	data := random(rand.New(rand.NewPCG(9, 9)), 10_000)
	for _, announced := range []bool{false, true} {
		var heard atomic.Int64
		begun, done := make(chan string, 4), make(chan string, 4)
		c := serve(t, u, Options{
			Heard: func(n int) { heard.Add(int64(n)) },
			Begun: func(id string, a bool) {
				if a != announced {
					t.Errorf("announced: %v", a)
				}
				begun <- id
			},
			Complete: func(id string) { done <- id },
			Failed:   func(_ string, err error) { t.Error(err) },
		})
		if announced {
			if err := c.announce(announcement{Name: "x", Size: 10_000, ChunkSize: 5000}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.send([]byte{7}, false), c.chunk(1, 2, data[5000:]), c.chunk(0, 2, data[:5000])); err != nil {
			t.Fatal(err)
		}
		if err := c.end(); err != nil {
			t.Fatal(err)
		}
		id := <-begun
		if len(done) == 0 || <-done != id || heard.Load() < 10_017 {
			t.Errorf("announced %v: %d heard, complete %d times", announced, heard.Load(), len(done))
		}
		same(t, u, id, data)
	}
	// One that was refused is told of too.
	failed := make(chan error, 4)
	c := serve(t, u, Options{Complete: func(string) { t.Error("complete") }, Failed: func(_ string, err error) { failed <- err }})
	if err := errors.Join(
		c.announce(announcement{Name: "x", Size: 10, ChunkSize: 10, SHA256: strings.Repeat("ab", 32)}),
		c.chunk(0, 1, make([]byte, 10)), c.end(),
	); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, upload.ErrGone) {
		t.Error(err)
	}
}

// What a client does wrong is told in words, ends its channel, and nothing else.
func TestWrong(t *testing.T) {
	u := uploadtest.Open(t, upload.Config{MaxSize: 1 << 20})
	ok := make([]byte, 1000)
	for name, c := range map[string]struct {
		do   func(*client) error
		want string
	}{
		"index beyond": {func(c *client) error { return c.chunk(5, 5, ok) }, "beyond the last"},
		"no total":     {func(c *client) error { return c.chunk(0, 0, ok) }, "beyond the last"},
		"no payload":   {func(c *client) error { return c.chunk(0, 1, nil) }, "no payload"},
		"other total":  {func(c *client) error { return errors.Join(c.chunk(0, 5, ok), c.chunk(1, 6, ok)) }, "5 chunks before"},
		"other length": {func(c *client) error { return errors.Join(c.chunk(0, 5, ok), c.chunk(1, 5, ok[:999])) }, "the others have 1000"},
		"long last":    {func(c *client) error { return errors.Join(c.chunk(0, 5, ok[:10]), c.chunk(4, 5, ok)) }, "the others have 10"},
		"conflict": {func(c *client) error {
			return errors.Join(c.chunk(0, 5, ok), c.chunk(0, 5, bytes.Repeat([]byte{1}, 1000)), c.chunk(0, 5, ok))
		}, "other bytes are there"},
		"total too large": {func(c *client) error { return c.chunk(0, 1<<30, ok) }, "takes up to"},
		"too large":       {func(c *client) error { return errors.Join(c.chunk(0, 1<<30, ok), c.chunk(1<<29, 1<<30, ok)) }, ""},
		"no text":         {func(c *client) error { return c.send([]byte("hello"), true) }, "a text on this channel"},
		"no size":         {func(c *client) error { return c.announce(announcement{ChunkSize: 5}) }, "size is 0"},
		"chunk size":      {func(c *client) error { return c.announce(announcement{Size: 5, ChunkSize: 1 << 30}) }, "chunk_size"},
		"hash":            {func(c *client) error { return c.announce(announcement{Size: 5, ChunkSize: 5, SHA256: "abc"}) }, "sha256"},
		"announced too large": {func(c *client) error {
			return c.announce(announcement{Size: 1<<20 + 1, ChunkSize: 4096})
		}, "takes up to"},
		"huge message": {func(c *client) error { return c.send(make([]byte, maxMessage+1), false) }, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			peer := serve(t, u, Options{Name: name})
			_ = c.do(peer) // it may have ended before the last message
			if s := peer.until(func(s said) bool { return s.Error != nil }); !strings.Contains(s.Error.Message, c.want) {
				t.Errorf("told %q, want %q", s.Error.Message, c.want)
			}
			if name == "conflict" { // found by the disk's side, after the chunk was taken
				for range 100 {
					if peer.chunk(2, 5, ok) != nil {
						break
					}
				}
			}
			select {
			case err := <-peer.served:
				if err == nil {
					t.Error("the channel ended well")
				}
			case <-time.After(20 * time.Second):
				t.Error("the channel goes on")
			}
		})
	}
}

// A file whose hash is another one than was told is refused, and the client told.
func TestWrongHash(t *testing.T) {
	u := uploadtest.Open(t, upload.Config{})
	c := serve(t, u, Options{})
	if err := errors.Join(
		c.announce(announcement{Name: "x", Size: 10, ChunkSize: 10, SHA256: strings.Repeat("ab", 32)}),
		c.chunk(0, 1, make([]byte, 10)),
	); err != nil {
		t.Fatal(err)
	}
	if s := c.until(func(s said) bool { return s.Error != nil }); !strings.Contains(s.Error.Message, "refused") {
		t.Errorf("%q", s.Error.Message)
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
}

// FuzzMessages: whatever comes, the box neither panics nor writes outside the
// upload, and the channel ends in order.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x00\x00payload"), []byte(`{"upload":{"size":7,"chunk_size":7}}`), true)
	f.Add([]byte{0, 0, 0, 0, 2, 0, 0, 0, 1}, []byte{1, 0, 0, 0, 2, 0, 0, 0, 2}, false)
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 1}, []byte{254, 255, 255, 255, 255, 255, 255, 255, 1}, false)
	u := uploadtest.Open(f, upload.Config{MaxSize: 1 << 16, MaxOpen: 10000, Quota: 1 << 30})
	f.Fuzz(func(t *testing.T, a, b []byte, text bool) {
		c := serve(t, u, Options{})
		for _, m := range [][]byte{a, b, a} {
			if c.send(m, text) != nil {
				break
			}
			text = !text
		}
		close(c.closed)
		select {
		case <-c.served:
		case <-time.After(20 * time.Second):
			t.Fatal("the channel does not end")
		}
		for _, i := range u.List() {
			if err := u.Remove(context.Background(), i.ID); err != nil && !errors.Is(err, upload.ErrGone) && !errors.Is(err, upload.ErrNotFound) {
				t.Fatal(err)
			}
		}
	})
}
