package rtcworker

import (
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// held takes one message when it is let.
type held struct {
	let chan struct{}
	ids []uint32
}

func (h *held) write(ctx context.Context, p []byte) error {
	select {
	case <-h.let:
	case <-ctx.Done():
		return ctx.Err()
	}
	h.ids = append(h.ids, binary.LittleEndian.Uint32(p))
	return nil
}

func (h *held) drained(context.Context) error { return nil }

// The last word has the id behind the last frame that the peer heard of: the documents
// that still waited go nowhere when a session is cut short.
func TestLastWordFollowsWhatWasSent(t *testing.T) {
	for _, c := range []struct {
		cut  bool
		want []uint32
	}{{true, []uint32{1, 2}}, {false, []uint32{1, 2, 3, 4}}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSender(false, 20, func() {}, func(sink) {})
			h := &held{let: make(chan struct{})}
			s.use(h, false)
			for id := range uint64(3) {
				s.put(t.Context(), link.Result{Frame: id + 1, Data: []byte("{}")})
			}
			go s.run(t.Context())
			synctest.Wait() // the first is being written
			s.finish([]byte("{}"), 4, c.cut, false)
			close(h.let)
			<-s.delivered
			if len(h.ids) != len(c.want) || h.ids[len(h.ids)-1] != c.want[len(c.want)-1] {
				t.Errorf("cut %v: ids %v, want %v", c.cut, h.ids, c.want)
			}
		})
	}
}
