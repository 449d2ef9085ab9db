package api

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// busy counts what is entered and left.
type busy struct{ entered, left atomic.Int32 }

func (b *busy) Enter() func() {
	b.entered.Add(1)
	return func() { b.left.Add(1) }
}

func TestDoorBoundsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var q queue.Registry
	loop := &busy{}
	const most = 3
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, text("hello"), slog.New(slog.DiscardHandler), newDoor(l, &q, loop, most, 2))
	}()
	open := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		return c, bufio.NewReader(c)
	}
	ask := func(c net.Conn, r *bufio.Reader) int {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: box\r\n\r\n"); err != nil {
			return 0
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode
	}
	var first net.Conn
	for i := range most {
		c, r := open()
		if i == 0 {
			first = c
		}
		if got := ask(c, r); got != http.StatusOK { // and stays open
			t.Fatalf("connection %d: %d", i+1, got)
		}
	}
	_, r := open()
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %v, %v", res, err)
	}
	if f := q.Figures(); len(f) != 1 || f[0].Depth != most || f[0].Capacity != most || f[0].Dropped != 1 {
		t.Errorf("while full: %+v", f)
	}
	first.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, r := open()
		if ask(c, r) == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place of one that left is not given to another")
		}
	}
	if loop.entered.Load() < most+2 {
		t.Errorf("the loop was entered %d times", loop.entered.Load())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if f := q.Figures(); f[0].Instances != 0 {
		t.Errorf("after the end: %+v", f)
	}
}

func TestNobodyTakesAllConnections(t *testing.T) {
	d := newDoor(nil, nil, nil, 10, 2)
	other, local := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	for i, want := range []bool{true, true, false} {
		if got := d.admit(other); got != want {
			t.Errorf("connection %d of one address: %t", i+1, got)
		}
	}
	for i := range 8 {
		if !d.admit(local) {
			t.Errorf("connection %d of this machine was refused", i+1)
		}
	}
	if d.admit(local) {
		t.Error("more than all were let in")
	}
	d.release(other)
	d.release(other)
	if len(d.by) != 1 || !d.admit(other) {
		t.Errorf("left: %v", d.by)
	}
}

// from is a connection from an address.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }

// One machine is one, by however many of its addresses it comes.
func TestDoorCountsMachines(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"[2001:db8::1]:1", "[2001:db8::ffff:2]:2", true},
		{"[fe80::1%lo]:1", "[fe80::2]:2", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
	} {
		if a, b := addressOf(from{addr: c.a}), addressOf(from{addr: c.b}); (a == b) != c.same {
			t.Errorf("%s and %s: %s and %s", c.a, c.b, a, b)
		}
	}
	for _, a := range []string{"[::1]:1", "127.0.0.1:1"} {
		if !addressOf(from{addr: a}).IsLoopback() {
			t.Errorf("%s is this machine", a)
		}
	}
}
