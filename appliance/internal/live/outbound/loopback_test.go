package outbound_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/live/ingest"
	"github.com/watchpost/watchpost/appliance/internal/live/outbound"
	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error())
			return 1
		}
	}
	return code
}

// unreliable loses packets on their way out, before they are encrypted: beyond that, SRTP
// would take those sent again for replays.
type unreliable struct {
	interceptor.NoOp
	lose func() bool
}

func (u *unreliable) NewInterceptor(string) (interceptor.Interceptor, error) { return u, nil }

func (u *unreliable) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if u.lose() {
			return len(payload), nil
		}
		return w.Write(h, payload, a)
	})
}

// pair is a track from one peer to another.
type pair struct {
	track    *outbound.Track
	wanted   atomic.Int64 // keyframes
	units    chan ingest.Unit
	receiver *webrtc.PeerConnection
	sender   *webrtc.PeerConnection
	remote   atomic.Pointer[webrtc.TrackRemote]
	refresh  atomic.Pointer[func() error]
}

func factory(t *testing.T) *peer.Factory {
	t.Helper()
	f, err := peer.New(slog.New(slog.DiscardHandler), peer.Config{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// connect makes a pair. The receiver offers, as clients do, and is answered with Offered.
func connect(t *testing.T, codec string, lose func() bool) *pair {
	t.Helper()
	p := &pair{units: make(chan ingest.Unit, 4096)}
	from, to := factory(t), factory(t)
	var err error
	p.receiver, err = to.Peer(peer.Options{Codecs: ingest.Codecs(), Intercept: ingest.Intercept})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		work.Wait()
		if err := errors.Join(p.sender.GracefulClose(), p.receiver.GracefulClose()); err != nil {
			t.Error(err)
		}
	})
	p.receiver.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		p.remote.Store(track)
		refresh := ingest.Refresh(p.receiver, track)
		p.refresh.Store(&refresh)
		work.Go(func() {
			if err := ingest.Read(ctx, track, refresh, func(u ingest.Unit) { p.units <- u }); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	})
	if _, err := p.receiver.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer := local(t, p.receiver, func() (webrtc.SessionDescription, error) { return p.receiver.CreateOffer(nil) })
	codecs, err := ingest.Offered(offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	p.sender, err = from.Peer(peer.Options{Codecs: codecs, Intercept: func(m *webrtc.MediaEngine, r *interceptor.Registry) error {
		r.Add(&unreliable{lose: lose})
		return ingest.Intercept(m, r)
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.track, err = outbound.New(codec, "box", func() { p.wanted.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan struct{})
	var once sync.Once
	p.sender.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	if err := p.sender.SetRemoteDescription(offer); err != nil {
		t.Fatal(err)
	}
	sender, err := p.sender.AddTrack(p.track.Local())
	if err != nil {
		t.Fatal(err)
	}
	answer := local(t, p.sender, func() (webrtc.SessionDescription, error) { return p.sender.CreateAnswer(nil) })
	if err := p.receiver.SetRemoteDescription(answer); err != nil {
		t.Fatal(err)
	}
	work.Go(func() { _ = p.track.Run(ctx, sender, from.Burst) })
	select {
	case <-connected:
	case <-time.After(20 * time.Second):
		t.Fatal("no connection")
	}
	return p
}

func local(t *testing.T, pc *webrtc.PeerConnection, make func() (webrtc.SessionDescription, error)) webrtc.SessionDescription {
	t.Helper()
	d, err := make()
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		t.Fatal(err)
	}
	<-done
	return *pc.LocalDescription()
}

func (p *pair) next(t *testing.T) ingest.Unit {
	t.Helper()
	select {
	case u := <-p.units:
		return u
	case <-time.After(20 * time.Second):
		t.Fatalf("no frame came; sent: %+v", p.track.Counters())
	}
	return ingest.Unit{}
}

func picture(codec string, key bool, n, size int) []byte {
	body := bytes.Repeat([]byte{byte(n)%250 + 1}, size)
	switch {
	case codec == packet.CodecVP8 && key:
		return append([]byte{0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x40, 1, 0xb4, 0}, body...)
	case codec == packet.CodecVP8:
		return append([]byte{0x11, 2, 0}, body...)
	case key:
		return append([]byte{0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 1, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65}, body...)
	}
	return append([]byte{0, 0, 0, 1, 0x41}, body...)
}

// TestByHand: each frame arrives before the next is sent, with its own time.
func TestByHand(t *testing.T) {
	for _, codec := range []string{packet.CodecH264, packet.CodecVP8} {
		t.Run(codec, func(t *testing.T) {
			p := connect(t, codec, func() bool { return false })
			for i := range 30 {
				want := picture(codec, i == 0, i, 3000)
				if err := p.track.Write(uint32(i)*9000, i == 0, want); err != nil {
					t.Fatal(err)
				}
				u := p.next(t)
				if !bytes.Equal(u.Data, want) || u.Keyframe != (i == 0) || u.PTS != time.Duration(i)*100*time.Millisecond {
					t.Fatalf("frame %d: %d bytes, keyframe %v, at %v", i, len(u.Data), u.Keyframe, u.PTS)
				}
			}
			if n := p.track.Sent(); n != 30 {
				t.Errorf("%d of 30 pictures are sent", n)
			}
		})
	}
}

// TestLargeKeyframe: 300 KB arrive whole, many times, and nothing has to be sent again.
func TestLargeKeyframe(t *testing.T) {
	p := connect(t, packet.CodecH264, func() bool { return false })
	for i := range 10 {
		want := picture(packet.CodecH264, true, i, 300_000)
		began := time.Now()
		if err := p.track.Write(uint32(i)*90000, true, want); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("Write took %v", took)
		}
		if u := p.next(t); !bytes.Equal(u.Data, want) {
			t.Fatalf("frame %d: %d bytes of %d", i, len(u.Data), len(want))
		}
	}
	if c := p.track.Counters(); c.Lost > 0 || c.Skipped > 0 || c.Missed > 0 {
		t.Errorf("%+v", c)
	}
}

// TestLossIsRepaired: with every tenth packet lost, all frames arrive.
func TestLossIsRepaired(t *testing.T) {
	for _, codec := range []string{packet.CodecH264, packet.CodecVP8} {
		t.Run(codec, func(t *testing.T) {
			p := connect(t, codec, func() bool { return rand.IntN(10) == 0 })
			const frames = 60
			stop := make(chan struct{})
			var writing sync.WaitGroup
			writing.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
					}
					// A keyframe now and then, and when one is wanted: what a slow
					// machine answers too late is lost for good.
					key := i%20 == 0 || p.wanted.Swap(0) > 0
					if err := p.track.Write(uint32(i)*1800, key, picture(codec, key, i, 6000)); err != nil && !errors.Is(err, outbound.ErrSkipped) {
						t.Error(err)
					}
				}
			})
			for range frames {
				p.next(t)
			}
			close(stop)
			writing.Wait()
			if c := p.track.Counters(); c.Answered == 0 {
				t.Errorf("nothing was sent again: %+v", c)
			}
		})
	}
}

