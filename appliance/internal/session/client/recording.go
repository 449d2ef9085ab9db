package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxPicture bounds what an IVF file may say of a picture's length.
const maxPicture = 16 << 20

// ReadIVF reads the VP8 pictures of an IVF file: a head of 32 bytes with the time
// base at 16 (denominator) and 20, then pictures with heads of 12 bytes, length and
// time.
func ReadIVF(r io.Reader) ([]Unit, error) {
	var head [32]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read IVF: %w", err)
	}
	if string(head[:4]) != "DKIF" || string(head[8:12]) != "VP80" {
		return nil, fmt.Errorf("read IVF: %q with %q is no IVF file with VP8", head[:4], head[8:12])
	}
	den, num := uint64(binary.LittleEndian.Uint32(head[16:])), uint64(binary.LittleEndian.Uint32(head[20:]))
	if den == 0 || num == 0 {
		return nil, errors.New("read IVF: it has no time base")
	}
	var units []Unit
	for {
		var h [12]byte
		if _, err := io.ReadFull(r, h[:]); errors.Is(err, io.EOF) {
			return units, nil
		} else if err != nil {
			return nil, fmt.Errorf("read IVF: %w", err)
		}
		n, at := binary.LittleEndian.Uint32(h[:]), binary.LittleEndian.Uint64(h[4:])
		if n == 0 || n > maxPicture {
			return nil, fmt.Errorf("read IVF: a picture of %d bytes", n)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, fmt.Errorf("read IVF: %w", err)
		}
		units = append(units, Unit{Codec: VP8, Keyframe: keyframe(VP8, data), Data: data, Timestamp: uint32(at * clockRate * num / den)})
	}
}

// H.264 NAL unit types, ITU-T H.264 table 7-1.
const (
	nalSlice = 1
	nalIDR   = 5
	nalSEI   = 6
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
)

// ReadAnnexB cuts an H.264 byte stream into pictures, fps of them a second.
func ReadAnnexB(stream []byte, fps float64) ([]Unit, error) {
	if fps <= 0 {
		return nil, errors.New("read H.264: no rate is given")
	}
	var units []Unit
	var picture []byte
	sliced := false // the picture has a slice
	end := func() {
		if sliced {
			units = append(units, Unit{Codec: H264, Keyframe: keyframe(H264, picture), Data: picture,
				Timestamp: uint32(float64(len(units)) * clockRate / fps)})
			picture, sliced = nil, false
		}
	}
	for nal := range nalUnits(stream) {
		switch kind := nal[0] & 0x1f; {
		case kind == nalAUD || kind == nalSPS || kind == nalPPS || kind == nalSEI:
			end() // H.264 section 7.4.1.2.3: these begin a picture
		case kind >= nalSlice && kind <= nalIDR:
			// first_mb_in_slice is 0, written as the bit 1: the picture's first slice.
			if len(nal) > 1 && nal[1]&0x80 != 0 {
				end()
			}
			sliced = true
		}
		picture = append(append(picture, 0, 0, 0, 1), nal...)
	}
	end()
	if len(units) == 0 {
		return nil, errors.New("read H.264: there is no picture in it")
	}
	return units, nil
}

// nalUnits yields the NAL units of a byte stream (H.264 annex B), without start codes
// and trailing zeros.
func nalUnits(b []byte) func(yield func([]byte) bool) {
	startCode := []byte{0, 0, 1}
	return func(yield func([]byte) bool) {
		at := bytes.Index(b, startCode)
		for at >= 0 {
			b = b[at+len(startCode):]
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
