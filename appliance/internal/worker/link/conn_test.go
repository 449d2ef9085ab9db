package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a stream whose other end is the same end.
type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }

func sound() []Message {
	return []Message{
		{KindStart, Start{Camera: "door", Mode: "live", Source: Source{URL: "rtsp://cam/1", Transport: "udp", FPS: 12.5},
			Classes: []string{"person"}, Picture: Picture{MaxHeight: 720, Boxes: BoxesClient}, Since: time.Unix(1700000000, 0).UTC(),
			Decoders: map[string][]string{"h264": {"avdec_h264"}}}},
		{KindWant, Want{H264: true}},
		{KindKeyframe, Keyframe{Codec: VP8}},
		{KindThrottle, Throttle{MaxFPS: 5, Reason: "heat"}},
		{KindStop, nil},
		{KindHello, Hello{Version: "1", PID: 7}},
		{KindAccessUnit, AccessUnit{Codec: H264, Keyframe: true, PTS: time.Second, Captured: 9, Encode: 3, Data: []byte{0, 0, 0, 1, 0x65}}},
		{KindAccessUnit, AccessUnit{Codec: H264, Own: true, PTS: 1, Data: []byte{0, 0, 1, 0x41}}},
		{KindMedia, AccessUnit{Codec: VP8, Keyframe: true, PTS: 5, Data: []byte{1, 2}}},
		{KindResult, Result{Frame: 7, PTS: time.Second, Data: bytes.Repeat([]byte{9}, 2*firstRead+3)}},
		{KindSelect, Select{Stream: "a", Data: []string{"b"}, All: true}},
		{KindCredit, Credit{Through: 1 << 40}},
		{KindEnd, nil},
		{KindRefresh, nil},
		{KindStart, Start{Mode: "session", Session: &Session{Outputs: []Output{{Name: "p", Of: Tracked}, {Name: "i", Layers: []Layer{{Draw: LayerBoxes, Of: Detected}}}}, Video: VP8}}},
		{KindAccessUnit, AccessUnit{Codec: VP8, Slate: true, Data: bytes.Repeat([]byte{7}, 3*firstRead+5)}},
		{KindDetections, Detections{Frame: 3, PTS: 5, Width: 640, Height: 360, Objects: []Object{{ID: 1, Label: "person", Score: .5, X1: 9}}}},
		{KindStatus, Status{State: Playing, Stream: Stream{Codec: "h264", Width: 1280, Height: 720, FPS: 30}, Analyser: "motion"}},
		{KindBeat, Beat{Ledger: Ledger{Decoded: 5, Inferred: 4, Pending: 1}, RSS: 1 << 20, CPU: time.Second}},
		{KindFault, Fault{Kind: FaultNotFound, Message: "there is no such file"}},
		{KindDone, Done{Warnings: []string{"cut off"}}},
	}
}

