package media

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// peerCodec is that of a peer's own track, "peer:vp8"; empty: the source is another.
func peerCodec(url string) string {
	codec, ok := strings.CutPrefix(url, "peer:")
	if !ok || codec != "h264" && codec != "vp8" {
		return ""
	}
	return codec
}

// inbox holds the pictures of a peer's track, encoded, until they are decoded. It is
// bounded: nobody can hold a camera back. What finds no room is left out, up to a
// keyframe, which the peer is asked for.
type inbox struct {
	w     *worker
	codec string

	mu      sync.Mutex
	units   []link.AccessUnit
	bytes   int
	broken  bool // units are left out up to a keyframe
	ended   bool
	wake    chan struct{} // capacity 1
	asked   time.Time     // when a keyframe was last asked for
	tooFull int           // units and bytes that may wait
}

// What may wait of a peer's track. A camera or a realtime session is not to be behind by
// much.
const (
	inboxUnits = 256 // some eight seconds
	inboxLive  = 30
	inboxBytes = 32 << 20
)

// refreshPause is the least time between two requests for a keyframe: the peer's
// encoder needs some to answer one.
const refreshPause = 500 * time.Millisecond

func newInbox(w *worker) *inbox {
	b := &inbox{w: w, codec: peerCodec(w.start.Source.URL), wake: make(chan struct{}, 1), tooFull: inboxUnits}
	if w.start.Session == nil || w.start.Session.Realtime {
		b.tooFull = inboxLive
	}
	return b
}

// put takes the next picture. It never waits.
func (b *inbox) put(u link.AccessUnit) {
	if codecName(u.Codec) != b.codec {
		return // it belongs to no track that was announced
	}
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return
	}
	full := len(b.units) >= b.tooFull || b.bytes+len(u.Data) > inboxBytes
	lost := full || b.broken && !u.Keyframe
	b.broken = lost
	if !lost {
		b.units = append(b.units, u)
		b.bytes += len(u.Data)
	}
	b.mu.Unlock()
	if lost {
		b.w.ledger.missed()
		b.refresh()
		return
	}
	b.ring()
}

// command carries out what concerns the peer's track; false: it is another's.
func (b *inbox) command(msg link.Message) bool {
	if u, ok := msg.Value.(link.AccessUnit); ok {
		b.put(u)
		return true
	}
	if msg.Kind == link.KindEnd {
		b.end()
		return true
	}
	return false
}

// end says that no more pictures come.
func (b *inbox) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// refresh asks the peer for a keyframe, unless it just was.
func (b *inbox) refresh() {
	b.mu.Lock()
	now := time.Now()
	due := now.Sub(b.asked) >= refreshPause
	if due {
		b.asked = now
	}
	b.mu.Unlock()
	if due {
		// A failed send means a closed link; the link's reader ends the worker.
		_ = b.w.conn.Send(link.KindRefresh, nil)
	}
}

// pour hands the pictures on, in order, until they end or ctx is done.
func (b *inbox) pour(ctx context.Context, units chan<- engine.Encoded) {
	for {
		b.mu.Lock()
		var u link.AccessUnit
		some, over := len(b.units) > 0, b.ended
		if some {
			u = b.units[0]
			b.units[0] = link.AccessUnit{}
			b.units = b.units[1:]
			b.bytes -= len(u.Data)
		}
		b.mu.Unlock()
		var out chan<- engine.Encoded
		var wake <-chan struct{}
		switch {
		case some:
			out = units
		case over:
			return
		default:
			wake = b.wake
		}
		select {
		case out <- engine.Encoded{Codec: b.codec, PTS: u.PTS, Captured: u.Captured, Keyframe: u.Keyframe, Data: u.Data}:
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// read plays what comes as KindMedia, in the place of engine.Read.
func (b *inbox) read(ctx context.Context, src plan.Source, h engine.Handlers) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	units := make(chan engine.Encoded)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(units)
		b.pour(ctx, units)
	}()
	src.Live = false // the inbox drops what does not fit
	src.Title = "the peer's video"
	err := engine.ReadUnits(ctx, src, units, h, b.refresh)
	cancel()
	<-done
	return err
}
