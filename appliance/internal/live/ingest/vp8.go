package ingest

import "errors"

var (
	errDescriptor = errors.New("a VP8 payload descriptor is cut short")
	errNoStart    = errors.New("a VP8 frame does not begin with its first partition")
	errKeyframe   = errors.New("a VP8 keyframe has no start code")
)

// vp8 is the format of RFC 7741.
type vp8 struct{}

// Bits of the payload descriptor, RFC 7741 section 4.2.
const (
	vp8Extended = 0x80
	vp8Start    = 0x10
	vp8PartID   = 0x07
	vp8Picture  = 0x80 // of the extension: I
	vp8TL0      = 0x40 // L
	vp8Key      = 0x30 // T and K share a byte
	vp8Long     = 0x80 // the picture id has 15 bits
)

// descriptor is the length of a payload's descriptor.
func (vp8) descriptor(p []byte) (n int, err error) {
	if n = 1; p[0]&vp8Extended != 0 {
		if len(p) < 2 {
			return 0, errDescriptor
		}
		x := p[1]
		n = 2
		if x&vp8Picture != 0 {
			if len(p) < 3 {
				return 0, errDescriptor
			}
			if n++; p[2]&vp8Long != 0 {
				n++
			}
		}
		if x&vp8TL0 != 0 {
			n++
		}
		if x&vp8Key != 0 {
			n++
		}
	}
	if len(p) <= n {
		return 0, errDescriptor
	}
	return n, nil
}

// first tells whether a payload begins a frame.
func (vp8) first(p []byte) bool { return p[0]&vp8Start != 0 && p[0]&vp8PartID == 0 }

func (v vp8) opens(p []byte) bool {
	n, err := v.descriptor(p)
	return err == nil && v.first(p) && p[n]&1 == 0 // P: 0 is a keyframe, RFC 6386 section 9.1
}

func (v vp8) join(payloads [][]byte) (data []byte, keyframe bool, err error) {
	if !v.first(payloads[0]) {
		return nil, false, errNoStart
	}
	size := 0
	for _, p := range payloads {
		size += len(p)
	}
	data = make([]byte, 0, size)
	for _, p := range payloads {
		n, err := v.descriptor(p)
		if err != nil {
			return nil, false, err
		}
		data = append(data, p[n:]...)
	}
	if keyframe = data[0]&1 == 0; keyframe && (len(data) < 10 || data[3] != 0x9d || data[4] != 0x01 || data[5] != 0x2a) {
		return nil, false, errKeyframe
	}
	return data, keyframe, nil
}
