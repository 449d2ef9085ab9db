package mjpeg

import (
	"bytes"
	"errors"
	"io"
)

// Markers of a JPEG (ITU-T T.81, table B.1), behind their 0xff.
const (
	soi    = 0xd8 // start of image
	eoi    = 0xd9 // end of image
	sos    = 0xda // start of scan
	rst0   = 0xd0 // restart, to rst7
	rst7   = 0xd7
	tem    = 0x01
	marker = 0xff
)

// scan reads a JPEG by its own structure, to its end and not a byte further: with no
// length told, waiting for the next delimiter would show every picture one later. nil
// without an error: what is there is no JPEG.
func (p *parts) scan() ([]byte, error) {
	start, err := p.r.Peek(2)
	if err != nil {
		return nil, err
	}
	if start[0] != marker || start[1] != soi {
		return nil, nil
	}
	data := make([]byte, 0, 64<<10)
	take := func(n int) error {
		if len(data)+n > maxPicture {
			return errTooLarge
		}
		at := len(data)
		data = append(data, make([]byte, n)...)
		_, err := io.ReadFull(p.r, data[at:])
		return err
	}
	if err := take(2); err != nil {
		return nil, err
	}
	for {
		if err := take(2); err != nil {
			return nil, err
		}
		if data[len(data)-2] != marker {
			return nil, nil
		}
		for data[len(data)-1] == marker { // padding in front of a marker
			if err := take(1); err != nil {
				return nil, err
			}
		}
		switch m := data[len(data)-1]; {
		case m == eoi:
			return data, nil
		case m == soi || m == 0:
			return nil, nil
		case m == tem || m >= rst0 && m <= rst7:
			continue
		default:
			if err := take(2); err != nil {
				return nil, err
			}
			length := int(data[len(data)-2])<<8 | int(data[len(data)-1])
			if length < 2 {
				return nil, nil
			}
			if err := take(length - 2); err != nil {
				return nil, err
			}
			if m != sos {
				continue
			}
			if data, err = p.entropy(data); err != nil {
				return nil, err
			}
		}
	}
}

// entropy appends the coded data of a scan, up to a marker that ends it.
func (p *parts) entropy(data []byte) ([]byte, error) {
	for {
		if _, err := p.r.Peek(1); err != nil {
			return nil, err
		}
		chunk, err := p.r.Peek(p.r.Buffered())
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if at := bytes.IndexByte(chunk, marker); at >= 0 {
			chunk = chunk[:at]
		}
		if len(data)+len(chunk)+2 > maxPicture {
			return nil, errTooLarge
		}
		data = append(data, chunk...)
		if _, err := p.r.Discard(len(chunk)); err != nil {
			return nil, err
		}
		next, err := p.r.Peek(1)
		if err != nil {
			return nil, err
		}
		if next[0] != marker {
			continue
		}
		pair, err := p.r.Peek(2)
		if err != nil {
			return nil, err
		}
		// A zero stands for the 0xff itself (B.1.1.5), and restarts belong to the scan.
		if pair[1] != 0 && (pair[1] < rst0 || pair[1] > rst7) {
			return data, nil
		}
		data = append(data, pair...)
		if _, err := p.r.Discard(2); err != nil {
			return nil, err
		}
	}
}
