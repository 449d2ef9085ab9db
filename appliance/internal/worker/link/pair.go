package link

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// FD is the descriptor under which a worker finds its end of the link.
const FD = 3

// Pair makes the two ends of a link: the control process's, and the file that
// the worker inherits, which the caller closes once the worker has it. Both are
// closed on exec unless handed on on purpose: an end that leaked into another
// worker would keep this link open after this worker's death.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the socket pair of a worker link: %w", err)
	}
	child := os.NewFile(uintptr(fds[1]), "worker link (worker's end)")
	conn, err := fileConn(fds[0])
	if err != nil {
		return nil, nil, errors.Join(err, child.Close())
	}
	return conn, child, nil
}

// Inherited is the worker's end, at FD. The caller is the process's main
// function: nothing else may own that descriptor.
func Inherited() (*Conn, error) {
	// The worker's own children (GStreamer's plugin scanner) must not hold it.
	unix.CloseOnExec(FD)
	c, err := fileConn(FD)
	if err != nil {
		return nil, fmt.Errorf("%w; a worker is started by watchpost run or analyze, never by hand", err)
	}
	return c, nil
}

// fileConn takes over fd.
func fileConn(fd int) (*Conn, error) {
	f := os.NewFile(uintptr(fd), "worker link")
	if f == nil {
		return nil, fmt.Errorf("open worker link: no descriptor %d", fd)
	}
	c, err := net.FileConn(f) // a duplicate, closed on exec, non-blocking
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, fmt.Errorf("open worker link: %w", err)
	}
	return NewConn(c), nil
}
