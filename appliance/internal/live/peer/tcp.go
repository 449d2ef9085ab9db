package peer

import (
	"fmt"
	"net"
	"time"
)

const (
	// tcpQueue is how many bytes wait for one ICE-TCP peer in this process,
	// about half a second at 2 Mbit/s; tcpKernelQueue is the same for the
	// kernel's part. What waits longer is better skipped than sent late.
	tcpQueue       = 128 << 10
	tcpKernelQueue = 128 << 10
	// tcpReadQueue is how many packets from one peer wait to be handled.
	tcpReadQueue = 16
	// firstSTUN is how long an accepted connection may stay silent.
	firstSTUN = 10 * time.Second
)

// tunedListener accepts connections with short kernel queues and keepalives,
// so that a peer that does not read is noticed soon.
type tunedListener struct{ *net.TCPListener }

func listenTCP(address string) (tunedListener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return tunedListener{}, fmt.Errorf("resolve TCP address %s: %w", address, err)
	}
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return tunedListener{}, fmt.Errorf("listen on TCP %s: %w", address, err)
	}
	return tunedListener{l}, nil
}

// Accept waits for the next connection.
func (l tunedListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = c.SetNoDelay(true)
	_ = c.SetWriteBuffer(tcpKernelQueue)
	return c, nil
}