func TestRoundTrip(t *testing.T) {
	b := &buffer{}
	c := NewConn(b)
	for _, m := range sound() {
		if err := c.Send(m.Kind, m.Value); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range sound() {
		got, err := c.Receive()
		if err != nil {
			t.Fatalf("%s: %v", want.Kind, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, sent %+v", got, want)
		}
	}
	if _, err := c.Receive(); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestSendRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind Kind
		v    any
	}{
		{"no value", KindWant, nil},
		{"another kind's value", KindWant, Hello{}},
		{"a pointer", KindWant, &Want{}},
		{"stop with a value", KindStop, Want{}},
		{"unknown kind", 99, Want{}},
		{"unknown mode", KindStart, Start{Mode: "fast"}},
		{"unknown boxes", KindStart, Start{Mode: "live", Picture: Picture{Boxes: "drawn"}}},
		{"unknown codec", KindKeyframe, Keyframe{}},
		{"unknown state", KindStatus, Status{State: "bored"}},
		{"unknown fault", KindFault, Fault{Kind: "mood"}},
		{"negative rate", KindThrottle, Throttle{MaxFPS: -1}},
		{"picture without data", KindAccessUnit, AccessUnit{Codec: H264}},
		{"result of no frame", KindResult, Result{Data: []byte{1}}},
		{"result without data", KindResult, Result{Frame: 1}},
		{"session of nothing", KindStart, Start{Mode: "session"}},
		{"output of what", KindStart, Start{Mode: "session", Session: &Session{Outputs: []Output{{Name: "x", Of: "y"}}}}},
		{"picture of no codec", KindAccessUnit, AccessUnit{Data: []byte{1}}},
		{"picture before time", KindAccessUnit, AccessUnit{Codec: H264, PTS: -1, Data: []byte{1}}},
		{"picture too large", KindAccessUnit, AccessUnit{Codec: H264, Data: make([]byte, MaxFrame)}},
		{"JSON too large", KindStatus, Status{State: Playing, Reason: strings.Repeat("x", MaxJSON)}},
		{"too many objects", KindDetections, Detections{Objects: make([]Object, MaxObjects+1)}},
		{"frame too large", KindDetections, Detections{Width: MaxSide + 1}},
	} {
		b := &buffer{}
		c := NewConn(b)
		if err := c.Send(tc.kind, tc.v); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v, want ErrProtocol", tc.name, err)
		}
		if b.Len() != 0 {
			t.Errorf("%s: %d bytes were written", tc.name, b.Len())
		}
		if err := c.Send(KindWant, Want{}); err != nil {
			t.Errorf("%s: the link did not stay usable: %v", tc.name, err)
		}
	}
}

func raw(kind Kind, payload string) []byte {
	return append(appendHead(nil, kind, len(payload)), payload...)
}

func TestReceiveRefuses(t *testing.T) {
	unit := func(change func(b []byte)) []byte {
		u := AccessUnit{Codec: H264, PTS: 1, Data: []byte{1, 2, 3}}
		b := append(u.appendHead(appendHead(nil, KindAccessUnit, unitHead+3)), u.Data...)
		change(b)
		return b
	}
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"length 0", []byte{0, 0, 0, 0, 1}, ErrProtocol},
		{"length over the most", binary.LittleEndian.AppendUint32(nil, MaxFrame+1), io.ErrUnexpectedEOF},
		{"length over the most, kind there", append(binary.LittleEndian.AppendUint32(nil, MaxFrame+1), 65), ErrProtocol},
		{"JSON over the most", append(binary.LittleEndian.AppendUint32(nil, MaxJSON+1), byte(KindBeat)), ErrProtocol},
		{"unknown kind", raw(63, "{}"), ErrProtocol},
		{"not JSON", raw(KindBeat, "beat"), ErrProtocol},
		{"two values", raw(KindBeat, "{}{}"), ErrProtocol},
		{"wrong type", raw(KindBeat, `{"rss_bytes":"much"}`), ErrProtocol},
		{"negative memory", raw(KindBeat, `{"rss_bytes":-1}`), ErrProtocol},
		{"null state", raw(KindStatus, "null"), ErrProtocol},
		{"stop with payload", raw(KindStop, "{}"), ErrProtocol},
		{"cut in the head", raw(KindBeat, "{}")[:3], io.ErrUnexpectedEOF},
		{"cut after the head", raw(KindBeat, "{}")[:5], io.ErrUnexpectedEOF},
		{"cut in the payload", raw(KindBeat, "{}")[:6], io.ErrUnexpectedEOF},
		{"picture without data", raw(KindAccessUnit, strings.Repeat("\x01", unitHead)), ErrProtocol},
		{"picture's codec", unit(func(b []byte) { b[5] = 9 }), ErrProtocol},
		{"picture's flags", unit(func(b []byte) { b[6] = 0x80 }), ErrProtocol},
		{"picture's PTS", unit(func(b []byte) { b[14] = 0xff }), ErrProtocol},
		{"picture cut", unit(func([]byte) {})[:frameHead+unitHead+1], io.ErrUnexpectedEOF},
	} {
		b := &buffer{}
		b.Write(tc.in)
		if m, err := NewConn(b).Receive(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, %v; want %v", tc.name, m, err, tc.want)
		}
	}
}

