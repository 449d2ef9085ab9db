package ingest

import "time"

const (
	// ringPackets is how many packets are held: 2.4 MB of payload, a second at
	// 20 Mbit/s. A power of two.
	ringPackets = 2048
	// maxFrame is the most bytes of one frame.
	maxFrame = 2 << 20
	// patience is how long a missing packet is waited for, once one after it came:
	// some rounds of asking for it.
	patience = 300 * time.Millisecond
	// tailPatience is how long the rest of a frame is waited for when nothing at all
	// comes any more. It is longer: slow senders pace their packets.
	tailPatience = 600 * time.Millisecond
	// misorder is how far the first packets may be out of order.
	misorder = 64
	// stale is after how many packets of the past, without one between them that is not,
	// the peer is taken to have begun its numbering anew (RFC 3550 section A.1).
	stale = 100
)

// format is how a codec's frames lie in packets. Its methods are called with payloads
// that are not empty.
type format interface {
	// opens tells whether a payload may be the first of a keyframe.
	opens(payload []byte) bool
	// join makes a frame of the payloads of its packets; data is new. No data and no
	// error: they held no picture.
	join(payloads [][]byte) (data []byte, keyframe bool, err error)
}

// slot is one packet held.
type slot struct {
	seq     int64 // extended
	stamp   uint32
	marker  bool
	used    bool
	payload []byte // its memory is used again
}

// frame is what the assembler gives.
type frame struct {
	keyframe bool
	stamp    uint32
	data     []byte
}

// assembler puts packets in order and frames together. It knows no clock and no
// network: times are told to it.
type assembler struct {
	format format
	slots  [ringPackets]slot
	parts  [][]byte

	started bool
	next    int64 // the first packet that is still to be handled
	high    int64 // the highest that came
	cursor  int64 // packets from next to here are there and of one frame
	size    int   // their bytes
	settled bool  // next was handled: it does not go back any more
	past    int   // packets in a row from before next

	broken  bool // up to the next keyframe nothing can be decoded
	wanted  bool // a keyframe, since it was last asked for
	waiting time.Time
	hole    bool      // waiting: for a packet in the middle, not for the rest
	last    time.Time // when the last packet came

	frames, dropped, damaged uint64
}

func newAssembler(f format) *assembler { return &assembler{format: f, broken: true} }

func (a *assembler) slot(seq int64) *slot { return &a.slots[seq&(ringPackets-1)] }

// has tells whether packet seq is held.
func (a *assembler) has(seq int64) bool {
	s := a.slot(seq)
	return s.used && s.seq == seq
}

// push takes one packet; payload is copied.
func (a *assembler) push(seq uint16, stamp uint32, marker bool, payload []byte, now time.Time) {
	a.last = now
	ext := a.extend(seq)
	if ext < a.next && !a.back(ext) {
		return
	}
	a.past = 0
	if ext-a.next >= ringPackets {
		// What is missing since then will not come any more.
		a.lose()
		a.restart(ext)
	}
	if a.has(ext) {
		return
	}
	s := a.slot(ext)
	s.seq, s.stamp, s.marker, s.used = ext, stamp, marker, true
	s.payload = append(s.payload[:0], payload...)
	a.high = max(a.high, ext)
}

// extend makes a sequence number of 16 bits one that does not wrap.
func (a *assembler) extend(seq uint16) int64 {
	if !a.started {
		a.started = true
		a.high = int64(seq) + 1<<32
		a.next, a.cursor = a.high, a.high
	}
	return a.high + int64(int16(seq-uint16(a.high)))
}

// back deals with a packet from before next, and tells whether it can be taken.
func (a *assembler) back(ext int64) bool {
	if !a.settled && a.next-ext <= misorder {
		a.next = ext
		a.rewind()
		return true
	}
	if a.past++; a.past < stale {
		return false // twice the same, or too late
	}
	a.lose()
	a.restart(ext)
	return true
}

// restart begins anew at packet ext.
func (a *assembler) restart(ext int64) {
	for i := range a.slots {
		a.slots[i].used = false
	}
	a.next, a.high, a.past, a.settled, a.waiting = ext, ext, 0, false, time.Time{}
	a.rewind()
}

