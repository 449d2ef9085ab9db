package rtcworker

import (
	"context"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"
)

// Bounds of what waits in SCTP for a slow reader, bytes. A realtime session keeps it
// short, for what waits there is late.
const (
	highWater         = 1 << 20
	highWaterRealtime = 192 << 10
)

// outlet is an inference channel as documents are written to it. One goroutine writes.
type outlet struct {
	dc   *webrtc.DataChannel
	raw  datachannel.ReadWriteCloser
	high uint64
	low  chan struct{} // capacity 1: the buffer fell to half of high
}

func newOutlet(dc *webrtc.DataChannel, raw datachannel.ReadWriteCloser, realtime bool) *outlet {
	o := &outlet{dc: dc, raw: raw, high: highWater, low: make(chan struct{}, 1)}
	if realtime {
		o.high = highWaterRealtime
	}
	dc.SetBufferedAmountLowThreshold(o.high / 2)
	dc.OnBufferedAmountLow(func() {
		select {
		case o.low <- struct{}{}:
		default:
		}
	})
	return o
}

// write sends a message as soon as not too much is waiting for the peer.
func (o *outlet) write(ctx context.Context, p []byte) error {
	if err := o.room(ctx, o.high); err != nil {
		return err
	}
	_, err := o.raw.WriteDataChannel(p, false)
	return err
}

// drained waits until the peer has taken all that was written.
func (o *outlet) drained(ctx context.Context) error {
	o.dc.SetBufferedAmountLowThreshold(0)
	return o.room(ctx, 0)
}

// room waits until at most limit bytes wait for the peer.
func (o *outlet) room(ctx context.Context, limit uint64) error {
	for o.dc.BufferedAmount() > limit {
		select {
		case <-o.low:
		case <-time.After(50 * time.Millisecond): // the event came before we looked
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return ctx.Err()
}
