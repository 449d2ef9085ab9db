package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chunks cuts a document as the protocol has it.
func chunks(frame uint32, document []byte, payload int) (out [][]byte) {
	total := (len(document) + payload - 1) / payload
	for i := range total {
		b := binary.LittleEndian.AppendUint32(nil, frame)
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		b = binary.LittleEndian.AppendUint32(b, uint32(total))
		out = append(out, append(b, document[i*payload:min(len(document), (i+1)*payload)]...))
	}
	return out
}

func squeezed(document []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(document)
	_ = z.Close()
	return b.Bytes()
}

func initialise(t *testing.T, f *far, r client.Request, o client.WorkerOptions) *client.Worker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := client.Initialise(ctx, f.url, r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// A file goes up out of order with keep-alives between, documents come down in
// pieces out of order, compressed and not, acks go up, and the last message ends it.
func TestFileToDocuments(t *testing.T) {
	film := make([]byte, 10<<10+77)
	for i := range film {
		film[i] = byte(i * i)
	}
	jpeg := bytes.Repeat([]byte{0xff, 0xd8, 7}, 40<<10)
	first := fmt.Appendf(nil, `{"serialized_output_data":{"predictions":{"image":{"width":640,"height":360},"predictions":[{"x":10,"y":20.5,"width":4,"height":6,"confidence":0.5,"class":"person","class_id":0,"detection_id":"d","tracker_id":7}]},"frame":{"type":"base64","value":%q}},
"video_metadata":{"frame_id":1,"received_at":"2026-01-02T03:04:05.000006+00:00","pts":3000,"time_base":1.1111111111111112e-05,"declared_fps":30,"measured_fps":null,"width":640,"height":360},"errors":["one"],"processing_complete":false,"termination_reason":null}`,
		base64.StdEncoding.EncodeToString(jpeg))
	last := []byte(`{"serialized_output_data":null,"video_metadata":null,"errors":[],"processing_complete":true,"termination_reason":"timeout_reached"}`)
	second := bytes.Replace(first, []byte(`"errors":["one"]`), []byte(`"errors":[]`), 1)

	f := newFar(t)
	got := make(chan []byte, 1)
	texts := make(chan string, 16)
	f.serve = func(label string, ch datachannel.ReadWriteCloser) {
		buf := make([]byte, 64<<10)
		switch label {
		case "video_upload":
			var whole []byte
			seen := map[uint32]bool{}
			for {
				n, _, err := ch.ReadDataChannel(buf)
				if err != nil {
					return
				}
				if n <= 1 {
					_, _ = ch.WriteDataChannel(buf[:n], false)
					continue
				}
				i, total := binary.LittleEndian.Uint32(buf), binary.LittleEndian.Uint32(buf[4:])
				if whole == nil {
					whole = make([]byte, len(film))
				}
				copy(whole[i*1000:], buf[8:n])
				if seen[i] = true; len(seen) == int(total) {
					got <- whole
				}
			}
		case "inference":
			a, b := chunks(1, first, 48<<10), chunks(2, squeezed(second), 100)
			slices.Reverse(a)
			messages := append(append(append([][]byte{}, a[:1]...), b...), a[1:]...)
			messages = append(messages, chunks(0, []byte(`{"serialized_output_data":null,"video_metadata":null,"errors":["a notice"],"processing_complete":false,"termination_reason":null}`), 48<<10)...)
			messages = append(messages, chunks(3, last, 48<<10)...)
			for _, m := range messages {
				_, _ = ch.WriteDataChannel(m, false)
			}
			for {
				n, text, err := ch.ReadDataChannel(buf)
				if err != nil {
					return
				}
				if !text {
					t.Errorf("% x is no text", buf[:n])
				}
				texts <- string(buf[:n])
			}
		}
	}
	w := initialise(t, f, client.Request{
		Workflow: client.Detection("motion"), DataOutput: client.Names("*"), StreamOutput: client.Names(),
		VideoFileUpload: true, More: map[string]any{"rtsp_url": nil},
	}, client.WorkerOptions{})
	for field, want := range map[string]string{"data_output": `["*"]`, "stream_output": `[]`, "rtsp_url": `null`, "webrtc_realtime_processing": `false`} {
		if string(f.request[field]) != want {
			t.Errorf("%s is %s, want %s", field, f.request[field], want)
		}
	}
	if _, ok := f.request["mjpeg_url"]; ok {
		t.Error("a field that was not set was sent")
	}
	var wf struct {
		Type string
		Spec struct{ Steps []struct{ Type string } } `json:"workflow_specification"`
	}
	if err := json.Unmarshal(f.request["workflow_configuration"], &wf); err != nil || wf.Type != "WorkflowConfiguration" || len(wf.Spec.Steps) != 4 {
		t.Errorf("%s: %v", f.request["workflow_configuration"], err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	order := []int{10, 3, 3, 0, 1, 2, 4, 5, 6, 9, 8, 7}
	paused := false
	err := w.Upload(ctx, client.Film{ReaderAt: bytes.NewReader(film), Size: int64(len(film)), Chunk: 1000, Order: order, Before: func(sent int) error {
		if sent == 5 {
			paused = true
			_, err := w.KeepAlive(ctx, 'k')
			return err
		}
		return nil
	}})
	if err != nil || !paused {
		t.Fatal(err, paused)
	}
	if whole := <-got; !bytes.Equal(whole, film) {
		t.Error("the film came otherwise than it was sent")
	}

	var frames []uint32
	end, err := w.Finish(ctx, true, func(d *client.Document) error {
		frames = append(frames, d.Frame)
		if d.Frame == 0 {
			if d.Outputs != nil || d.Metadata != nil || !slices.Equal(d.Errors, []string{"a notice"}) {
				t.Errorf("the notice: %+v", d)
			}
			return nil
		}
		if d.Gzip != (d.Frame == 2) {
			t.Errorf("document %d: gzip %v", d.Frame, d.Gzip)
		}
		p, err := d.Predictions("predictions")
		if err != nil || p.Image.Width != 640 || len(p.Predictions) != 1 || p.Predictions[0].Y != 20.5 || *p.Predictions[0].TrackerID != 7 {
			t.Errorf("%+v, %v", p, err)
		}
		if j, err := d.JPEG("frame"); err != nil || !bytes.Equal(j, jpeg) {
			t.Errorf("%d bytes of JPEG, %v", len(j), err)
		}
		if m := d.Metadata; m == nil || m.FrameID != 1 || m.PTS != 3000 || m.TimeBase*90000 != 1 || m.DeclaredFPS != 30 || m.Height != 360 {
			t.Errorf("%+v", m)
		}
		return nil
	})
	if err != nil || end.Frame != 3 || end.Reason != "timeout_reached" || end.Outputs != nil {
		t.Fatalf("%+v, %v", end, err)
	}
	if !slices.Equal(frames, []uint32{2, 1, 0}) { // the first one's first pieces came last
		t.Errorf("documents %v", frames)
	}
	if err := w.SetData(ctx, []string{"frame"}); err != nil {
		t.Error(err)
	}
	if err := w.SetStream(ctx, nil); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`{"ack":2}`, `{"ack":1}`, `{"data_output":["frame"]}`, `{"stream_output":null}`} {
		if s := <-texts; s != want {
			t.Errorf("the far side was told %s, want %s", s, want)
		}
	}
	if s := w.Stats(); s.Documents != 4 || s.FirstDocument.IsZero() || s.LastDocument.Before(s.FirstDocument) || s.Connected.IsZero() {
		t.Errorf("%+v", s)
	}
}

// Pictures go out and come back as they were, in both codecs' packets and both
// shapes of the offer.
func TestVideoBothWays(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprintf("apart %v", apart), func(t *testing.T) {
			f := newFar(t)
			f.serve = func(string, datachannel.ReadWriteCloser) {}
			f.packet = func(p *rtp.Packet, back *webrtc.TrackLocalStaticRTP) { _ = back.WriteRTP(p) }
			var mu sync.Mutex
			var came []client.Unit
			w := initialise(t, f, client.Request{Workflow: client.Detection("motion")}, client.WorkerOptions{
				Send: client.VP8, Receive: client.VP8, Apart: apart,
				OnUnit: func(u client.Unit) { mu.Lock(); came = append(came, u); mu.Unlock() },
			})
			units := make([]client.Unit, 10)
			for i := range units {
				data := bytes.Repeat([]byte{byte(i)<<1 | 1}, 3000*i+1)
				if i%5 == 0 {
					data[0] &^= 1
				}
				units[i] = client.Unit{Timestamp: uint32(i * 900), Data: data}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := w.Play(ctx, units); err != nil {
				t.Fatal(err)
			}
			s, err := w.Wait(ctx, func(s client.Stats) bool { return s.Video.Units == 10 })
			if err != nil {
				t.Fatalf("%v: %+v", err, s.Video)
			}
			if s.Video.Keyframes != 2 || s.Video.Lost != 0 || s.Video.Codec != client.VP8 || s.Video.Last-s.Video.First != 9*900 || s.Sent.Units != 10 || s.Sent.Packets != s.Video.Packets {
				t.Errorf("%+v", s)
			}
			for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
				mu.Lock()
				n := len(came)
				mu.Unlock()
				if n == len(units) || time.Now().After(end) {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for i, u := range came {
				if !bytes.Equal(u.Data, units[i].Data) {
					t.Errorf("picture %d of %d bytes comes back with %d", i, len(units[i].Data), len(u.Data))
				}
			}
		})
	}
}

// Who leaves politely is known to have left at once; who breaks off is missed only
// after ICE's time.
func TestCloseAndBreak(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*client.Worker) error
		want webrtc.PeerConnectionState
	}{
		{"close", (*client.Worker).Close, webrtc.PeerConnectionStateClosed},
		{"break", (*client.Worker).Break, webrtc.PeerConnectionStateFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t)
			f.serve = func(string, datachannel.ReadWriteCloser) {}
			w := initialise(t, f, client.Request{}, client.WorkerOptions{})
			f.until(10*time.Second, webrtc.PeerConnectionStateConnected)
			if _, err := w.Inference(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.end(w); err != nil {
				t.Fatal(err)
			}
			if s := f.until(20*time.Second, webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateFailed); s != c.want {
				t.Errorf("the far side is %s, want %s", s, c.want)
			}
			select {
			case <-w.Lost():
			case <-time.After(5 * time.Second):
				t.Error("this side does not say that it has ended")
			}
			if _, err := w.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("Next: %v", err)
			}
			if err := w.Connected(t.Context()); err != nil {
				t.Errorf("it was connected: %v", err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	f := newFar(t)
	f.refuse = func(w http.ResponseWriter) bool {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":"error","message":"This box serves 8 sessions at a time.","field":"f","expected":"e","available":["a","b"]}`)
		return true
	}
	_, err := client.Initialise(t.Context(), f.url, client.Request{}, client.WorkerOptions{Receive: client.Any})
	var r *client.Refused
	if !errors.As(err, &r) || r.Status != 503 || r.RetryAfter != "7" || r.Message != "This box serves 8 sessions at a time." || r.Field != "f" || !slices.Equal(r.Available, []string{"a", "b"}) {
		t.Errorf("%v: %+v", err, r)
	}
}

// Messages that the protocol does not have end the reading with a word about it.
func TestNotADocument(t *testing.T) {
	good := chunks(1, []byte(`{"errors":[]}`), 5)
	for name, messages := range map[string][][]byte{
		"short":             {{1, 2, 3}},
		"no chunks":         {append(make([]byte, 12), 'x')},
		"index beyond":      {append(binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0, 3, 0, 0, 0}, 3), 'x')},
		"total changes":     {good[0], append(binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0, 1, 0, 0, 0}, 9), 'x')},
		"twice":             {good[0], good[0]},
		"no JSON":           chunks(1, []byte(`{"errors":`), 99),
		"broken compressed": chunks(1, []byte{0x1f, 0x8b, 1, 2}, 99),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			f.serve = func(_ string, ch datachannel.ReadWriteCloser) {
				for _, m := range messages {
					_, _ = ch.WriteDataChannel(m, false)
				}
			}
			w := initialise(t, f, client.Request{}, client.WorkerOptions{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if d, err := w.Next(ctx); !errors.Is(err, client.ErrProtocol) {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}
