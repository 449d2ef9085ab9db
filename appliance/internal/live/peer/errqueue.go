package peer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sendTries is how often a datagram is tried that the socket refuses with an error
	// that may belong to another one.
	sendTries = 8
	// blindPause is how long the reader waits where it may not ask the poller. See alien.
	blindPause = time.Millisecond
	// maxTake is how many errors are taken from the socket before a writer may come
	// between.
	maxTake = 32
)

// askErrors has the kernel keep the ICMP errors that come for the socket, each with the
// address it is about (IP_RECVERR in ip(7), IPV6_RECVERR in ipv6(7)).
//
// From then on the next call on the socket, whatever its peer, is told the error too,
// and does nothing else (sock_error in the kernel): see alien. What the route's device
// does not take is told as ENOBUFS, which without the option is not.
func askErrors(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("get the socket: %w", err)
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			refused = fmt.Errorf("get SO_DOMAIN: %w", err)
			return
		}
		if domain == unix.AF_INET6 {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVERR, 1); err != nil {
				refused = fmt.Errorf("set IPV6_RECVERR: %w", err)
				return
			}
		}
		// An IPv6 socket sends to IPv4 peers as well, if it was not told otherwise.
		if err := unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVERR, 1); err != nil && domain != unix.AF_INET6 {
			refused = fmt.Errorf("set IP_RECVERR: %w", err)
		}
	})
	return errors.Join(err, refused)
}

// alien tells whether an error of a call on the socket may be about another datagram
// than that call's, so that the call is to be made again. It has the errors taken from
// the socket: whoever is told one is the only one who is.
func (c *burstConn) alien(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	// What the kernel makes of ICMP (icmp_err_convert) and ICMPv6 (icmpv6_err_convert).
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ENOPROTOOPT,
		unix.EOPNOTSUPP, unix.EPROTO, unix.EACCES, unix.EMSGSIZE:
		c.nudge()
		return true
	}
	return false
}

// blind tells whether reading failed because the poller reported nothing but an error,
// as it does while the socket's send buffer is full. It refuses readers then until
// something else happens on the socket (package internal/poll: "not pollable").
func blind(err error) bool {
	var errno syscall.Errno
	return !errors.As(err, &errno) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded)
}

// receive reads one datagram, whatever errors come between.
func (c *burstConn) receive(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		switch {
		case err == nil:
			c.gone.heard(from)
			return n, from, nil
		case !c.tells:
			return n, from, err
		case c.alien(err):
		case blind(err):
			c.nudge()
			time.Sleep(blindPause)
		default:
			return n, from, err
		}
	}
}

// put sends one datagram now.
func (c *burstConn) put(b []byte, to netip.AddrPort) (n int, err error) {
	for try := range sendTries {
		release := c.calm(try)
		c.calls.Add(1)
		n, err = c.WriteToUDPAddrPort(b, to)
		release()
		if err == nil || !c.tells || !c.alien(err) {
			break
		}
	}
	return n, err
}

// calm has no errors be taken from the socket during a call that is made again: each
// that is taken makes the next one pending (sock_dequeue_err_skb in the kernel), and
// where there are many, another for each try.
func (c *burstConn) calm(try int) (release func()) {
	if try == 0 {
		return func() {}
	}
	c.taking.Lock()
	return c.taking.Unlock
}

// nudge has the errors taken from the socket.
func (c *burstConn) nudge() {
	select {
	case c.nudged <- struct{}{}:
	default: // they will be
	}
}

// listenErrors takes the errors from the socket as they come, notes whom they are
// about, and hands on who is gone by them, until stop. It waits for nobody, so that the
// errors do not fill the receive buffer, which they share with what arrives.
func (c *burstConn) listenErrors(stop <-chan struct{}, gone chan<- netip.AddrPort) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // closed already
	}
	var payload [1]byte // the first byte of the datagram that an error is about
	oob := make([]byte, 512)
	for {
		select {
		case <-stop:
			return
		case <-c.nudged:
		}
		for more := true; more; {
			more = false
			err := raw.Control(func(fd uintptr) {
				c.taking.Lock()
				defer c.taking.Unlock()
				for range maxTake {
					to, about, left := takeError(int(fd), payload[:], oob)
					if !left {
						return
					}
					if about && c.gone.complain(to, time.Now()) {
						select {
						case gone <- bare(to):
						default: // the next error of it tells again
						}
					}
				}
				more = true
			})
			if err != nil {
				return // closed
			}
		}
	}
}

// takeError takes one error from the socket: the address that was sent to, and whether
// it says that nobody is there. left: there was one.
func takeError(fd int, payload, oob []byte) (to netip.AddrPort, about, left bool) {
	_, n, _, from, err := unix.Recvmsg(fd, payload, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return to, false, errors.Is(err, unix.EINTR)
	}
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		to = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		to = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	default:
		return to, false, true
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return to, false, true
	}
	for _, m := range messages {
		level, kind := m.Header.Level, m.Header.Type
		if !(level == unix.SOL_IP && kind == unix.IP_RECVERR || level == unix.SOL_IPV6 && kind == unix.IPV6_RECVERR) ||
			len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		// Not by pointer: the kernel aligns a control message's data, Go may not.
		var e unix.SockExtendedErr
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), m.Data)
		about = about || nobody(&e)
	}
	return to, about, true
}

// nobody tells whether an error says that a port is closed, or that a host is not there
// or does not answer its neighbours (RFC 792 and RFC 4443 section 3.1: destination
// unreachable). A network that cannot be reached may be back in a moment, and a packet
// that is too large says nothing of its receiver.
func nobody(e *unix.SockExtendedErr) bool {
	const unreachable4, unreachable6 = 3, 1
	if e.Errno != uint32(unix.ECONNREFUSED) && e.Errno != uint32(unix.EHOSTUNREACH) {
		return false
	}
	return e.Origin == unix.SO_EE_ORIGIN_ICMP && e.Type == unreachable4 ||
		e.Origin == unix.SO_EE_ORIGIN_ICMP6 && e.Type == unreachable6
}
