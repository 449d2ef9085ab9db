package api

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Connections that are open at a time, in all and from one address. Each takes a
// descriptor, a goroutine and some 10 KiB; without a bound, whoever opens them by the
// thousand keeps the box from opening its own files. On the loopback address a proxy
// may speak for everybody.
const (
	mostConnections = 1024
	mostOfOne       = 256
)

// AcceptLoop is the accepting loop as a stall meter sees it: Enter is called around what is
// done with each connection until the next can be accepted.
type AcceptLoop interface{ Enter() (leave func()) }

// NewDoor is l with its connections bounded: one too many is told so and closed. q
// knows how many there are; loop and q may be nil. One goroutine accepts.
func NewDoor(l net.Listener, q *queue.Registry, loop AcceptLoop) net.Listener {
	return newDoor(l, q, loop, mostConnections, mostOfOne)
}

func newDoor(l net.Listener, q *queue.Registry, loop AcceptLoop, most, ofOne int) *door {
	d := &door{Listener: l, loop: loop, most: most, ofOne: ofOne, by: map[netip.Addr]int{}}
	d.meter = q.Register("http connections", queue.Refuse, most, func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.open
	})
	return d
}

type door struct {
	net.Listener
	loop        AcceptLoop
	leave       func() // of the connection accepted last
	meter       *queue.Meter
	most, ofOne int

	mu   sync.Mutex
	open int
	by   map[netip.Addr]int
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	if d.leave != nil {
		d.leave()
		d.leave = nil
	}
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if d.loop != nil {
			d.leave = d.loop.Enter()
		}
		from := addressOf(c)
		if d.admit(from) {
			return &guest{Conn: c, left: sync.OnceFunc(func() { d.release(from) })}, nil
		}
		d.meter.Dropped(1)
		turnAway(c)
		if d.leave != nil {
			d.leave()
			d.leave = nil
		}
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.meter.Close()
	return d.Listener.Close()
}

func (d *door) admit(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most || d.by[from] >= d.ofOne && !from.IsLoopback() {
		return false
	}
	d.open++
	d.by[from]++
	return true
}

func (d *door) release(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.by[from]--; d.by[from] == 0 {
		delete(d.by, from)
	}
}

// addressOf is where a connection comes from. One machine has as many IPv6 addresses as
// it likes: those of a /64 count as one.
func addressOf(c net.Conn) netip.Addr {
	remote := c.RemoteAddr().String()
	if a, err := netip.ParseAddrPort(remote); err == nil && a.Addr().Unmap().IsLoopback() {
		return a.Addr().Unmap()
	}
	return addressKey(remote).Addr()
}

// turnAway answers whatever is going to be asked. The answer is less than the socket's
// buffer, so that nobody is waited for.
func turnAway(c net.Conn) {
	const why = "This box has as many connections open as it can hold: try again in a moment.\n"
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: " +
		strconv.Itoa(len(why)) + "\r\n\r\n" + why))
	_ = c.Close()
}

// guest is a connection that gives its place back.
type guest struct {
	net.Conn
	left func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.left()
	return g.Conn.Close()
}

// CloseWrite is what net/http asks for, so that a client reads its answer before the
// connection is gone.
func (g *guest) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
