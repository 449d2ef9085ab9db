package rtcworker

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Pictures and documents of a frame have one time, and every frame has both.
func TestVideoAndData(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{client.H264, client.VP8} {
		b := start(t, setting{})
		var mu sync.Mutex
		var stamps []uint32
		w := b.dial(asks(plays("frames=80&pace=5")), client.WorkerOptions{Receive: codec, OnUnit: func(u client.Unit) {
			mu.Lock()
			defer mu.Unlock()
			stamps = append(stamps, u.Timestamp)
		}})
		var times []uint32
		last, err := w.Finish(within(t), true, func(d *client.Document) error {
			times = append(times, uint32(d.Metadata.PTS))
			return nil
		})
		if err != nil || last.Reason != "" {
			t.Fatalf("%+v, %v", last, err)
		}
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			mu.Lock()
			n := len(stamps)
			mu.Unlock()
			if n == 80 || time.Now().After(end) {
				break
			}
		}
		_ = w.Close()
		mu.Lock()
		if fmt.Sprint(stamps) != fmt.Sprint(times) || len(times) != 80 {
			t.Errorf("%s: pictures at %v\ndocuments at %v", codec, stamps, times)
		}
		mu.Unlock()
		b.empty()
	}
}

// H.264 is sent to who takes both, VP8 to who has nothing else, and who has neither is told.
func TestCodecs(t *testing.T) {
	b := start(t, setting{})
	for choice, want := range map[string]string{client.Any: "h264", client.H264: "h264", client.VP8: "vp8"} {
		w := b.dial(asks(plays("frames=100000&pace=5")), client.WorkerOptions{Receive: choice})
		s, err := w.Wait(within(t), func(s client.Stats) bool { return s.Video.Units > 5 })
		if err != nil || s.Video.Codec != want {
			t.Errorf("%s: %+v, %v", choice, s.Video, err)
		}
		_ = w.Close()
		b.empty()
	}
	pc := b.peer()
	tr, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.SetCodecPreferences([]webrtc.RTPCodecParameters{{PayloadType: 98, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9, ClockRate: 90000}}}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseOffer(offer.SDP, true, true)
	if r := refusalOf(err); r == nil || r.status != 422 || !strings.Contains(r.message, "VP9") || len(r.available) != 2 {
		t.Errorf("%+v", r)
	}
}

func (b *box) peer() *webrtc.PeerConnection {
	b.t.Helper()
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		b.t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// play sends pictures by hand until ctx ends.
func play(ctx context.Context, w *client.Worker, codec string) {
	kind := link.VP8
	if codec == client.H264 {
		kind = link.H264
	}
	for i := 0; ctx.Err() == nil; i++ {
		u := client.Unit{Codec: codec, Keyframe: i%30 == 0, Timestamp: uint32(i * 3000), Data: fakePicture(kind, i%30 == 0, 900)}
		if w.Send(ctx, u) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A peer's camera comes back as video and documents, over one section or two, in either codec.
func TestCamera(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]client.WorkerOptions{
		"one section, VP8":   {Send: client.VP8, Receive: client.VP8},
		"one section, H.264": {Send: client.H264, Receive: client.H264},
		"two sections":       {Send: client.VP8, Receive: client.H264, Apart: true},
		"camera to data":     {Send: client.H264},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, setting{})
			w := b.dial(asks(func(r *client.Request) { r.Realtime = true }), o)
			ctx, cancel := context.WithCancel(within(t))
			var playing sync.WaitGroup
			playing.Go(func() { play(ctx, w, o.Send) })
			next := uint32(1)
			for next < 30 {
				d, err := w.Next(within(t))
				if err != nil {
					t.Fatal(err)
				}
				if d.Frame < next {
					t.Fatalf("frame %d behind %d", d.Frame, next)
				}
				next = d.Frame + 1
			}
			if o.Receive != "" {
				if s, err := w.Wait(within(t), func(s client.Stats) bool { return s.Video.Units > 20 }); err != nil || s.Video.Codec != o.Receive {
					t.Errorf("%+v, %v", s.Video, err)
				}
			}
			if i := b.List()[0]; i.Source != SourceTrack || i.State != StateRunning || i.PID == 0 || i.Peer == "" {
				t.Errorf("%+v", i)
			}
			cancel()
			playing.Wait()
			_ = w.Close()
			b.empty()
		})
	}
}

