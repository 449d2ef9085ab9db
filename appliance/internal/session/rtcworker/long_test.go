package rtcworker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// A text that is longer than any that the protocol has is ignored like others that mean
// nothing, and those behind it are read.
func TestLongText(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=50&pace=5")), client.WorkerOptions{})
	ctx := within(t)
	ch, err := w.Inference(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{maxText + 1, 1 << 20} {
		if _, err := ch.WriteDataChannel(bytes.Repeat([]byte(" "), size), true); err != nil {
			t.Fatal(err)
		}
	}
	frames, last := finish(t, w, true)
	if len(frames) != 50 || last.Reason != "" {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
	if n := strings.Count(b.log.String(), "too long"); n < 1 || n > 2 {
		t.Errorf("%d lines are logged of it", n)
	}
}
