package rtcworker

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// A stream that the box pulls, to documents: all of them, in order, and the last one
// says that it was all.
func TestStreamToData(t *testing.T) {
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=200&size=3000")), client.WorkerOptions{})
	frames, last := finish(t, w, true)
	if len(frames) != 200 || last.Reason != "" || len(last.Errors) > 0 {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	b.empty()
	if r := b.ended(); r != "complete" {
		t.Errorf("ended for %s", r)
	}
}

// A file over video_upload: the plain protocol, then analysis.
func TestFileToData(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(func(r *client.Request) { r.VideoFileUpload = true }), client.WorkerOptions{})
	if err := w.Upload(within(t), film("frames=30&size=200000", 300_000)); err != nil {
		t.Fatal(err)
	}
	frames, last := finish(t, w, false)
	if len(frames) != 30 || last.Reason != "" {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	b.empty()
	b.keeps(0)
}

// From the first acknowledgement on the box is exactly so many frames ahead.
func TestWindow(t *testing.T) {
	t.Parallel()
	const window = 5
	b := start(t, setting{config: Config{Window: window}})
	w := b.dial(asks(), client.WorkerOptions{Send: client.VP8})
	ctx := within(t)
	if err := w.Ack(ctx, 0); err != nil {
		t.Fatal(err)
	}
	b.until(func(l *life) bool { return l.credit.acking })
	for i := range 40 {
		u := client.Unit{Codec: client.VP8, Keyframe: i == 0, Timestamp: uint32(i * 3000), Data: fakePicture(link.VP8, i == 0, 500)}
		if err := w.Send(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	next := uint32(1)
	for _, acked := range []uint32{0, 1, 5, 5, 3, 9, 14} {
		if err := w.Ack(ctx, acked); err != nil {
			t.Fatal(err)
		}
		for through := max(next-1, acked+window); next <= through; next++ {
			if d, err := w.Next(ctx); err != nil || d.Frame != next {
				t.Fatalf("acknowledged %d: %+v, %v, want frame %d", acked, d, err, next)
			}
		}
		soon, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
		if d, err := w.Next(soon); err == nil {
			t.Fatalf("acknowledged %d, and frame %d came", acked, d.Frame)
		}
		cancel()
	}
	// Numbers that cannot be change nothing.
	for _, text := range []string{`{"ack":-1}`, `{"ack":"9"}`, `{"ack":1.5}`, `{"ack":null}`, `{"ack":[30]}`} {
		if err := w.Text(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	soon, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
	defer cancel()
	if d, err := w.Next(soon); err == nil {
		t.Errorf("frame %d came", d.Frame)
	}
	// Who acknowledges everything there will ever be is held up by nothing.
	if err := w.Text(ctx, `{"ack":99999999999999999999}`); err != nil {
		t.Fatal(err)
	}
	for range 3 * window {
		if d, err := w.Next(ctx); err != nil || d.Frame != next {
			t.Fatalf("%+v, %v, want frame %d", d, err, next)
		}
		next++
	}
}

// A client that reads slowly gets everything, and nothing piles up for it.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=25&size=100000")), client.WorkerOptions{ReceiveBuffer: 64 << 10})
	ctx := within(t)
	most, n := 0, uint32(0)
	last, err := w.Finish(ctx, true, func(d *client.Document) error {
		if n++; d.Frame != n {
			t.Fatalf("frame %d, want %d", d.Frame, n)
		}
		b.each(func(l *life) {
			l.sender.mu.Lock()
			most = max(most, l.sender.queued)
			l.sender.mu.Unlock()
		})
		time.Sleep(10 * time.Millisecond)
		return nil
	})
	if err != nil || n != 25 || last.Reason != "" {
		t.Fatalf("%d frames, %+v, %v", n, last, err)
	}
	if most > maxQueued {
		t.Errorf("%d bytes waited", most)
	}
}

// A realtime session leaves documents out for a client that does not read, and goes on with what
// is new once it does.
func TestSlowReaderRealtime(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=100000&size=100000&pace=5"), func(r *client.Request) { r.Realtime = true }),
		client.WorkerOptions{ReceiveBuffer: 128 << 10, Receive: client.VP8})
	ctx := within(t)
	d, err := w.Next(ctx)
	if err != nil || d.Frame != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	time.Sleep(time.Second)
	var frames []uint32
	for len(frames) < 40 {
		d, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, d.Frame)
	}
	gap := uint32(0)
	for i := 1; i < len(frames); i++ {
		if frames[i] <= frames[i-1] {
			t.Fatalf("frame %d behind %d", frames[i], frames[i-1])
		}
		gap = max(gap, frames[i]-frames[i-1])
	}
	if gap < 20 {
		t.Errorf("no documents were left out: %v", frames)
	}
	if s := w.Stats(); s.Video.Units < uint64(frames[0]) {
		t.Errorf("the video stood still: %+v", s.Video)
	}
	i := b.List()[0]
	if i.Frames < i.Documents || i.Video != "vp8" {
		t.Errorf("%+v", i)
	}
}

// A session without a sign of life ends, and says so: a client whose acks stop, a source
// that never answers, a peer that is connected and sends nothing.
func TestSilence(t *testing.T) {
	for name, r := range map[string]client.Request{
		"acks stop":            asks(plays("frames=1000")),
		"source never answers": asks(plays("hang=1")),
		"nothing is sent":      asks(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, setting{config: Config{Silence: 1500 * time.Millisecond}})
			w := b.dial(r, client.WorkerOptions{})
			if w.Took > time.Second {
				t.Errorf("the answer took %v", w.Took)
			}
			if name == "acks stop" {
				if err := w.Ack(within(t), 0); err != nil {
					t.Fatal(err)
				}
			}
			last, err := w.Finish(within(t), false, nil)
			if err != nil || last.Reason != "silent" || len(last.Errors) != 1 {
				t.Fatalf("%+v, %v", last, err)
			}
			_ = w.Close()
			b.empty()
		})
	}
}

