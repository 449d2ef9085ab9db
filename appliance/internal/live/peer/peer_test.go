package peer

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(clientEnv) != "" {
		if err := clientMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func testFactory(t *testing.T, c Config) *Factory {
	t.Helper()
	f, err := New(slog.New(slog.DiscardHandler), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func receiver(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(1 << 20)
	t.Cleanup(func() { _ = c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// packet is one that looks like SRTP, filled so that it can be told apart.
func packet(n byte, size int) []byte {
	b := bytes.Repeat([]byte{n}, size)
	b[0] = 0x80
	return b
}

// TestBurst sends packets of many sizes to two peers in one burst, with the
// kernel cutting them and without, and expects the same datagrams in order.
func TestBurst(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ":0"} {
		for _, offload := range []bool{true, false} {
			f := testFactory(t, Config{UDP: listen})
			f.udp.noOffload.Store(!offload)
			a, toA := receiver(t)
			b, toB := receiver(t)
			sizes := []int{900, 1200, 1200, 1200, 700, 1200, 1200, 13, 1200}
			want := map[*net.UDPConn][][]byte{}
			f.Burst(func() {
				first := packet(255, 50)
				if _, err := f.udp.WriteToAddrPort(first, toA); err != nil {
					t.Fatal(err)
				}
				want[a] = append(want[a], first)
				if n, err := f.udp.WriteToAddrPort([]byte{0, 1, 2}, toA); n != 3 || err != nil { // STUN is not held back
					t.Fatalf("wrote %d, %v", n, err)
				}
				for round := range 12 {
					for i, size := range sizes {
						p := packet(byte(round*len(sizes)+i), size)
						for conn, to := range map[*net.UDPConn]netip.AddrPort{a: toA, b: toB} {
							if i%4 == 3 && conn == b {
								continue
							}
							if n, err := f.udp.WriteToAddrPort(p, to); n != size || err != nil {
								t.Fatalf("wrote %d, %v", n, err)
							}
							want[conn] = append(want[conn], p)
						}
					}
				}
			})
			total := 0
			for conn, packets := range want {
				buf := make([]byte, 2000)
				if conn == a {
					packets = append([][]byte{{0, 1, 2}}, packets...)
				}
				for i, p := range packets {
					_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
					n, err := conn.Read(buf)
					if err != nil {
						t.Fatalf("listen %s offload %v: packet %d of %d: %v", listen, offload, i, len(packets), err)
					}
					if !bytes.Equal(buf[:n], p) {
						t.Fatalf("listen %s offload %v: packet %d has %d bytes, begins %x, want %d bytes, %x", listen, offload, i, n, buf[:3], len(p), p[:3])
					}
				}
				total += len(packets)
			}
			c := f.Counters()
			if c.Datagrams != uint64(total) || c.Dropped != 0 || c.Calls > 5 {
				t.Errorf("listen %s offload %v: %+v, want %d datagrams", listen, offload, c, total)
			}
		}
	}
}

// TestBurstAroundARefusal: a peer that cannot be sent to does not cost the others theirs.
func TestBurstAroundARefusal(t *testing.T) {
	f := testFactory(t, Config{UDP: "127.0.0.1:0"})
	a, to := receiver(t)
	bad := netip.MustParseAddrPort("[::1]:9") // not for an IPv4 socket
	f.Burst(func() {
		for range 3 {
			for _, p := range []netip.AddrPort{to, bad, to} {
				_, _ = f.udp.WriteToAddrPort(packet(1, 100), p)
			}
		}
	})
	buf := make([]byte, 200)
	for i := range 6 {
		_ = a.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := a.Read(buf); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	if c := f.Counters(); c.Datagrams != 6 || c.Dropped != 3 {
		t.Errorf("%+v", c)
	}
}

// TestSessionPeers connects two peers of one factory with a data channel and a
// track, as the session protocol will.
func TestSessionPeers(t *testing.T) {
	codec := Codec{Kind: webrtc.RTPCodecTypeVideo, RTPCodecParameters: webrtc.RTPCodecParameters{PayloadType: 96,
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}}}
	fa, fb := testFactory(t, Config{UDP: "127.0.0.1:0"}), testFactory(t, Config{UDP: "127.0.0.1:0"})
	a, err := fa.Peer(Options{Codecs: []Codec{codec}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.GracefulClose() }()
	b, err := fb.Peer(Options{Codecs: []Codec{codec}, Tune: func(s *webrtc.SettingEngine) { s.SetSCTPMaxReceiveBufferSize(64 << 10) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.GracefulClose() }()
	got := make(chan string, 1)
	b.OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) { got <- string(m.Data) })
	})
	d, err := a.CreateDataChannel("x", nil)
	if err != nil {
		t.Fatal(err)
	}
	d.OnOpen(func() { _ = d.SendText("hello") })
	if _, err := a.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	offer, err := a.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	signal := func(pc *webrtc.PeerConnection, d webrtc.SessionDescription) webrtc.SessionDescription {
		done := webrtc.GatheringCompletePromise(pc)
		if err := pc.SetLocalDescription(d); err != nil {
			t.Fatal(err)
		}
		<-done
		return *pc.LocalDescription()
	}
	if err := b.SetRemoteDescription(signal(a, offer)); err != nil {
		t.Fatal(err)
	}
	answer, err := b.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.SetRemoteDescription(signal(b, answer)); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-got:
		if m != "hello" {
			t.Errorf("got %q", m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no message over the data channel")
	}
}

func TestPublicAddresses(t *testing.T) {
	f := testFactory(t, Config{UDP: ":0", TCP: ":0", IncludeLoopback: true, PublicAddresses: []string{"203.0.113.7"}})
	pc, err := f.Peer(Options{Codecs: []Codec{{Kind: webrtc.RTPCodecTypeVideo, RTPCodecParameters: webrtc.RTPCodecParameters{PayloadType: 96,
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	start := time.Now()
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-done
	if d := time.Since(start); d > 150*time.Millisecond {
		t.Errorf("gathering took %v", d)
	}
	sdp := pc.LocalDescription().SDP
	for _, want := range []string{"203.0.113.7", "127.0.0.1", "udp", "tcptype passive"} {
		if !strings.Contains(sdp, want) {
			t.Errorf("no %s in\n%s", want, sdp)
		}
	}
	if _, err := New(slog.New(slog.DiscardHandler), Config{UDP: "127.0.0.1:0", PublicAddresses: []string{"example.com"}}); err == nil {
		t.Error("a name was taken for a public address")
	}
}
