package rtcworker

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// A refusal names the field, what was expected, and what there is.
func TestRefusals(t *testing.T) {
	b := start(t, setting{})
	more := func(key string, value any) func(*client.Request) {
		return func(r *client.Request) {
			if r.More == nil {
				r.More = map[string]any{}
			}
			r.More[key] = value
		}
	}
	receives := client.WorkerOptions{Receive: client.VP8}
	for name, c := range map[string]struct {
		ask       client.Request
		o         client.WorkerOptions
		field     string
		available string
	}{
		"no offer":           {asks(more("webrtc_offer", nil)), receives, "webrtc_offer", ""},
		"offer is a string":  {asks(more("webrtc_offer", "v=0")), receives, "webrtc_offer", ""},
		"answer as offer":    {asks(more("webrtc_offer", map[string]string{"type": "answer", "sdp": "v=0"})), receives, "webrtc_offer.type", ""},
		"no SDP":             {asks(more("webrtc_offer", map[string]string{"type": "offer", "sdp": "hello"})), receives, "webrtc_offer.sdp", ""},
		"no workflow":        {asks(more("workflow_configuration", nil)), receives, "workflow_configuration", ""},
		"empty workflow":     {asks(more("workflow_configuration", map[string]any{})), receives, "workflow_configuration", ""},
		"other type":         {asks(more("workflow_configuration", map[string]any{"type": "X"})), receives, "workflow_configuration.type", ""},
		"unknown workflow":   {client.Request{Workflow: client.Workflow{Workspace: "w", ID: "x"}}, receives, "workflow_configuration.workflow_id", ""},
		"workflow alone":     {client.Request{Workflow: client.Workflow{ID: "x"}}, receives, "workflow_configuration.workspace_name", ""},
		"model":              {client.Request{Workflow: client.Detection("yolo")}, receives, "workflow_configuration.workflow_specification.steps[0].model_id", "motion"},
		"stream name":        {asks(func(r *client.Request) { r.StreamOutput = client.Names("nothing") }), receives, "stream_output", "picture"},
		"stream no picture":  {asks(func(r *client.Request) { r.StreamOutput = client.Names("predictions") }), receives, "stream_output", "picture"},
		"stream without":     {asks(func(r *client.Request) { r.StreamOutput = client.Names("picture") }), client.WorkerOptions{Upload: true}, "stream_output", ""},
		"stream type":        {asks(more("stream_output", "picture")), receives, "stream_output", ""},
		"data name":          {asks(func(r *client.Request) { r.DataOutput = client.Names("nothing") }), receives, "data_output", "predictions"},
		"data type":          {asks(more("data_output", []any{1, 2})), receives, "data_output", ""},
		"realtime":           {asks(more("webrtc_realtime_processing", "yes")), receives, "webrtc_realtime_processing", ""},
		"fps":                {asks(more("declared_fps", -1)), receives, "declared_fps", ""},
		"timeout":            {asks(more("processing_timeout", 0)), receives, "processing_timeout", ""},
		"timeout type":       {asks(more("processing_timeout", "10")), receives, "processing_timeout", ""},
		"RTSP":               {asks(func(r *client.Request) { r.RTSPURL = "ftp://x" }), receives, "rtsp_url", ""},
		"MJPEG":              {asks(func(r *client.Request) { r.MJPEGURL = "http://" }), receives, "mjpeg_url", ""},
		"two sources":        {asks(func(r *client.Request) { r.MJPEGURL, r.RTSPURL = "http://x", "rtsp://x" }), receives, "mjpeg_url", ""},
		"ICE servers":        {asks(more("webrtc_config", map[string]any{"iceServers": 5})), receives, "webrtc_config.iceServers", ""},
		"ICE URL":            {asks(more("webrtc_config", map[string]any{"iceServers": []any{map[string]any{"urls": "http://x"}}})), receives, "webrtc_config.iceServers.urls", ""},
		"TURN without":       {asks(more("webrtc_config", map[string]any{"iceServers": []any{map[string]any{"urls": []string{"turn:x"}}}})), receives, "webrtc_config.iceServers", ""},
		"nowhere for frames": {asks(), client.WorkerOptions{Receive: client.VP8, NoInference: true}, "webrtc_offer.sdp", ""},
		"nowhere to go":      {asks(), client.WorkerOptions{Send: client.VP8, NoInference: true}, "webrtc_offer.sdp", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.refused(c.ask, c.o)
			if r.Status < 400 || r.Status > 499 || r.Field != c.field || len(r.Message) < 10 {
				t.Errorf("%d %q: %s (%s)", r.Status, r.Field, r.Message, r.Expected)
			}
			if c.available != "" && !strings.Contains(strings.Join(r.Available, " "), c.available) {
				t.Errorf("available: %q", r.Available)
			}
		})
	}
	b.empty()
}