// Pings on the upload channel keep a session alive, and come back as they went.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	b := start(t, setting{config: Config{Silence: time.Second}})
	w := b.dial(asks(), client.WorkerOptions{Upload: true})
	for range 15 {
		if _, err := w.KeepAlive(within(t), 7); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(b.List()) != 1 {
		t.Error("it ended in spite of its pings")
	}
}

// The time that the client sets ends the session, with the number of the next frame.
func TestTimeout(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=100000&pace=5"), func(r *client.Request) { r.ProcessingTimeout = 0.7 }), client.WorkerOptions{})
	began := time.Now()
	frames, last := finish(t, w, true)
	if took := time.Since(began); last.Reason != "timeout_reached" || took < 600*time.Millisecond || len(frames) == 0 {
		t.Errorf("%v: %+v behind %d frames", took, last, len(frames))
	}
	b.empty()
}

// What goes wrong with the source or the worker is told to the peer.
func TestFailures(t *testing.T) {
	for script, reason := range map[string]string{
		"fault=not_found":              "source_failed",
		"fault=refused":                "source_failed",
		"fault=no_video":               "source_failed",
		"fault=unreachable&after=5":    "source_failed",
		"fault=model":                  "worker_failed",
		"fault=internal&after=3":       "worker_failed",
		"crash=4":                      "worker_failed",
		"frames=50&lost=20&size=10000": "",
	} {
		t.Run(script, func(t *testing.T) {
			b := start(t, setting{})
			w := b.dial(asks(plays("%s", script)), client.WorkerOptions{})
			var notices []string
			last, err := w.Finish(within(t), true, func(d *client.Document) error {
				if d.Frame == 0 {
					notices = append(notices, d.Errors...)
				}
				return nil
			})
			if err != nil || last.Reason != reason || (reason != "") != (len(last.Errors) == 1) {
				t.Fatalf("%+v, %v", last, err)
			}
			if strings.Contains(script, "lost") && (len(notices) != 1 || !strings.Contains(notices[0], "does not answer")) {
				t.Errorf("notices %q", notices)
			}
			if strings.Contains(script, "crash") && !strings.Contains(last.Errors[0], "told to crash") {
				t.Errorf("%q", last.Errors)
			}
			_ = w.Close()
			b.empty()
		})
	}
}

// The operator's end and the box's are told to the peer; the box's takes 5 s at most.
func TestEndedFromHere(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=100000&pace=5")), client.WorkerOptions{})
	if _, err := w.Next(within(t)); err != nil {
		t.Fatal(err)
	}
	if b.End("nobody") || !b.End(b.List()[0].ID) {
		t.Error("End")
	}
	if _, last := finishFrom(t, w); last.Reason != "ended_by_operator" {
		t.Errorf("%+v", last)
	}
	b.empty()
	var all []*client.Worker
	for range 4 {
		all = append(all, b.dial(asks(plays("frames=100000&pace=20&size=20000")), client.WorkerOptions{ReceiveBuffer: 128 << 10}))
	}
	for _, w := range all {
		if _, err := w.Next(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	reasons := make(chan string, len(all))
	for _, w := range all[1:] { // the first does not read
		go func() {
			last, err := w.Finish(within(t), true, nil)
			if err != nil {
				reasons <- err.Error()
				return
			}
			reasons <- last.Reason
		}()
	}
	b.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	for range all[1:] {
		if r := <-reasons; r != "box_stopping" {
			t.Errorf("ended for %q", r)
		}
	}
	if r := b.refused(asks(), client.WorkerOptions{}); r.Status != http.StatusServiceUnavailable || r.RetryAfter == "" {
		t.Errorf("%+v", r)
	}
}
