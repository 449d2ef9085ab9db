package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

const (
	// arenaSize is how many bytes wait at most before a burst goes out early.
	arenaSize = 512 << 10
	// maxMessages is how many messages one sendmmsg carries.
	maxMessages = 128
	// maxSegments and maxMessageBytes are the kernel's limits for one message
	// with segmentation offload (UDP_MAX_SEGMENTS is 64 up to Linux 6.8, 128
	// later; an IPv4 datagram has at most 65507 bytes of payload).
	maxSegments     = 64
	maxMessageBytes = 65000
	// maxSendWait is how long a full socket is waited for before the rest of
	// a burst is dropped: less than one frame interval at 30 fps.
	maxSendWait = 20 * time.Millisecond
	// socketBuffer is asked of the kernel for each direction: a keyframe for
	// each of 50 viewers is 2.5 MB.
	socketBuffer = 4 << 20
)

// burstConn is a UDP socket whose media packets can be gathered. It implements
// net.PacketConn and pion's AddrPortReaderWriter.
//
// Media is what begins with a byte of 128 to 191 (RFC 7983: SRTP and SRTCP).
// Everything else (STUN, DTLS) goes out at once, burst or not.
type burstConn struct {
	*net.UDPConn
	batch *ipv4.PacketConn

	meter *queue.Meter // of the arena, in bytes; drops are datagrams
	loop  Loop         // nil: not metered
	mark  int64        // of the datagram read last, 0: none; the reader's

	noOffload atomic.Bool // the kernel refused UDP_SEGMENT once
	dropped   atomic.Uint64
	calls     atomic.Uint64
	sent      atomic.Uint64

	tells  bool          // the kernel tells errors; not changed once it is in use
	nudged chan struct{} // capacity 1: there are errors to take
	taking sync.Mutex    // held while errors are taken
	gone   unreachable

	mu       sync.Mutex
	depth    int // bursts under way
	arena    []byte
	messages []ipv4.Message
	runs     []run
	used     int // messages in use
}

// run describes the packets of one message.
type run struct {
	to      netip.AddrPort
	start   int // in arena
	size    int // of each packet but the last, which may be shorter
	packets int
	closed  bool // a shorter packet ended it
	addr    net.UDPAddr
	ip      [16]byte
	oob     [4]uint64 // room for one control message with a uint16, aligned
	buffer  [1][]byte
}

func listenUDP(address string) (*burstConn, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("resolve UDP address %s: %w", address, err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on UDP %s: %w", address, err)
	}
	// Smaller than asked for (net.core.wmem_max) is still of use.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	c := &burstConn{
		UDPConn:  conn,
		batch:    ipv4.NewPacketConn(conn),
		arena:    make([]byte, 0, arenaSize),
		messages: make([]ipv4.Message, maxMessages),
		runs:     make([]run, maxMessages),
		nudged:   make(chan struct{}, 1),
	}
	return c, nil
}

// begin starts to gather; each begin needs one end.
func (c *burstConn) begin() {
	c.mu.Lock()
	c.depth++
	c.mu.Unlock()
}

// end hands what was gathered to the kernel, whoever gathered it.
func (c *burstConn) end() {
	c.mu.Lock()
	c.depth--
	c.flush()
	c.mu.Unlock()
}

// ReadFromAddrPort reads one datagram, in the one goroutine that hands them to all
// peers. What it does with one until it asks for the next holds all of them up.
func (c *burstConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	if c.mark != 0 {
		c.loop.End(c.mark)
		c.mark = 0
	}
	n, from, err := c.receive(b)
	if err == nil && c.loop != nil {
		c.mark = c.loop.Begin()
	}
	return n, from, err
}

// waiting is how many bytes are gathered and not yet with the kernel.
func (c *burstConn) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.arena)
}

// drop counts datagrams that the socket did not take.
func (c *burstConn) drop(n int) {
	c.dropped.Add(uint64(n))
	c.meter.Dropped(n)
}

// WriteToAddrPort sends one datagram, or keeps a copy of it until the burst
// under way ends.
func (c *burstConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if len(b) > 0 && b[0] >= 128 && b[0] <= 191 {
		c.mu.Lock()
		if c.depth > 0 {
			c.gather(b, to)
			c.mu.Unlock()
			return len(b), nil
		}
		c.mu.Unlock()
	}
	c.sent.Add(1)
	n, err := c.put(b, to)
	if c.tells && errors.Is(err, unix.ENOBUFS) {
		// Lost on the way, as any datagram may be: see askErrors.
		c.drop(1)
		return len(b), nil
	}
	return n, err
}

// WriteTo is WriteToAddrPort for callers with a net.Addr.
func (c *burstConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("write to %v: not a UDP address", to)
	}
	return c.WriteToAddrPort(b, addr.AddrPort())
}