// What is null, unknown or in an older form is as good as not there.
func TestTolerance(t *testing.T) {
	b := start(t, setting{})
	for name, more := range map[string]map[string]any{
		"nulls": {"webrtc_config": nil, "stream_output": nil, "data_output": nil, "declared_fps": nil, "processing_timeout": nil,
			"webrtc_realtime_processing": nil, "webrtc_turn_config": nil, "mjpeg_url": nil, "api_key": nil, "video_file_upload": nil},
		"lists of null": {"stream_output": []any{nil}, "data_output": []any{nil}},
		"unknown":       {"requested_plan": "gpu", "requested_region": map[string]any{"a": []int{1}}, "serverless": true},
		"empty servers": {"webrtc_config": map[string]any{"iceServers": []any{}}},
		"no servers":    {"webrtc_config": map[string]any{}, "rtsp_url": "rtsp://x/y?frames=1"},
	} {
		t.Run(name, func(t *testing.T) {
			ask := asks(plays("frames=2"))
			ask.More = more
			w := b.dial(ask, client.WorkerOptions{Receive: client.Any})
			if _, last := finish(t, w, true); last.Reason != "" {
				t.Errorf("%+v", last)
			}
			_ = w.Close()
		})
	}
}

// endless is a body that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 10<<20 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

// A body of 10 MB is refused for its length alone, and, where that is not told, after 1 MiB.
func TestLongBody(t *testing.T) {
	b := start(t, setting{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, answer := b.post("application/json", bytes.NewReader(make([]byte, 10<<20)))
	if res.StatusCode != http.StatusRequestEntityTooLarge || answer["status"] != "error" {
		t.Errorf("%s, %v", res.Status, answer)
	}
	body := &endless{}
	if res, answer := b.post("application/json", body); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%s, %v", res.Status, answer)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 24<<20 { // 10 MiB are the client's own
		t.Errorf("%d bytes were allocated", got)
	}
	for contentType, want := range map[string]int{"text/plain": 415, "": 415, "application/json": 400, "application/json; charset=utf-8": 400} {
		if res, answer := b.post(contentType, strings.NewReader("hello")); res.StatusCode != want || answer["message"] == "" {
			t.Errorf("%q: %s, %v", contentType, res.Status, answer)
		}
	}
	r, err := http.NewRequest(http.MethodOptions, b.url+Endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(r); err != nil || res.StatusCode != http.StatusNoContent || res.Header.Get("Allow") == "" {
		t.Errorf("OPTIONS: %+v, %v", res, err)
	}
	if res, err := http.Get(b.url + Endpoint); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %+v, %v", res, err)
	} else {
		res.Body.Close()
	}
}

// Sessions beyond the most are refused with the time after which to come again.
func TestFull(t *testing.T) {
	b := start(t, setting{config: Config{Most: 2}})
	first := b.dial(asks(plays("hang=1")), client.WorkerOptions{})
	b.dial(asks(plays("hang=1")), client.WorkerOptions{})
	if r := b.refused(asks(plays("hang=1")), client.WorkerOptions{}); r.Status != http.StatusServiceUnavailable || r.RetryAfter == "" {
		t.Errorf("%+v", r)
	}
	if err := first.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(patience); len(b.List()) > 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the place is not free again")
		}
	}
	b.dial(asks(plays("hang=1")), client.WorkerOptions{})
}

// Whatever a source does, the answer comes at once.
func TestSetupTime(t *testing.T) {
	b := start(t, setting{config: Config{Most: 40}, prepare: func(*link.Start) error { time.Sleep(300 * time.Millisecond); return nil }})
	var took []time.Duration
	for i := range 20 {
		took = append(took, b.dial(asks(plays("hang=%d", i)), client.WorkerOptions{Receive: client.H264}).Took)
	}
	slices.Sort(took)
	t.Logf("answers took %v, the slowest %v", took[10], took[19])
	if took[10] > time.Second { // a few ms on an idle machine
		t.Errorf("answers took %v", took)
	}
}

