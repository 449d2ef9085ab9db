package viewer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"

	"github.com/watchpost/watchpost/appliance/internal/live"
)

// picture makes the packets of one VP8 frame with a body of n bytes.
func picture(seq *uint16, stamp uint32, n int) (packets []*rtp.Packet, data []byte) {
	data = bytes.Repeat([]byte{byte(stamp) | 1}, n) // bit 0 set: not a keyframe
	for i := 0; i < n; i += 100 {
		head := byte(0)
		if i == 0 {
			head = 0x10 // start of the partition
		}
		packets = append(packets, &rtp.Packet{
			Header:  rtp.Header{SequenceNumber: *seq, Timestamp: stamp, Marker: i+100 >= n},
			Payload: append([]byte{head}, data[i:min(i+100, n)]...),
		})
		*seq++
	}
	return packets, data
}

func TestAssembly(t *testing.T) {
	now := time.Now()
	seq := uint16(65530) // wraps on the way
	one, data1 := picture(&seq, 1, 450)
	two, data2 := picture(&seq, 2, 450)
	three, data3 := picture(&seq, 3, 450)
	all := append(append(append([]*rtp.Packet{}, one...), two...), three...)
	order := func(at ...int) (out []*rtp.Packet) {
		for _, i := range at {
			out = append(out, all[i])
		}
		return out
	}
	for _, c := range []struct {
		name                string
		packets             []*rtp.Packet
		wait                time.Duration // before the last packet
		want                [][]byte
		lost, late, damaged uint64
	}{
		{"in order", all, 0, [][]byte{data1, data2, data3}, 0, 0, 0},
		{"two change places", order(0, 2, 1, 3, 4, 5, 6, 7, 8, 9), 0, [][]byte{data1, data2}, 0, 1, 0},
		{"one comes twice", order(0, 1, 1, 2, 3, 4), 0, [][]byte{data1}, 0, 0, 0},
		{"one is missing, and waited for", order(0, 1, 3, 4, 5, 6, 7, 8, 9), 0, nil, 0, 0, 0},
		{"one is missing for too long", order(0, 1, 3, 4, 5, 6, 7, 8, 9, 10), time.Second, [][]byte{data2}, 1, 0, 1},
		{"repaired in the end", order(0, 1, 3, 4, 5, 6, 7, 8, 9, 2), 100 * time.Millisecond, [][]byte{data1, data2}, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAssembly(VP8)
			var got []Unit
			for i, p := range c.packets {
				at := now
				if i == len(c.packets)-1 {
					at = now.Add(c.wait)
				}
				got = append(got, a.packet(p, at)...)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%d pictures, want %d", len(got), len(c.want))
			}
			for i := range got {
				if !bytes.Equal(got[i].Data, c.want[i]) {
					t.Errorf("picture %d differs", i)
				}
			}
			if a.lost != c.lost || a.late != c.late || a.damaged != c.damaged {
				t.Errorf("lost %d late %d damaged %d, want %d %d %d", a.lost, a.late, a.damaged, c.lost, c.late, c.damaged)
			}
		})
	}
}

// encoder stands for a worker: it publishes a picture over and over.
type encoder struct {
	mu   sync.Mutex
	want [2]bool
}

func (e *encoder) Want(h264, vp8 bool) {
	e.mu.Lock()
	e.want = [2]bool{h264, vp8}
	e.mu.Unlock()
}
func (e *encoder) RequestKeyframe(live.Codec) {}

func (e *encoder) run(ctx context.Context, s *live.Stream, units map[live.Codec][]byte) {
	begun := time.Now()
	for t := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-t.C {
		e.mu.Lock()
		want := e.want
		e.mu.Unlock()
		for c, data := range units {
			if want[c-1] {
				s.Publish(live.Unit{Codec: c, Keyframe: true, PTS: time.Since(begun), Data: bytes.Clone(data)})
			}
		}
	}
}

// sps640x360 is openh264's for constrained baseline.
var sps640x360 = []byte{0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x17, 0xfc, 0xb0, 0x0f, 0x08, 0x84, 0x6a}

// TestAgainstServer watches the real server over both transports and in both codecs.
func TestAgainstServer(t *testing.T) {
	server, err := live.New(live.Deps{Log: slog.New(slog.DiscardHandler)}, live.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", IncludeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	e := &encoder{}
	stream := server.Stream("yard", e)
	body := bytes.Repeat([]byte{0x65, 0x88, 0x77}, 2000)
	h264Unit, err := h264.AnnexB{sps640x360, {0x68, 0xce, 0x3c, 0x80}, body}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	vp8Unit := append([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}, bytes.Repeat([]byte{7}, 5000)...)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		e.run(ctx, stream, map[live.Codec][]byte{live.H264: h264Unit, live.VP8: vp8Unit})
	})
	defer running.Wait()
	defer cancel()
	web := httptest.NewServer(server.Handler())
	defer web.Close()
	address := web.URL + "/api/v1/cameras/yard/whep"

	for _, c := range []struct {
		name string
		o    Options
		want Codec
	}{
		{"h264 over udp", Options{}, H264},
		{"h264 over tcp", Options{TCP: true}, H264},
		{"vp8 over udp", Options{Codec: VP8}, VP8},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var last Unit
			c.o.OnUnit = func(u Unit) { mu.Lock(); last = u; mu.Unlock() }
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			v, err := Connect(ctx, address, c.o)
			if err != nil {
				t.Fatal(err)
			}
			s, err := v.Wait(ctx, func(s Stats) bool { return s.Units >= 10 })
			if err != nil {
				t.Fatalf("%v: %+v", err, s)
			}
			if err := v.Close(); err != nil {
				t.Error(err)
			}
			if s.Codec != c.want || s.Width != 640 || s.Height != 360 || s.Keyframes != s.Units || s.Lost != 0 || s.Sizes != 1 {
				t.Errorf("%+v", s)
			}
			if s.Asked.IsZero() || s.Connected.Before(s.Asked) || s.FirstUnit.Before(s.FirstPacket) {
				t.Errorf("times out of order: %+v", s)
			}
			mu.Lock()
			defer mu.Unlock()
			if c.want == VP8 && !bytes.Equal(last.Data, vp8Unit) {
				t.Errorf("the VP8 frame of %d bytes came with %d", len(vp8Unit), len(last.Data))
			}
		})
	}
	for end := time.Now().Add(5 * time.Second); stream.Viewers() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server still counts viewers that have left")
		}
	}
	var refused *StatusError
	if _, err := Connect(t.Context(), web.URL+"/api/v1/cameras/nowhere/whep", Options{}); !errors.As(err, &refused) || refused.Code != http.StatusNotFound {
		t.Errorf("an unknown camera: %v", err)
	}
}