// TestKeyframeRequests: whoever cannot decode asks, and is heard at most twice a second.
func TestKeyframeRequests(t *testing.T) {
	p := connect(t, packet.CodecVP8, func() bool { return false })
	// The receiver cannot begin with this, and says so.
	for i := range 5 {
		if err := p.track.Write(uint32(i)*3000, false, picture(packet.CodecVP8, false, i, 500)); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for p.wanted.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no keyframe was asked for")
		}
		time.Sleep(10 * time.Millisecond)
	}
	began, before := time.Now(), p.wanted.Load()
	for range 100 { // a flood
		if err := p.receiver.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(p.remote.Load().SSRC())}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	most := int64(time.Since(began)/(500*time.Millisecond)) + 2
	if n := p.wanted.Load() - before; n < 1 || n > most {
		t.Errorf("100 requests in %v became %d, at most %d are allowed", time.Since(began).Round(time.Millisecond), n, most)
	}
	if err := p.track.Write(90000, true, picture(packet.CodecVP8, true, 9, 500)); err != nil {
		t.Fatal(err)
	}
	if u := p.next(t); !u.Keyframe {
		t.Error("the first frame is no keyframe")
	}
}

// TestWriteNeverBlocks: nobody is sent to, and the queue is full: what is left out is
// said, a keyframe is asked for, and with it the pictures go on.
func TestWriteNeverBlocks(t *testing.T) {
	track, err := outbound.New(packet.CodecVP8, "box", nil)
	if err != nil {
		t.Fatal(err)
	}
	full, skipped := 0, 0
	began := time.Now()
	for i := range 2000 {
		switch err := track.Write(uint32(i), i == 0, picture(packet.CodecVP8, i == 0, i, 100_000)); {
		case errors.Is(err, outbound.ErrFull):
			full++
		case errors.Is(err, outbound.ErrSkipped):
			skipped++
		case err != nil:
			t.Fatal(err)
		}
	}
	if n, bytes := track.Queued(); n == 0 || bytes > 9<<20 {
		t.Errorf("%d pictures of %d bytes wait", n, bytes)
	}
	if full != 1 || skipped == 0 || time.Since(began) > 10*time.Second {
		t.Errorf("full %d, skipped %d, after %v", full, skipped, time.Since(began))
	}
	for codec, id := range map[string]string{"av1": "x", "h264": "", "vp8": "a b"} {
		if _, err := outbound.New(codec, id, nil); err == nil {
			t.Errorf("a track of %q named %q was made", codec, id)
		}
	}
}

// TestOfferedProfiles: whatever name of H.264 a peer offers is answered with itself.
func TestOfferedProfiles(t *testing.T) {
	offer := func(lines string) string {
		return "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97 98 99 100\r\n" + lines
	}
	for _, tc := range []struct {
		lines string
		want  []webrtc.PayloadType
	}{
		{"a=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\na=fmtp:99 packetization-mode=1;profile-level-id=42c029\r\n", []webrtc.PayloadType{97, 99}},
		{"a=rtpmap:99 H264/90000\r\na=fmtp:99 packetization-mode=0;profile-level-id=42e01f\r\na=rtpmap:100 H264/90000\r\na=fmtp:100 profile-level-id=4d0032;packetization-mode=1\r\n", []webrtc.PayloadType{100}},
		{"a=rtpmap:97 AV1/90000\r\n", nil},
	} {
		codecs, err := ingest.Offered(offer(tc.lines))
		var got []webrtc.PayloadType
		for _, c := range codecs {
			got = append(got, c.PayloadType)
		}
		if len(got) != len(tc.want) || (err == nil) != (len(tc.want) > 0) {
			t.Errorf("%v, %v; want %v", got, err, tc.want)
			continue
		}
		for i := range got {
			if got[i] != tc.want[i] {
				t.Errorf("%v, want %v", got, tc.want)
			}
		}
	}
	for _, bad := range []string{"", "nonsense", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"} {
		if _, err := ingest.Offered(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
