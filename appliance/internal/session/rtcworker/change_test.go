package rtcworker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// Outputs change while frames come; what cannot be is told, and changes nothing.
func TestChanges(t *testing.T) {
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=100000&pace=2"), func(r *client.Request) { r.DataOutput = nil }), client.WorkerOptions{Receive: client.H264})
	ctx := within(t)
	until := func(what string, ok func(d *client.Document) bool) {
		t.Helper()
		for {
			d, err := w.Next(ctx)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if ok(d) {
				return
			}
			if d.Frame > 0 {
				if err := w.Ack(ctx, d.Frame); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	streams := func(name string) func(d *client.Document) bool {
		return func(d *client.Document) bool {
			return strings.Contains(string(d.Raw), fmt.Sprintf(`"stream":%q`, name))
		}
	}
	until("metadata only", func(d *client.Document) bool { return d.Frame == 1 && d.Outputs != nil && len(d.Outputs) == 0 })
	until("the first picture", streams("picture"))
	if err := w.SetData(ctx, []string{"predictions", "frame"}); err != nil {
		t.Fatal(err)
	}
	until("two outputs", func(d *client.Document) bool { return len(d.Outputs) == 2 })
	if err := w.SetStream(ctx, []string{"frame"}); err != nil {
		t.Fatal(err)
	}
	until("another stream", streams("frame"))
	for text, want := range map[string]string{
		`{"stream_output":["nothing"]}`:         "no output",
		`{"data_output":["nothing"]}`:           "no output",
		`{"stream_output":["predictions"]}`:     "no picture",
		`{"stream_output":"frame"}`:             "a list of output names",
		`{"data_output":{"a":1}}`:               "a list of output names",
		`{"stream_output":["frame","picture"]}`: "2 outputs",
	} {
		if err := w.Text(ctx, text); err != nil {
			t.Fatal(err)
		}
		until(text, func(d *client.Document) bool {
			if d.Frame == 0 && (len(d.Errors) != 1 || !strings.Contains(d.Errors[0], want)) {
				t.Errorf("%s: %q", text, d.Errors)
			}
			return d.Frame == 0
		})
	}
	until("no change", func(d *client.Document) bool { return len(d.Outputs) == 2 && streams("frame")(d) })
	if err := w.SetStream(ctx, []string{}); err != nil {
		t.Fatal(err)
	}
	until("no stream", streams(""))
	if err := w.SetStream(ctx, nil); err != nil {
		t.Fatal(err)
	}
	until("the first picture again", streams("picture"))
	if err := w.SetData(ctx, nil); err != nil {
		t.Fatal(err)
	}
	until("metadata only again", func(d *client.Document) bool { return d.Outputs != nil && len(d.Outputs) == 0 })
}

// Without a video track a stream cannot be added.
func TestNoTrackToChange(t *testing.T) {
	b := start(t, setting{})
	for _, r := range []client.Request{
		asks(plays("frames=100000&pace=5")),
		asks(plays("frames=100000&pace=5"), func(r *client.Request) { r.StreamOutput = client.Names() }),
	} {
		o := client.WorkerOptions{}
		if r.StreamOutput != nil {
			o.Receive = client.VP8
		}
		w := b.dial(r, o)
		if o.Receive != "" && (!strings.Contains(w.Answer, "a=inactive") || strings.Contains(w.Answer, "a=sendonly")) {
			t.Errorf("no video is sent, and the answer is\n%s", w.Answer)
		}
		if err := w.SetStream(within(t), []string{"frame"}); err != nil {
			t.Fatal(err)
		}
		for {
			d, err := w.Next(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if d.Frame == 0 {
				if !strings.Contains(d.Errors[0], "no video track") {
					t.Errorf("%q", d.Errors)
				}
				break
			}
		}
	}
}

// What is no message of the protocol is ignored, and logged once a second at most.
func TestGarbage(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=50&pace=20")), client.WorkerOptions{})
	ctx := within(t)
	ch, err := w.Inference(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		p := []byte(fmt.Sprintf("hello %d", i))
		switch i % 5 {
		case 1:
			p = []byte(`{"unknown":1}`)
		case 2:
			p = []byte(`[1,2,3]`)
		case 3:
			p = bytes.Repeat([]byte("{"), 2000)
		case 4:
			p = []byte{1, 2, 3, 255}
		}
		if _, err := ch.WriteDataChannel(p, i%5 != 4); err != nil {
			t.Fatal(err)
		}
	}
	frames, last := finish(t, w, true)
	if len(frames) != 50 || last.Reason != "" {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
	if n := strings.Count(b.log.String(), "is ignored"); n < 1 || n > 20 {
		t.Errorf("%d lines are logged of it", n)
	}
}