// FuzzRequest: whatever the body, there is a request that holds together or a refusal in words.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `null`, `{"webrtc_offer":{"type":"offer","sdp":"v=0"}}`,
		`{"webrtc_offer":{"sdp":"x"},"workflow_configuration":{"workspace_name":"a","workflow_id":"b"},"processing_timeout":1e300,"declared_fps":29.97}`,
		`{"webrtc_offer":{"sdp":"x"},"workflow_configuration":{"workflow_specification":{}},"webrtc_config":{"iceServers":[{"urls":["stun:a","turn:b"],"username":"u","credential":"c"}]},"stream_output":[null,"a"],"data_output":["*"]}`,
		`{"webrtc_offer":{"sdp":"x"},"workflow_configuration":{"workflow_specification":[]},"webrtc_turn_config":{"urls":"turn:x","username":"u","credential":"c"},"rtsp_url":"rtsp://a:b@c/d"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decode(body)
		if err != nil {
			if refused := refusalOf(err); refused.status != http.StatusBadRequest || refused.message == "" || refused.field == "" {
				t.Errorf("%+v", refused)
			}
			return
		}
		if r.sdp == "" || r.timeout < 0 || !(r.declaredFPS >= 0) || len(r.servers) > maxServers || (r.url == "") != (r.source == SourceUnknown) ||
			r.configuration.Named() == (r.configuration.Specification != nil) {
			t.Errorf("%+v", r)
		}
	})
}

// FuzzOffer: whatever the SDP, there is an offer that holds together or a refusal.
func FuzzOffer(f *testing.F) {
	for _, direction := range []string{"sendrecv", "sendonly", "recvonly", "inactive"} {
		f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 102\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n"+
			"a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\na="+direction+"\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"+
			"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n", true, true)
	}
	f.Fuzz(func(t *testing.T, text string, send, take bool) {
		o, err := parseOffer(text, send, take)
		if err != nil {
			if refused := refusalOf(err); refused.status >= 500 || refused.message == "" {
				t.Errorf("%+v", refused)
			}
			return
		}
		if o.out >= 0 && (!send || o.video == "") || o.in >= 0 && !take || len(o.codecs) > 200 {
			t.Errorf("%+v", o)
		}
		if _, err := o.settle(o.sdp); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// FuzzCommand: whatever a client says, it is understood, refused in words or ignored.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{`{"ack":1}`, `{"ack":1e3}`, `{"ack":-0}`, `{"stream_output":[]}`, `{"data_output":["*",null],"ack":7}`, `{"ack":"1"}`, `x`, `{"stream_output":{}}`, `{"ack":1e999}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCommand(text)
		if err == nil && c.ack == nil && c.stream == nil && c.data == nil {
			t.Error("nothing is understood, and nothing wrong")
		}
		k := credit{window: 20, written: 100}
		if c.ack != nil {
			k.ack(*c.ack, 100)
		}
		if n := k.limit(); n > 120 {
			t.Errorf("it may go up to %d", n)
		}
	})
}

// FuzzChunks: a document cut into messages is put together to the same.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("{}"), uint32(1), uint16(1))
	f.Add(bytes.Repeat([]byte("x"), 100), uint32(7), uint16(5000))
	f.Fuzz(func(t *testing.T, piece []byte, frame uint32, times uint16) {
		document := bytes.Repeat(piece, int(times))
		if len(document) > 4<<20 {
			t.Skip("long")
		}
		var whole []byte
		total := chunksOf(len(document))
		for i := range total {
			m := appendChunk(nil, frame, document, i)
			if len(m) > chunkHeader+chunkPayload || binary.LittleEndian.Uint32(m) != frame || binary.LittleEndian.Uint32(m[4:]) != uint32(i) ||
				binary.LittleEndian.Uint32(m[8:]) != uint32(total) || len(m) == chunkHeader && len(document) > 0 {
				t.Fatalf("message %d of %d: % x", i, total, m[:chunkHeader])
			}
			whole = append(whole, m[chunkHeader:]...)
		}
		if !bytes.Equal(whole, document) {
			t.Errorf("%d bytes became %d", len(document), len(whole))
		}
	})
}

// The documents that are made here have every field of the protocol.
func TestNotices(t *testing.T) {
	for text, want := range map[string]string{
		string(noticeOf("a")):           `{"serialized_output_data":null,"video_metadata":null,"errors":["a"],"processing_complete":false,"termination_reason":null}`,
		string(lastWord("", nil)):       `{"serialized_output_data":null,"video_metadata":null,"errors":[],"processing_complete":true,"termination_reason":null}`,
		string(lastWord("silent", nil)): `{"serialized_output_data":null,"video_metadata":null,"errors":[],"processing_complete":true,"termination_reason":"silent"}`,
	} {
		if text != want || !json.Valid([]byte(text)) {
			t.Errorf("%s\nwant %s", text, want)
		}
	}
	if got := fmt.Sprint(ticks(0), ticks(time.Second), ticks(40*time.Millisecond), ticks(33333333), ticks(14*time.Hour)); got != "0 90000 3600 3000 241032704" {
		t.Errorf("ticks: %s", got)
	}
}

// A request in whose course something panics, which the front door survives, takes no
// session's place for good.
func TestPanic(t *testing.T) {
	b := start(t, setting{config: Config{Most: 1}})
	var well atomic.Bool
	compile := b.d.Workflow
	b.d.Workflow = func(ctx context.Context, c Configuration) (*workflow.Graph, error) {
		if !well.Load() {
			panic(http.ErrAbortHandler)
		}
		return compile(ctx, c)
	}
	if _, err := client.Initialise(within(t), b.url, asks(), client.WorkerOptions{}); err == nil {
		t.Fatal("it was answered")
	}
	well.Store(true)
	w := b.dial(asks(plays("frames=3")), client.WorkerOptions{})
	finish(t, w, true)
}
