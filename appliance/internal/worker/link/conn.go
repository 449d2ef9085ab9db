package link

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// MaxFrame is the most bytes of one frame: kind and payload, without the
	// length in front. It is far above any encoded picture.
	MaxFrame = 16 << 20
	// MaxJSON is the most bytes of a frame that is not an access unit. It is
	// small because JSON unfolds: "{}," is three bytes here and a whole Object
	// in memory.
	MaxJSON = 256 << 10

	lengthSize = 4
	frameHead  = lengthSize + 1
	// firstRead is how much is allocated for a frame on the word of its length
	// alone; a longer one gets more only as its bytes arrive.
	firstRead = 256 << 10
)

// ErrProtocol is wrapped by every error about bytes or values that break the
// rules of the link. The other side is faulty or hostile; the link is over.
var ErrProtocol = errors.New("worker link protocol broken")

// Message is one frame as received. Value is the struct that belongs to Kind
// (Start for KindStart, …, not a pointer), validated; nil for KindStop.
type Message struct {
	Kind  Kind
	Value any
}

// Conn is one end of the link. One goroutine may call Receive; any number may
// send. The first error of a side is the end of that side: a frame that was
// written in part cannot be taken back.
type Conn struct {
	rw io.ReadWriteCloser
	r  *bufio.Reader
	in []byte // payload of the JSON frame in hand, reused

	write sync.Mutex // held for one frame
	out   []byte     // frame being written, reused
	vec   [2][]byte
	wErr  error
}

// NewConn speaks the link's frames on rw, which the Conn owns from now on.
func NewConn(rw io.ReadWriteCloser) *Conn {
	return &Conn{rw: rw, r: bufio.NewReaderSize(rw, 64<<10)}
}

// Close closes the stream; a Receive or Send that is under way ends with an error.
func (c *Conn) Close() error { return c.rw.Close() }

// SetWriteDeadline bounds the sends under way and to come, as net.Conn has it.
// A send that runs into it has broken the link.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	d, ok := c.rw.(interface{ SetWriteDeadline(time.Time) error })
	if !ok {
		return os.ErrNoDeadline
	}
	return d.SetWriteDeadline(t)
}

// Send writes one message in one write. v is the struct that belongs to kind,
// by value (nil for KindStop); access units go through SendUnit. A value that
// the other side would refuse is refused here, and the link stays usable.
func (c *Conn) Send(kind Kind, v any) error {
	if u, ok := v.(AccessUnit); ok && kind == KindAccessUnit {
		return c.SendUnit(u)
	}
	if err := checkValue(kind, v); err != nil {
		return fmt.Errorf("send %s: %w", kind, err)
	}
	var payload []byte
	if v != nil {
		var err error
		if payload, err = json.Marshal(v); err != nil {
			return fmt.Errorf("send %s: %w: %w", kind, ErrProtocol, err)
		}
	}
	if len(payload)+1 > MaxJSON {
		return fmt.Errorf("send %s: %w: %d bytes, the most is %d", kind, ErrProtocol, len(payload)+1, MaxJSON)
	}
	c.write.Lock()
	defer c.write.Unlock()
	if c.wErr != nil {
		return c.wErr
	}
	c.out = appendHead(c.out[:0], kind, len(payload))
	c.out = append(c.out, payload...)
	if _, err := c.rw.Write(c.out); err != nil {
		c.wErr = fmt.Errorf("send %s: %w", kind, err)
		return c.wErr
	}
	return nil
}

// SendUnit writes one access unit without copying its data: a vectored write
// where the stream knows it (sockets do). u.Data may be reused on return.
func (c *Conn) SendUnit(u AccessUnit) error {
	if err := u.check(); err != nil {
		return fmt.Errorf("send access unit: %w", err)
	}
	c.write.Lock()
	defer c.write.Unlock()
	if c.wErr != nil {
		return c.wErr
	}
	c.out = appendHead(c.out[:0], KindAccessUnit, unitHead+len(u.Data))
	c.out = u.appendHead(c.out)
	c.vec = [2][]byte{c.out, u.Data}
	bufs := net.Buffers(c.vec[:])
	_, err := bufs.WriteTo(c.rw)
	c.vec = [2][]byte{} // the data is the caller's again
	if err != nil {
		c.wErr = fmt.Errorf("send access unit: %w", err)
		return c.wErr
	}
	return nil
}

// Receive reads the next message. At the orderly end of the stream the error is
// io.EOF; in the middle of a frame it is io.ErrUnexpectedEOF; what breaks the
// link's rules is ErrProtocol. After an error there is nothing more to read.
func (c *Conn) Receive() (Message, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return Message{}, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	kind := Kind(head[lengthSize])
	if n == 0 || n > MaxFrame {
		return Message{}, fmt.Errorf("%w: a frame of %d bytes, 1 to %d are allowed", ErrProtocol, n, MaxFrame)
	}
	size := int(n) - 1
	if kind == KindAccessUnit {
		u, err := c.receiveUnit(size)
		if err != nil {
			return Message{}, fmt.Errorf("receive access unit: %w", err)
		}
		return Message{Kind: kind, Value: u}, nil
	}
	if !kind.Command() && !kind.Report() {
		return Message{}, fmt.Errorf("%w: unknown %s", ErrProtocol, kind)
	}
	if n > MaxJSON {
		return Message{}, fmt.Errorf("%w: a %s of %d bytes, the most is %d", ErrProtocol, kind, n, MaxJSON)
	}
	if cap(c.in) < size {
		c.in = make([]byte, size)
	}
	c.in = c.in[:size]
	if err := readFull(c.r, c.in); err != nil {
		return Message{}, fmt.Errorf("receive %s: %w", kind, err)
	}
	v, err := decodeValue(kind, c.in)
	if err != nil {
		return Message{}, fmt.Errorf("receive %s: %w", kind, err)
	}
	return Message{Kind: kind, Value: v}, nil
}

// receiveUnit reads the size bytes of an access unit's payload.
func (c *Conn) receiveUnit(size int) (AccessUnit, error) {
	if size <= unitHead {
		return AccessUnit{}, fmt.Errorf("%w: %d bytes are too few", ErrProtocol, size)
	}
	var head [unitHead]byte
	if err := readFull(c.r, head[:]); err != nil {
		return AccessUnit{}, err
	}
	u, err := parseUnitHead(head)
	if err != nil {
		return AccessUnit{}, err
	}
	size -= unitHead
	u.Data = make([]byte, min(size, firstRead))
	for got := 0; ; {
		if err := readFull(c.r, u.Data[got:]); err != nil {
			return AccessUnit{}, err
		}
		if got = len(u.Data); got == size {
			return u, nil
		}
		grown := make([]byte, min(size, 2*got))
		copy(grown, u.Data)
		u.Data = grown
	}
}

// readFull is io.ReadFull inside a frame, where any end is unexpected.
func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendHead appends a frame's length and kind for a payload of n bytes.
func appendHead(b []byte, kind Kind, n int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(n+1))
	return append(b, byte(kind))
}
