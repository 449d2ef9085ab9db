package rtcworker

import (
	"context"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"
)

// highWater is how much waits in SCTP for a slow reader before more is written, bytes:
// what goes out in 50 ms at 40 Mbit/s. It is short because the last word waits behind it, and because
// what waits there in realtime is late.
const highWater = 256 << 10

// outlet is an inference channel as documents are written to it. One goroutine writes.
type outlet struct {
	dc  *webrtc.DataChannel
	raw datachannel.ReadWriteCloser
	low chan struct{} // capacity 1: the buffer fell to half of highWater
}

func newOutlet(dc *webrtc.DataChannel, raw datachannel.ReadWriteCloser) *outlet {
	o := &outlet{dc: dc, raw: raw, low: make(chan struct{}, 1)}
	dc.SetBufferedAmountLowThreshold(highWater / 2)
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
	if err := o.room(ctx, highWater); err != nil {
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
