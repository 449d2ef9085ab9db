package rtcworker

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session"
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

// A peer that opens channels without end, and does not close those that the box closes, is
// served so many, and costs no more.
func TestManyChannels(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=100000&pace=5")), client.WorkerOptions{})
	ctx := within(t)
	if _, err := w.Next(ctx); err != nil { // documents go to the first channel that is open
		t.Fatal(err)
	}
	for i := range 4 * maxChannels {
		if _, err := w.Open(ctx, "channel "+strconv.Itoa(i)); err != nil { // nobody reads it
			t.Fatal(err)
		}
	}
	served := func() (n int) {
		for _, f := range b.d.Queues.Figures() {
			if f.Name == session.OutBytes {
				n += f.Instances
			}
		}
		return n
	}
	for end := time.Now().Add(patience); served() < maxChannels && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	for range 50 { // by then the box knows of all of them
		d, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Ack(ctx, d.Frame); err != nil {
			t.Fatal(err)
		}
	}
	if n := served(); n != maxChannels {
		t.Errorf("%d channels are served, want %d", n, maxChannels)
	}
}
