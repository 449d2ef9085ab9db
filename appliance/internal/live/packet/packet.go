package packet

import (
	"bytes"
	"errors"
)

// MaxPayload is the size of the largest RTP payload. With the RTP header (12),
// the SRTP tag (16 with AES-GCM), UDP (8) and IPv6 (40) a packet has 1264 bytes: it
// fits the 1280 that every IPv6 link carries, and tunnels over Ethernet.
const MaxPayload = 1188

// H.264 NAL unit types, ITU-T H.264 table 7-1, and RFC 6184 section 5.2.
const (
	nalTypeMask = 0x1f
	nalRefMask  = 0xe0 // forbidden_zero_bit and nal_ref_idc
	nalAUD      = 9
	nalFiller   = 12
	nalSTAPA    = 24
	nalFUA      = 28
	fuStart     = 0x80
	fuEnd       = 0x40
)

var errNoNAL = errors.New("no NAL unit in H.264 access unit")
var errEmptyFrame = errors.New("empty VP8 frame")

// H264 cuts an Annex B access unit into RTP payloads as in RFC 6184,
// packetization-mode 1: small NAL units together (STAP-A), large ones in
// fragments (FU-A). The payloads share one new buffer.
func H264(unit []byte) ([][]byte, error) {
	p := payloads{buf: make([]byte, 0, len(unit)+len(unit)/512+64)}
	p.list = make([][]byte, 0, len(unit)/MaxPayload+3)
	var small [16][]byte // NAL units that are held back to go together
	held, size := 0, 1
	release := func() {
		switch held {
		case 0:
		case 1:
			p.add(small[0])
		default:
			p.aggregate(small[:held])
		}
		held, size = 0, 1
	}
	for nal := range NALUnits(unit) {
		if !sendable(nal[0] & nalTypeMask) {
			continue
		}
		if held == len(small) || size+2+len(nal) > MaxPayload {
			release()
		}
		switch {
		case len(nal) > MaxPayload:
			release()
			p.fragment(nal)
		default:
			small[held] = nal
			held++
			size += 2 + len(nal)
		}
	}
	release()
	if len(p.list) == 0 {
		return nil, errNoNAL
	}
	return p.list, nil
}

// sendable tells whether NAL units of a type go out. Access unit delimiters and
// filler do not: RTP has the marker bit for the one, and no use for the other.
// Types that H.264 leaves open mean something else in RTP.
func sendable(nalType byte) bool {
	return nalType != 0 && nalType < nalSTAPA && nalType != nalAUD && nalType != nalFiller
}

// payloads collects RTP payloads in one buffer.
type payloads struct {
	buf  []byte
	list [][]byte
}

// add appends a payload made of parts.
func (p *payloads) add(parts ...[]byte) {
	start := len(p.buf)
	for _, b := range parts {
		p.buf = append(p.buf, b...)
	}
	p.list = append(p.list, p.buf[start:len(p.buf):len(p.buf)])
}

// aggregate makes a STAP-A (RFC 6184 section 5.7.1).
func (p *payloads) aggregate(nals [][]byte) {
	start := len(p.buf)
	header := byte(nalSTAPA)
	for _, n := range nals {
		header = header&nalTypeMask | max(header&0x60, n[0]&0x60)
	}
	p.buf = append(p.buf, header)
	for _, n := range nals {
		p.buf = append(p.buf, byte(len(n)>>8), byte(len(n)))
		p.buf = append(p.buf, n...)
	}
	p.list = append(p.list, p.buf[start:len(p.buf):len(p.buf)])
}

// fragment makes FU-As (RFC 6184 section 5.8), all of the full size but the
// last: so the kernel can send them in one call.
func (p *payloads) fragment(nal []byte) {
	indicator := nal[0]&nalRefMask | nalFUA
	header := nal[0]&nalTypeMask | fuStart
	for rest := nal[1:]; len(rest) > 0; header &^= fuStart {
		n := min(len(rest), MaxPayload-2)
		if n == len(rest) {
			header |= fuEnd
		}
		p.add([]byte{indicator, header}, rest[:n])
		rest = rest[n:]
	}
}

// NALUnits yields the NAL units of an Annex B stream, without their start
// codes and without trailing zeros.
func NALUnits(b []byte) func(yield func([]byte) bool) {
	startCode := []byte{0, 0, 1}
	return func(yield func([]byte) bool) {
		at := bytes.Index(b, startCode)
		for at >= 0 {
			b = b[at+3:]
			at = bytes.Index(b, startCode)
			nal := b
			if at >= 0 {
				nal = b[:at]
			}
			nal = bytes.TrimRight(nal, "\x00")
			if len(nal) > 0 && !yield(nal) {
				return
			}
		}
	}
}

// VP8 cuts a frame into RTP payloads with the one-byte descriptor of
// RFC 7741 section 4.2: S on the first, partition index 0. There is no picture
// id: it would have to be rewritten for each viewer that skips, and sequence
// numbers without gaps tell a receiver the same.
func VP8(frame []byte) ([][]byte, error) {
	if len(frame) == 0 {
		return nil, errEmptyFrame
	}
	n := len(frame)/(MaxPayload-1) + 1
	p := payloads{buf: make([]byte, 0, len(frame)+n), list: make([][]byte, 0, n)}
	descriptor := byte(0x10)
	for len(frame) > 0 {
		n := min(len(frame), MaxPayload-1)
		p.add([]byte{descriptor}, frame[:n])
		frame, descriptor = frame[n:], 0
	}
	return p.list, nil
}
