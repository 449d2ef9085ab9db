package link

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The payload of an access unit, little-endian:
//
//	0  uint8  codec
//	1  uint8  flags: 1 keyframe, 2 slate, 4 the source's own; the rest is 0
//	2  int64  PTS, ns
//	10 int64  captured, CLOCK_MONOTONIC ns
//	18 int64  time in the encoder, ns
//	26 data
const unitHead = 26

const (
	flagKeyframe = 1 << iota
	flagSlate
	flagOwn
	flagsKnown = flagKeyframe | flagSlate | flagOwn
)

// MaxPTS is the latest presentation time in a run. It is far beyond any real
// one, and small enough that sums with clock readings do not overflow.
const MaxPTS = 20 * 365 * 24 * time.Hour

func (u AccessUnit) check() error {
	if !u.Codec.Valid() {
		return fmt.Errorf("%w: %s is not known", ErrProtocol, u.Codec)
	}
	if err := u.checkTimes(); err != nil {
		return err
	}
	if len(u.Data) == 0 {
		return fmt.Errorf("%w: no data", ErrProtocol)
	}
	if n := 1 + unitHead + len(u.Data); n > MaxFrame {
		return fmt.Errorf("%w: a frame of %d bytes, the most is %d", ErrProtocol, n, MaxFrame)
	}
	return nil
}

func (u AccessUnit) checkTimes() error {
	if u.PTS < 0 || u.PTS > MaxPTS {
		return fmt.Errorf("%w: PTS %v is out of range", ErrProtocol, u.PTS)
	}
	if u.Captured < 0 || u.Encode < 0 {
		return fmt.Errorf("%w: negative capture or encode time", ErrProtocol)
	}
	return nil
}

func (u AccessUnit) appendHead(b []byte) []byte {
	var flags byte
	if u.Keyframe {
		flags |= flagKeyframe
	}
	if u.Slate {
		flags |= flagSlate
	}
	if u.Own {
		flags |= flagOwn
	}
	b = append(b, byte(u.Codec), flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(u.PTS))
	b = binary.LittleEndian.AppendUint64(b, uint64(u.Captured))
	return binary.LittleEndian.AppendUint64(b, uint64(u.Encode))
}

func parseUnitHead(h [unitHead]byte) (AccessUnit, error) {
	flags := h[1]
	u := AccessUnit{
		Codec:    Codec(h[0]),
		Keyframe: flags&flagKeyframe != 0,
		Slate:    flags&flagSlate != 0,
		Own:      flags&flagOwn != 0,
		PTS:      time.Duration(binary.LittleEndian.Uint64(h[2:])),
		Captured: int64(binary.LittleEndian.Uint64(h[10:])),
		Encode:   time.Duration(binary.LittleEndian.Uint64(h[18:])),
	}
	if flags&^flagsKnown != 0 {
		return AccessUnit{}, fmt.Errorf("%w: unknown flags %#x", ErrProtocol, flags)
	}
	if !u.Codec.Valid() {
		return AccessUnit{}, fmt.Errorf("%w: %s is not known", ErrProtocol, u.Codec)
	}
	return u, u.checkTimes()
}
