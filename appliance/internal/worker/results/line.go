package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Line is one line of detections.jsonl: one analysed frame. Coordinates are pixels
// of the frame as shown (rotation applied), edges.
type Line struct {
	Seq     uint64  `json:"seq"`     // the line's number, from 1
	Frame   uint64  `json:"frame"`   // decoded frames, from 1
	Seconds float64 `json:"seconds"` // presentation time
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	// Objects in the order of their ids; never null.
	Objects []link.Object `json:"objects"`
}

// Position is a place in the log: behind its first Seq lines, Bytes bytes.
type Position struct {
	Seq   uint64 `json:"seq"`
	Bytes int64  `json:"bytes"`
}

// maxLine is the most bytes of a line: far above what a tracker's objects take.
const maxLine = 4 << 20

// ErrLog is wrapped by errors about a log that no analysis wrote like this.
var ErrLog = errors.New("the results' log is damaged")

// Read hands every line of a log to each, in order, until it returns an error,
// which becomes Read's. Memory does not grow with the log.
func Read(r io.Reader, each func(Line) error) error {
	for c := newCursor(r); ; {
		l, err := c.next()
		if err != nil || l == nil {
			return err
		}
		if err := each(*l); err != nil {
			return err
		}
	}
}

// cursor reads a log line by line.
type cursor struct {
	in  *bufio.Scanner
	seq uint64
}

func newCursor(r io.Reader) *cursor {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	return &cursor{in: in}
}

// next is the next line; nil at the end.
func (c *cursor) next() (*Line, error) {
	if !c.in.Scan() {
		if err := c.in.Err(); err != nil {
			return nil, fmt.Errorf("read the results' log: %w", err)
		}
		return nil, nil
	}
	c.seq++
	var l Line
	if err := json.Unmarshal(c.in.Bytes(), &l); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrLog, c.seq, err)
	}
	if l.Seq != c.seq {
		return nil, fmt.Errorf("%w: line %d says that it is number %d", ErrLog, c.seq, l.Seq)
	}
	return &l, nil
}

// whole finds the end of the last line that is whole and follows on those before
// it: what comes behind was being written when the machine stopped. A file system
// may have the length of such a tail and not its bytes (zeros). at is where line
// number mark ends, or zero where there is none.
func whole(r io.Reader, mark uint64) (end, at Position, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		part, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) && len(long) < maxLine {
			long = append(long, part...)
			continue
		}
		if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
			return end, at, nil
		}
		if err != nil {
			return end, at, fmt.Errorf("read the results' log: %w", err)
		}
		text := part
		if len(long) > 0 {
			long = append(long, part...)
			text = long
		}
		// The cheap look first: what json accepts and is no line of ours has no seq.
		var l struct {
			Seq uint64 `json:"seq"`
		}
		if !bytes.HasPrefix(text, []byte(`{"seq":`)) || json.Unmarshal(text, &l) != nil || l.Seq != end.Seq+1 {
			return end, at, nil
		}
		end = Position{Seq: l.Seq, Bytes: end.Bytes + int64(len(text))}
		if end.Seq == mark {
			at = end
		}
		long = long[:0]
	}
}