// rewind has the frame at next looked at from its start.
func (a *assembler) rewind() { a.cursor, a.size = a.next, 0 }

// lose gives up what cannot be decoded any more.
func (a *assembler) lose() {
	a.broken, a.wanted = true, true
}

// pop gives the next frame that is complete and can be decoded.
func (a *assembler) pop(now time.Time) (frame, bool) {
	for a.started {
		if a.broken && a.settled {
			a.seek()
		}
		for a.next == a.cursor && a.has(a.next) && len(a.slot(a.next).payload) == 0 {
			a.discard(a.next + 1) // padding, between frames
		}
		if a.next > a.high {
			a.waiting = time.Time{}
			break
		}
		if !a.scan() {
			if !a.giveUp(now) {
				break
			}
			continue
		}
		a.waiting = time.Time{}
		if f, ok := a.complete(); ok {
			a.frames++
			return f, true
		}
	}
	return frame{}, false
}

// scan goes on looking for the end of the frame at next, and tells whether it is
// complete: up to its marker bit, or up to a packet of another time.
func (a *assembler) scan() bool {
	for ; a.has(a.cursor); a.cursor++ {
		s := a.slot(a.cursor)
		if s.stamp != a.slot(a.next).stamp && len(s.payload) > 0 && a.cursor > a.next {
			return true
		}
		if a.size += len(s.payload); s.marker {
			a.cursor++
			return true
		}
		if a.size > maxFrame {
			return true // complete refuses it
		}
	}
	return false
}

// complete makes the frame of the packets from next to cursor.
func (a *assembler) complete() (f frame, ok bool) {
	f.stamp = a.slot(a.next).stamp
	a.parts = a.parts[:0]
	for seq := a.next; seq < a.cursor; seq++ {
		if p := a.slot(seq).payload; len(p) > 0 {
			a.parts = append(a.parts, p)
		}
	}
	var err error
	tooLarge := a.size > maxFrame
	if !tooLarge && len(a.parts) > 0 {
		f.data, f.keyframe, err = a.format.join(a.parts)
	}
	a.discard(a.cursor)
	switch {
	case tooLarge || err != nil:
		a.damaged++
		a.lose()
		return f, false
	case len(f.data) == 0:
		return f, false
	case f.keyframe:
		a.broken, a.wanted = false, false
	case a.broken:
		a.dropped++
		a.lose()
		return f, false
	}
	return f, true
}

// discard frees the packets before seq.
func (a *assembler) discard(seq int64) {
	for ; a.next < seq; a.next++ {
		if a.has(a.next) {
			a.slot(a.next).used = false
		}
	}
	a.settled = true
	a.rewind()
}

// giveUp begins to wait for what is missing, or ends that; it tells whether the frame at
// next was given up.
func (a *assembler) giveUp(now time.Time) bool {
	hole := a.cursor <= a.high
	if a.waiting.IsZero() || hole != a.hole {
		a.waiting, a.hole = now, hole
	}
	if hole && now.Sub(a.waiting) < patience || !hole && now.Sub(a.last) < tailPatience {
		return false
	}
	a.waiting = time.Time{}
	a.dropped++
	a.lose()
	a.discard(a.cursor)
	if hole {
		for a.next <= a.high && !a.has(a.next) {
			a.next++
		}
		a.rewind()
	}
	return true
}

// seek drops packets up to the first that may open a keyframe.
func (a *assembler) seek() {
	if a.cursor > a.next {
		return // it was found, and is not yet complete
	}
	for seq := a.next; seq <= a.high; seq++ {
		if a.has(seq) && len(a.slot(seq).payload) > 0 && a.format.opens(a.slot(seq).payload) {
			a.discard(seq)
			return
		}
	}
	if a.next <= a.high {
		a.wanted = true
		a.discard(a.high + 1)
	}
}

// holding tells whether packets wait for others, so that time matters.
func (a *assembler) holding() bool { return a.started && a.next <= a.high }
