package rtcworker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/upload"
)

// chunk is a message of the plain protocol.
func chunk(index, total uint32, payload int) []byte {
	p := binary.LittleEndian.AppendUint32(nil, index)
	p = binary.LittleEndian.AppendUint32(p, total)
	return append(p, make([]byte, payload)...)
}

// What is wrong with an upload is told on the inference channel, and ends the session;
// the box goes on.
func TestHostileUpload(t *testing.T) {
	b := start(t, setting{upload: upload.Config{MaxSize: 1 << 20}})
	for name, c := range map[string]struct {
		messages [][]byte
		want     string
	}{
		"short":         {[][]byte{{1, 2, 3, 4, 5}}, "no payload"},
		"no payload":    {[][]byte{chunk(0, 3, 0)}, "no payload"},
		"total changes": {[][]byte{chunk(0, 3, 10), chunk(1, 4, 10)}, "there were 3 chunks before"},
		"index beyond":  {[][]byte{chunk(3, 3, 10)}, "beyond the last"},
		"no chunks":     {[][]byte{chunk(0, 0, 10)}, "beyond the last"},
		"length":        {[][]byte{chunk(0, 3, 10), chunk(1, 3, 11)}, "the others have 10"},
		"too large":     {[][]byte{chunk(0, 1<<31, 40000), chunk(1<<31-1, 1<<31, 40000)}, ""},
		"far out":       {[][]byte{chunk(0, 1<<31, 40000), chunk(1<<30, 1<<31, 40000)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := b.dial(asks(), client.WorkerOptions{Upload: true})
			ch, err := w.UploadChannel(within(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range c.messages {
				if _, err := ch.WriteDataChannel(m, false); err != nil {
					t.Fatal(err)
				}
			}
			last, err := w.Finish(within(t), false, nil)
			if err != nil || last.Reason != "upload_failed" || len(last.Errors) != 1 || !strings.Contains(last.Errors[0], c.want) {
				t.Fatalf("%+v, %v", last, err)
			}
			_ = w.Close()
			b.empty()
			b.keeps(0)
		})
	}
	w := b.dial(asks(), client.WorkerOptions{Upload: true})
	if err := w.Upload(within(t), film("frames=3", 100_000)); err != nil {
		t.Fatal(err)
	}
	if frames, last := finish(t, w, true); len(frames) != 3 || last.Reason != "" {
		t.Errorf("behind all that: %d frames, %+v", len(frames), last)
	}
}

// Chunks come in any order, and more than once; the channel may be closed with the last.
func TestUploadInAnyOrder(t *testing.T) {
	b := start(t, setting{})
	rng := rand.New(rand.NewPCG(1, 2))
	f := film("frames=7", 500_000)
	f.Chunk = 10_000
	f.Order = append(rng.Perm(50), rng.Perm(50)[:20]...)
	w := b.dial(asks(), client.WorkerOptions{Upload: true})
	if err := w.Upload(within(t), f); err != nil {
		t.Fatal(err)
	}
	ch, err := w.UploadChannel(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	if frames, last := finish(t, w, true); len(frames) != 7 || last.Reason != "" {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
}

// A channel that is closed too early is the end of a plain upload.
func TestUploadClosedEarly(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(), client.WorkerOptions{Upload: true})
	ch, err := w.UploadChannel(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.WriteDataChannel(chunk(0, 3, 100), false); err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	if _, last := finishFrom(t, w); last.Reason != "upload_failed" {
		t.Errorf("%+v", last)
	}
}

// An announced upload is kept when its session is lost, and gone on with in another.
func TestResume(t *testing.T) {
	b := start(t, setting{})
	data := bytes.Repeat([]byte{0}, 400_000)
	copy(data, "frames=9")
	send := func(id string, stop bool) (string, *client.Worker) {
		w := b.dial(asks(), client.WorkerOptions{Upload: true})
		ch, err := w.UploadChannel(within(t))
		if err != nil {
			t.Fatal(err)
		}
		f := client.File{ReaderAt: bytes.NewReader(data), Name: "x.mp4", Size: int64(len(data)), Chunk: 10_000, ID: id}
		f.Known = func(as string, have [][2]int64) {
			id = as
			if stop && len(have) > 0 {
				_ = w.Close()
			}
		}
		if _, err := ch.Upload(within(t), f); (err != nil) != stop {
			t.Fatal(err)
		}
		return id, w
	}
	id, _ := send("", true)
	b.empty()
	b.keeps(1)
	again, w := send(id, false)
	if again != id {
		t.Errorf("gone on with as %s, not %s", again, id)
	}
	if !b.InUse(id) {
		t.Error("the file is not in use")
	}
	if frames, last := finish(t, w, true); len(frames) != 9 || last.Reason != "" {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
	_ = w.Close()
	b.empty()
	b.keeps(1)
}

// There is one upload channel at a time.
func TestSecondUploadChannel(t *testing.T) {
	b := start(t, setting{})
	w := b.dial(asks(), client.WorkerOptions{Upload: true, Label: "video_upload", NoInference: false})
	// Both channels have the label of uploads: one of them is told so.
	ch, err := w.UploadChannel(within(t))
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.Inference(within(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = other
	buf := make([]byte, 1<<16)
	answered := make(chan string, 2)
	go func() {
		n, _, err := ch.ReadDataChannel(buf)
		if err == nil {
			answered <- string(buf[:n])
		}
	}()
	go func() {
		if _, err := w.Next(within(t)); err != nil && errors.Is(err, client.ErrProtocol) {
			answered <- err.Error()
		}
	}()
	select {
	case s := <-answered:
		if !strings.Contains(s, "has an upload channel already") {
			t.Errorf("%q", s)
		}
	case <-time.After(patience):
		t.Error("nobody is told")
	}
	_ = w.Close()
}
