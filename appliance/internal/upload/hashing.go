package upload

import (
	"context"
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"

	"github.com/watchpost/watchpost/state/spool"
)

// hashing is how far the file's sha256 is made. One at a time makes it: an Append
// from the bytes in its hands, or the checker from the file.
type hashing struct {
	state []byte // of a sha256 over the first done bytes; nil for none
	done  int64
	taken bool
	// round changes when bytes that were hashed turned out to be lost: who took it before has to stop.
	round int
}

// mostCatchUp is how much an Append may read back in order to go on with the hash itself. It is what a
// crash or the end of another Append leaves behind.
const mostCatchUp = 16 << 20

// resetHash goes back to what the record holds, which is durable.
func (e *entry) resetHash() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hash = hashing{state: e.rec.HashState, done: e.rec.HashedTo, round: e.hash.round + 1}
}

// hasher is the right to go on with an entry's hash.
type hasher struct {
	e     *entry
	h     hash.Hash
	at    int64
	round int
}

// takeHash takes the right if nobody has it and ok agrees with where it stands. nil: not now.
func (e *entry) takeHash(ok func(done int64) bool) *hasher {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hash.taken || !ok(e.hash.done) {
		return nil
	}
	h := sha256.New()
	at := e.hash.done
	if at > 0 {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(e.hash.state); err != nil {
			h, at = sha256.New(), 0 // of another version of the library: hash again
			e.hash.state, e.hash.done = nil, 0
			if !ok(0) {
				return nil
			}
		}
	}
	e.hash.taken = true
	return &hasher{e: e, h: h, at: at, round: e.hash.round}
}

// publish tells how far the hash is; false: it has to stop.
func (h *hasher) publish() bool {
	state, err := h.h.(encoding.BinaryMarshaler).MarshalBinary()
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	if h.e.hash.round != h.round || err != nil {
		return false
	}
	h.e.hash.state, h.e.hash.done = state, h.at
	return true
}

// give gives the right back.
func (h *hasher) give() {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	if h.e.hash.round == h.round {
		h.e.hash.taken = false
	}
}

// catchUp hashes from the file.
func (h *hasher) catchUp(ctx context.Context, f *spool.File, to int64, buf []byte) error {
	if err := f.Hash(ctx, h.h, h.at, to, buf); err != nil {
		return err
	}
	h.at = to
	if !h.publish() {
		return fmt.Errorf("hash %s: the bytes were lost meanwhile", h.e.id)
	}
	return nil
}

// piece is part of an Append: data, the first part of buf, is the file's from from on.
type piece struct {
	buf, data []byte
	from      int64
}

// feeder hashes what an Append has in hand.
type feeder struct {
	*hasher
	f     *spool.File
	work  chan piece    // blocking: as long as the Append's buffers
	free  chan<- []byte // where buffers go back
	ended chan struct{}
}

// feeder starts to hash if [from, to) is the next to be hashed. nil: it is not, or somebody else is at it.
func (s *Uploads) feeder(e *entry, f *spool.File, from, to int64, free chan<- []byte) *feeder {
	h := e.takeHash(func(done int64) bool {
		return done < to && done >= from-mostCatchUp && (done >= from || f.Counted(done) >= from)
	})
	if h == nil {
		return nil
	}
	d := &feeder{hasher: h, f: f, work: make(chan piece, cap(free)), free: free, ended: make(chan struct{})}
	go d.run()
	return d
}

func (d *feeder) run() {
	defer close(d.ended)
	good := true
	for p := range d.work {
		good = good && d.hash(p)
		d.free <- p.buf
	}
	d.give()
}

func (d *feeder) hash(p piece) bool {
	if d.at < p.from {
		gap := make([]byte, min(bufferSize, p.from-d.at))
		if d.catchUp(context.Background(), d.f, p.from, gap) != nil {
			return false // the checker will meet the same error, and tell it
		}
	}
	if skip := d.at - p.from; skip < int64(len(p.data)) {
		d.h.Write(p.data[skip:])
		d.at = p.from + int64(len(p.data))
	}
	return d.publish()
}

// end waits until all is hashed.
func (d *feeder) end() {
	close(d.work)
	<-d.ended
}