// A length alone must not make the receiver allocate: a frame of 16 MiB that
// never comes costs no more than its first piece.
func TestReceiveGrowsWithWhatArrives(t *testing.T) {
	head := binary.LittleEndian.AppendUint32(nil, MaxFrame)
	in := (AccessUnit{Codec: H264}).appendHead(append(head, byte(KindAccessUnit)))
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s := &buffer{}
			s.Write(in)
			if _, err := NewConn(s).Receive(); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	})
	if got := res.AllocedBytesPerOp(); got > 2*firstRead {
		t.Errorf("%d bytes allocated for a frame that never came", got)
	}
}

// Over real sockets, with several senders at once, every frame arrives whole.
func TestConcurrentSendersOverSockets(t *testing.T) {
	control, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	worker := NewConn(far)
	const senders, each = 4, 200
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte(s)}, 10_000+s)
			for i := range each {
				var err error
				if i%2 == 0 {
					err = worker.SendUnit(AccessUnit{Codec: H264, PTS: time.Duration(i), Data: data})
				} else {
					err = worker.Send(KindBeat, Beat{RSS: int64(s), Ledger: Ledger{Decoded: uint64(i)}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); worker.Close() }()
	units, beats := 0, 0
	for {
		m, err := control.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch v := m.Value.(type) {
		case AccessUnit:
			units++
			if s := int(v.Data[0]); len(v.Data) != 10_000+s || !bytes.Equal(v.Data, bytes.Repeat(v.Data[:1], 10_000+s)) {
				t.Fatalf("a unit of sender %d is torn: %d bytes", s, len(v.Data))
			}
		case Beat:
			beats++
		default:
			t.Fatalf("got %T", v)
		}
	}
	if units != senders*each/2 || beats != senders*each/2 {
		t.Errorf("%d units and %d beats arrived", units, beats)
	}
	if err := control.Close(); err != nil {
		t.Error(err)
	}
}

// A send that ran into its deadline broke the link, for all later sends too.
func TestWriteDeadlineBreaksTheLink(t *testing.T) {
	control, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer control.Close()
	if err := control.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	u := AccessUnit{Codec: H264, Data: make([]byte, 8<<20)}
	if err := control.SendUnit(u); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nobody reads: %v", err)
	}
	if err := control.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := control.Send(KindStop, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a torn frame: %v", err)
	}
}

func TestReceiveReusesNothingOfTheReceiver(t *testing.T) {
	b := &buffer{}
	c := NewConn(b)
	for i := range 2 {
		if err := c.Send(KindFault, Fault{Kind: FaultModel, Message: fmt.Sprintf("message %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(); err != nil {
		t.Fatal(err)
	}
	if got := first.Value.(Fault).Message; got != "message 0" {
		t.Errorf("the first message became %q", got)
	}
}

func BenchmarkUnitOverSocket(b *testing.B) {
	control, file, err := Pair()
	if err != nil {
		b.Fatal(err)
	}
	far, err := net.FileConn(file)
	if err != nil {
		b.Fatal(err)
	}
	file.Close()
	worker := NewConn(far)
	u := AccessUnit{Codec: H264, Data: make([]byte, 10_000)}
	b.SetBytes(int64(len(u.Data)))
	b.ReportAllocs()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := control.Receive(); err != nil {
				return
			}
		}
	}()
	for b.Loop() {
		if err := worker.SendUnit(u); err != nil {
			b.Fatal(err)
		}
	}
	worker.Close()
	<-done
	control.Close()
}
