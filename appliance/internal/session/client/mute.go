package client

import (
	"net"
	"sync/atomic"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
)

// socket is a client's one UDP port. A muted one sends nothing any more: what a
// power cut is to the other side.
type socket struct {
	*net.UDPConn
	muted atomic.Bool
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(p []byte, to net.Addr) (int, error) {
	if s.muted.Load() {
		return len(p), nil
	}
	return s.UDPConn.WriteTo(p, to)
}

// socketBuffer is asked of the kernel in both directions; it grants what it may.
const socketBuffer = 4 << 20

// newSocket binds a port on the address by which the box at host ("HOST:PORT") is
// reached: one candidate, whatever other networks this machine has.
func newSocket(host string) (*socket, error) {
	probe, err := net.Dial("udp", host) // sends nothing
	if err != nil {
		return nil, err
	}
	local := *probe.LocalAddr().(*net.UDPAddr)
	if err := probe.Close(); err != nil {
		return nil, err
	}
	local.Port = 0
	conn, err := net.ListenUDP("udp", &local)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(socketBuffer)  // less will do
	_ = conn.SetWriteBuffer(socketBuffer) // likewise
	return &socket{UDPConn: conn}, nil
}

// mux hands the socket to one connection; closing it closes the socket.
func (s *socket) mux(log logging.LoggerFactory) *ice.UDPMuxDefault {
	return ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: plain{s}, Logger: log.NewLogger("ice")})
}

// plain hides the methods of *net.UDPConn beyond net.PacketConn: whoever found
// them would write past the mute.
type plain struct{ net.PacketConn }
