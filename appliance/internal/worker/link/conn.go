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
	// MaxJSON is the most bytes of a frame that is not binary. It is
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
// (Start for KindStart, …, not a pointer), validated; nil for KindStop, KindEnd and KindRefresh.
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
// by value (nil for KindStop, KindEnd and KindRefresh). A value that
// the other side would refuse is refused here, and the link stays usable.
func (c *Conn) Send(kind Kind, v any) error {
	switch v := v.(type) {
	case AccessUnit:
		if kind == KindAccessUnit || kind == KindMedia {
			return c.sendUnit(kind, v)
		}
	case Result:
		if kind == KindResult {
			return c.SendResult(v)
		}
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
func (c *Conn) SendUnit(u AccessUnit) error { return c.sendUnit(KindAccessUnit, u) }

// sendUnit is SendUnit in either direction.
func (c *Conn) sendUnit(kind Kind, u AccessUnit) error {
	if err := u.check(); err != nil {
		return fmt.Errorf("send %s: %w", kind, err)
	}
	return c.sendBinary(kind, unitHead+len(u.Data), u.appendHead, u.Data)
}

// SendResult writes one frame's document as SendUnit does an access unit.
func (c *Conn) SendResult(r Result) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("send result: %w", err)
	}
	return c.sendBinary(KindResult, resultHead+len(r.Data), r.appendHead, r.Data)
}

// sendBinary writes a frame with a payload of n bytes: what head appends, and data.
func (c *Conn) sendBinary(kind Kind, n int, head func([]byte) []byte, data []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.wErr != nil {
		return c.wErr
	}
	c.out = head(appendHead(c.out[:0], kind, n))
	c.vec = [2][]byte{c.out, data}
	bufs := net.Buffers(c.vec[:])
	_, err := bufs.WriteTo(c.rw)
	c.vec = [2][]byte{} // the data is the caller's again
	if err != nil {
		c.wErr = fmt.Errorf("send %s: %w", kind, err)
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
	var whole any // of a binary kind
	var err error
	switch kind {
	case KindAccessUnit, KindMedia:
		whole, err = c.receiveUnit(size)
	case KindResult:
		whole, err = c.receiveResult(size)
	}
	if err != nil {
		return Message{}, fmt.Errorf("receive %s: %w", kind, err)
	}
	if whole != nil {
		return Message{Kind: kind, Value: whole}, nil
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
	u.Data, err = c.receiveData(size - unitHead)
	return u, err
}

// receiveResult reads the size bytes of a result's payload.
func (c *Conn) receiveResult(size int) (Result, error) {
	if size <= resultHead {
		return Result{}, fmt.Errorf("%w: %d bytes are too few", ErrProtocol, size)
	}
	var head [resultHead]byte
	if err := readFull(c.r, head[:]); err != nil {
		return Result{}, err
	}
	r := Result{Frame: binary.LittleEndian.Uint64(head[:]), PTS: time.Duration(binary.LittleEndian.Uint64(head[8:]))}
	if r.Frame == 0 || r.PTS < 0 || r.PTS > MaxPTS {
		return Result{}, fmt.Errorf("%w: result of frame %d at %v", ErrProtocol, r.Frame, r.PTS)
	}
	var err error
	r.Data, err = c.receiveData(size - resultHead)
	return r, err
}

// receiveData reads size bytes into memory of their own.
func (c *Conn) receiveData(size int) ([]byte, error) {
	data := make([]byte, min(size, firstRead))
	for got := 0; ; {
		if err := readFull(c.r, data[got:]); err != nil {
			return nil, err
		}
		if got = len(data); got == size {
			return data, nil
		}
		grown := make([]byte, min(size, 2*got))
		copy(grown, data)
		data = grown
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