// SetDeadline, SetWriteDeadline: pion sets a deadline in the past to cut a
// blocked write short, on the socket that all peers share. No write blocks
// here, so there is nothing to cut.
func (c *burstConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: see SetDeadline.
func (c *burstConn) SetWriteDeadline(time.Time) error { return nil }

// gather appends one packet, to the last message if that can be extended.
// The caller holds mu.
func (c *burstConn) gather(b []byte, to netip.AddrPort) {
	if len(c.arena)+len(b) > cap(c.arena) {
		c.flush()
	}
	start := len(c.arena)
	c.arena = append(c.arena, b...)
	if c.used > 0 && !c.noOffload.Load() {
		r := &c.runs[c.used-1]
		if !r.closed && r.to == to && len(b) <= r.size && r.packets < maxSegments &&
			start+len(b)-r.start <= maxMessageBytes {
			r.packets++
			r.closed = len(b) < r.size
			return
		}
	}
	if c.used == maxMessages {
		// flush resets the arena: keep the packet just appended.
		c.arena = c.arena[:start]
		c.flush()
		start = 0
		c.arena = append(c.arena, b...)
	}
	r := &c.runs[c.used]
	c.used++
	r.to, r.start, r.size, r.packets, r.closed = to, start, len(b), 1, false
}

// flush sends what is gathered and forgets it. The caller holds mu.
func (c *burstConn) flush() {
	if c.used == 0 {
		return
	}
	for i := range c.used {
		end := len(c.arena)
		if i+1 < c.used {
			end = c.runs[i+1].start
		}
		c.fill(&c.messages[i], &c.runs[i], end)
	}
	_ = c.UDPConn.SetWriteDeadline(time.Now().Add(maxSendWait))
	c.transmit()
	_ = c.UDPConn.SetWriteDeadline(time.Time{})
	c.used = 0
	c.arena = c.arena[:0]
}

// transmit hands the filled messages over. The caller holds mu.
func (c *burstConn) transmit() {
	rest := c.messages[:c.used]
	at, tries := 0, 0
	for len(rest) > 0 {
		release := c.calm(tries)
		n, err := c.write(rest)
		release()
		for range n {
			c.sent.Add(uint64(c.runs[at].packets))
			at++
		}
		rest = rest[n:]
		if n > 0 {
			tries = 0
		}
		if len(rest) > 0 {
			c.nudge() // an error ended it, which nobody else is told
		}
		if err == nil {
			if n == 0 {
				break
			}
			continue
		}
		if len(rest) == 0 {
			break
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			for i := at; i < c.used; i++ {
				c.drop(c.runs[i].packets)
			}
			break
		}
		if tries++; c.tells && c.alien(err) && tries < sendTries {
			continue
		}
		tries = 0
		// One peer's address or segment size is refused: the others still get theirs.
		c.singly(&c.runs[at], rest[0].Buffers[0], err)
		rest = rest[1:]
		at++
	}
}

// fill makes the message of a run.
func (c *burstConn) fill(m *ipv4.Message, r *run, end int) {
	a := r.to.Addr().Unmap()
	if a.Is4() {
		ip := a.As4()
		copy(r.ip[:4], ip[:])
		r.addr.IP = r.ip[:4]
	} else {
		r.ip = a.As16()
		r.addr.IP = r.ip[:]
	}
	r.addr.Port, r.addr.Zone = int(r.to.Port()), a.Zone()
	r.buffer[0] = c.arena[r.start:end]
	m.Buffers, m.Addr, m.OOB = r.buffer[:], &r.addr, nil
	if r.packets > 1 {
		m.OOB = segmentControl(&r.oob, uint16(r.size))
	}
}

// write is one sendmmsg.
func (c *burstConn) write(ms []ipv4.Message) (int, error) {
	c.calls.Add(1)
	n, err := c.batch.WriteBatch(ms, 0)
	return max(n, 0), err
}

// singly sends a run's packets one by one, after the kernel refused them
// together because of cause.
func (c *burstConn) singly(r *run, data []byte, cause error) {
	if r.packets == 1 || errors.Is(cause, unix.ENOBUFS) { // the device took all it could
		c.drop(r.packets)
		return
	}
	// EIO: the route's device cannot checksum segments. EINVAL, EMSGSIZE: a
	// segment is larger than the path takes.
	if errors.Is(cause, syscall.EIO) || errors.Is(cause, syscall.ENOPROTOOPT) {
		c.noOffload.Store(true)
	}
	for len(data) > 0 {
		n := min(r.size, len(data))
		if _, err := c.put(data[:n], r.to); err != nil {
			c.drop(1)
		} else {
			c.sent.Add(1)
		}
		data = data[n:]
	}
}

// segmentControl writes the control message that has the kernel cut a message
// into packets of size bytes (UDP_SEGMENT, udp(7), Linux 4.18 and later).
// The room is of uint64 because the kernel wants the header aligned.
func segmentControl(room *[4]uint64, size uint16) []byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(room))
	b := unsafe.Slice((*byte)(unsafe.Pointer(room)), unix.CmsgSpace(2))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], size)
	return b
}
