package media

import (
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// fate is how a decoded frame ended.
type fate int

const (
	inferred fate = iota
	skippedMotion
	skippedRate
	skippedHeat
	dropped
	failed
)

// ledger counts frames. One lock, not one atomic a column, so that a snapshot
// taken at any moment balances.
type ledger struct {
	mu sync.Mutex
	l  link.Ledger
}

// decoded enters a frame; it is pending until settle.
func (g *ledger) decoded() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.l.Decoded++
	g.l.Pending++
	return g.l.Decoded
}

func (g *ledger) settle(f fate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.l.Pending--
	count(&g.l, f)
}

// missed enters a frame that was left out in front of the decoder.
func (g *ledger) missed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.l.Decoded++
	g.l.Dropped++
}

// count enters how a frame ended.
func count(l *link.Ledger, f fate) {
	switch f {
	case inferred:
		l.Inferred++
	case skippedMotion:
		l.SkippedMotion++
	case skippedRate:
		l.SkippedRate++
	case skippedHeat:
		l.SkippedHeat++
	case dropped:
		l.Dropped++
	case failed:
		l.Failed++
	}
}

// restore goes on from where an earlier run was.
func (g *ledger) restore(l link.Ledger) {
	g.mu.Lock()
	g.l = l
	g.mu.Unlock()
}

func (g *ledger) pictureSent() {
	g.mu.Lock()
	g.l.PicturesSent++
	g.mu.Unlock()
}

func (g *ledger) pictureLate() {
	g.mu.Lock()
	g.l.PicturesLate++
	g.mu.Unlock()
}

func (g *ledger) decoderError() {
	g.mu.Lock()
	g.l.DecoderErrors++
	g.mu.Unlock()
}

func (g *ledger) snapshot() link.Ledger {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.l
}