// Frames that are sent by hand while the worker comes up are not lost.
func TestFramesByHand(t *testing.T) {
	b := start(t, setting{prepare: func(*link.Start) error { time.Sleep(500 * time.Millisecond); return nil }})
	w := b.dial(asks(func(r *client.Request) { r.ManualMode = true }), client.WorkerOptions{Send: client.VP8})
	for i := range 20 {
		u := client.Unit{Codec: client.VP8, Keyframe: i == 0, Timestamp: uint32(i * 3000), Data: fakePicture(link.VP8, i == 0, 900)}
		if err := w.Send(within(t), u); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(20) {
		if d, err := w.Next(within(t)); err != nil || d.Frame != i+1 {
			t.Fatalf("%+v, %v, want frame %d", d, err, i+1)
		}
	}
}

// Sections of no use are answered as inactive, audio too; each direction is what happens.
func TestDirections(t *testing.T) {
	b := start(t, setting{})
	type direction = webrtc.RTPTransceiverDirection
	const sends, takes, both = webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPTransceiverDirectionRecvonly, webrtc.RTPTransceiverDirectionSendrecv
	for name, c := range map[string]struct {
		ask    client.Request
		offers []direction
		want   string
	}{
		"stream to video":       {asks(plays("hang=1")), []direction{takes}, "sendonly"},
		"stream, camera unused": {asks(plays("hang=1")), []direction{both}, "sendonly"},
		"two that take":         {asks(plays("hang=1")), []direction{takes, takes}, "sendonly inactive"},
		"camera":                {asks(), []direction{both}, "sendrecv"},
		"apart":                 {asks(), []direction{sends, takes}, "recvonly sendonly"},
		"apart, the other way":  {asks(), []direction{takes, sends}, "sendonly recvonly"},
		"no stream":             {asks(func(r *client.Request) { r.StreamOutput = client.Names() }), []direction{both}, "recvonly"},
		"no stream to take":     {asks(func(r *client.Request) { r.StreamOutput = client.Names() }), []direction{takes}, "inactive"},
		"file to video":         {asks(func(r *client.Request) { r.VideoFileUpload = true }), []direction{takes, sends}, "sendonly inactive"},
	} {
		t.Run(name, func(t *testing.T) {
			pc := b.peer()
			if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: takes}); err != nil {
				t.Fatal(err)
			}
			for _, d := range c.offers {
				if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: d}); err != nil {
					t.Fatal(err)
				}
			}
			opened := make(chan struct{})
			dc, err := pc.CreateDataChannel("inference", nil)
			if err != nil {
				t.Fatal(err)
			}
			dc.OnOpen(func() { close(opened) })
			answer := b.negotiate(pc, c.ask)
			var got []string
			for i, section := range strings.Split(answer, "\nm=")[1:] {
				for line := range strings.Lines(section) {
					switch d := strings.TrimPrefix(strings.TrimSpace(line), "a="); d {
					case "sendrecv", "sendonly", "recvonly", "inactive":
						if !strings.HasPrefix(section, "application") {
							got = append(got, d)
						}
					}
				}
				if f := strings.Fields(section); f[1] == "0" {
					t.Errorf("section %d is refused", i)
				}
			}
			if s := strings.Join(got, " "); s != "inactive "+c.want {
				t.Errorf("%s, want audio inactive and %s", s, c.want)
			}
			if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-opened:
			case <-time.After(patience):
				t.Error("no connection came of it")
			}
			_ = pc.GracefulClose()
			b.empty()
		})
	}
}

// A client that reads no documents gets its video all the same.
func TestVideoOnly(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=200")), client.WorkerOptions{Receive: client.VP8, NoInference: true})
	if s, err := w.Wait(within(t), func(s client.Stats) bool { return s.Video.Units == 200 }); err != nil {
		t.Errorf("%+v, %v", s.Video, err)
	}
	b.empty()
	if r := b.ended(); r != "complete" && r != "peer_left" {
		t.Errorf("ended for %s", r)
	}
	// So does one whose inference channel is closed.
	w = b.dial(asks(plays("frames=100000&pace=3")), client.WorkerOptions{Receive: client.VP8})
	ch, err := w.Inference(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := w.Wait(within(t), func(s client.Stats) bool { return s.Video.Units > 150 }); err != nil {
		t.Errorf("%+v, %v", s.Video, err)
	}
}

// The metrics tell of all that.
func TestMetrics(t *testing.T) {
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=30")), client.WorkerOptions{})
	finish(t, w, true)
	b.refused(client.Request{}, client.WorkerOptions{})
	var text bytes.Buffer
	gather(t, b.registry, &text)
	for _, want := range []string{`watchpost_sessions{source="rtsp",state="ending"} 1`, `watchpost_session_documents_total{result="sent"} 30`, "watchpost_session_setup_seconds_count 1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in\n%s", want, text.String())
		}
	}
	_ = w.Close()
	b.empty()
	text.Reset()
	gather(t, b.registry, &text)
	for _, want := range []string{`watchpost_sessions_ended_total{reason="complete"} 1`, `watchpost_sessions_refused_total{status="Bad Request"} 1`, `watchpost_session_documents_total{result="sent"} 30`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in\n%s", want, text.String())
		}
	}
}

// A peer that sends its camera can tell the round trip from our receiver reports.
func TestCameraReports(t *testing.T) {
	t.Parallel()
	b := start(t, setting{})
	w := b.dial(asks(func(r *client.Request) { r.Realtime = true }), client.WorkerOptions{Send: client.VP8, Receive: client.VP8})
	ctx, cancel := context.WithCancel(within(t))
	var playing sync.WaitGroup
	playing.Go(func() { play(ctx, w, client.VP8) })
	defer playing.Wait()
	defer cancel()
	if st, err := w.Wait(ctx, func(st client.Stats) bool { return st.Sent.Reports > 0 }); err != nil {
		t.Errorf("%+v: %v", st.Sent, err)
	}
}
