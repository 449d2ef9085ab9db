package boxtest

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is a network between a client and a box that counts what it carries, holds
// it up, and is cut.
type wire struct {
	// URL is where the client finds the box.
	URL string

	listener net.Listener
	to       string
	// cutAfter is how many bytes a connection carries to the box before it is cut;
	// 0: all. It is asked for each one.
	cutAfter func() int64
	// limit is how many bytes reach the box in all; what is beyond waits for it to be
	// raised.
	limit atomic.Int64

	sent  atomic.Int64 // bytes that reached the box
	conns atomic.Int64
	cuts  atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]bool
	done sync.WaitGroup
}

const noLimit = 1 << 60

// newWire lays a wire to a box until the test's end.
func newWire(t *testing.T, b *Box, cutAfter func() int64) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{
		URL: "http://" + l.Addr().String(), listener: l, to: strings.TrimPrefix(b.URL, "http://"),
		cutAfter: cutAfter, open: map[net.Conn]bool{},
	}
	w.limit.Store(noLimit)
	w.done.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.limit.Store(noLimit) // nobody waits any more
		w.mu.Lock()
		for c := range w.open {
			c.Close()
		}
		w.mu.Unlock()
		w.done.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		box, err := net.Dial("tcp", w.to)
		if err != nil {
			c.Close() // as a network whose far end is down
			continue
		}
		w.conns.Add(1)
		w.mu.Lock()
		w.open[c], w.open[box] = true, true
		w.mu.Unlock()
		w.done.Go(func() {
			defer w.drop(c)
			_, _ = io.Copy(c, box) // until either end has enough
		})
		w.done.Go(func() {
			defer w.drop(box)
			w.carry(c, box)
		})
	}
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	delete(w.open, c)
	w.mu.Unlock()
	c.Close()
}

// carry takes bytes to the box. A cut shows at the client as a reset, and at the box
// as the end of what was sent, which it gets to read.
func (w *wire) carry(client, box net.Conn) {
	left := int64(noLimit)
	if w.cutAfter != nil {
		if n := w.cutAfter(); n > 0 {
			left = n
		}
	}
	buf := make([]byte, 8<<10)
	for left > 0 {
		n, err := client.Read(buf[:min(int64(len(buf)), left)])
		for w.sent.Load()+int64(n) > w.limit.Load() {
			time.Sleep(2 * time.Millisecond)
		}
		if n > 0 {
			if _, err := box.Write(buf[:n]); err != nil {
				break
			}
			w.sent.Add(int64(n))
			left -= int64(n)
		}
		if err != nil {
			break
		}
	}
	if left == 0 {
		w.cuts.Add(1)
		_ = client.(*net.TCPConn).SetLinger(0)
		client.Close()
	}
	// What the box answers to that is read before the connection goes.
	_ = box.(*net.TCPConn).CloseWrite()
	_ = box.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, io.LimitReader(box, 1))
}

// anywhere cuts each connection after a random number of bytes.
func anywhere(least, most int64) func() int64 {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(7, 7))
	return func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return least + r.Int64N(most-least)
	}
}

// listen opens a port of its own on loopback.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
