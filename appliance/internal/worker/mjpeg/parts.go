package mjpeg

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Bounds of what a camera may send.
const (
	maxPicture = 16 << 20
	// maxJunk may stand in front of a delimiter: the rest of a picture that was cut
	// off too early, at worst.
	maxJunk = 2 * maxPicture
	// maxPreamble may stand in front of the first one.
	maxPreamble = 64 << 10
	maxLine     = 4 << 10
	maxHeaders  = 64 // lines of one part
)

// Why parts cannot be read.
var (
	errTooLarge  = errors.New("a picture is larger than 16 MiB")
	errHeaders   = errors.New("the header of a picture has no end")
	errNoParts   = errors.New("no picture begins in what it sends")
	errLastPart  = errors.New("the stream ended")
	errDelimiter = errors.New("the declared boundary does not come")
)

// parts takes pictures out of a multipart body (RFC 2046 clause 5.1.1), as cameras
// write it.
type parts struct {
	r *bufio.Reader
	// boundary, as it was declared, without the dashes in front: cameras declare it
	// with them, and then send them once or twice. Empty: what the first delimiter
	// says.
	boundary string
	begun    bool
	// lying: a Content-Length was wrong, so none is believed any more.
	lying bool
}

func newParts(r io.Reader, boundary string) *parts {
	return &parts{r: bufio.NewReaderSize(r, 64<<10), boundary: strings.TrimLeft(boundary, "-")}
}

// next returns the next picture as soon as its last byte is there. It skips parts
// that are none. io.EOF and io.ErrUnexpectedEOF say that the body broke off.
func (p *parts) next() ([]byte, error) {
	for {
		if err := p.delimiter(); err != nil {
			return nil, err
		}
		length, picture, err := p.headers()
		if err != nil {
			return nil, err
		}
		if !picture {
			// Sound, or a word on the state of the camera. Its length is no news:
			// the delimiter is looked for.
			continue
		}
		data, err := p.picture(length)
		if data != nil || err != nil {
			return data, err
		}
	}
}

// delimiter skips to behind the next delimiter.
func (p *parts) delimiter() error {
	limit := maxJunk
	if !p.begun {
		limit = maxPreamble
	}
	for skipped := 0; skipped < limit; {
		line, n, err := p.line(limit)
		if err != nil {
			return err
		}
		skipped += n
		name := strings.TrimLeft(string(line), "-")
		if !p.begun && name != "" && (name == p.boundary || bytes.HasPrefix(line, []byte("--"))) {
			// What comes counts, not what was declared.
			p.boundary, p.begun = name, true
			return nil
		}
		switch {
		case !p.begun || name == "":
		case name == p.boundary:
			return nil
		case strings.TrimSuffix(name, "--") == p.boundary:
			return p.afterLast()
		}
	}
	if !p.begun {
		return errNoParts
	}
	return errDelimiter
}

// afterLast tells what follows the delimiter that says it is the last: cameras are
// known that write every one so, so only the end of the body ends it.
func (p *parts) afterLast() error {
	if _, err := p.r.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			return errLastPart
		}
		return err
	}
	return nil
}

// line is the next line without its end and the blanks there, cut off after maxLine
// bytes, and how many bytes it took: where that is more than limit, it may go on. It is
// valid until the next read.
func (p *parts) line(limit int) (line []byte, n int, err error) {
	for {
		chunk, err := p.r.ReadSlice('\n')
		if n == 0 {
			line = chunk[:min(len(chunk), maxLine)]
			if errors.Is(err, bufio.ErrBufferFull) {
				line = nil // no line that means anything is as long
			}
		}
		n += len(chunk)
		switch {
		case err == nil:
			return bytes.TrimRight(line, " \t\r\n"), n, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, n, err
		case n > limit:
			return nil, n, nil
		}
	}
}

// headers reads a part's header up to its picture. length is 0 where none is told.
func (p *parts) headers() (length int, picture bool, err error) {
	picture = true
	for range maxHeaders {
		// A header may be missing, and its empty line with it.
		if start, err := p.r.Peek(2); err == nil && start[0] == 0xff && start[1] == soi {
			return length, picture, nil
		}
		line, n, err := p.line(maxLine)
		if err != nil {
			return 0, false, err
		}
		if n > maxLine {
			return 0, false, errHeaders
		}
		if len(line) == 0 {
			return length, picture, nil
		}
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "content-length":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				length = n
			}
		case "content-type":
			kind, _, _ := strings.Cut(strings.ToLower(value), ";")
			switch strings.TrimSpace(kind) {
			case "", "image/jpeg", "image/jpg", "image/pjpeg", "image/mjpeg", "application/octet-stream":
			default:
				picture = false
			}
		}
	}
	return 0, false, errHeaders
}

// picture reads one; nil if what is there is none.
func (p *parts) picture(length int) ([]byte, error) {
	if length > maxPicture {
		return nil, errTooLarge
	}
	if length == 0 || p.lying {
		return p.scan()
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(p.r, data); err != nil {
		return nil, err
	}
	if whole(data) {
		return data, nil
	}
	p.lying = true
	return nil, nil
}

// whole tells whether data begins as a JPEG and ends as one; behind the end cameras
// pad.
func whole(data []byte) bool {
	if len(data) < 4 || data[0] != 0xff || data[1] != soi {
		return false
	}
	return bytes.HasSuffix(bytes.TrimRight(data, "\x00\r\n "), []byte{marker, eoi})
}
