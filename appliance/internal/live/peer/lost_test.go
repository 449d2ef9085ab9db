package peer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// clientEnv has this test's binary be a peer instead: it offers a connection from the
// address that the variable names, on its output, takes the answer from its input, and
// then counts aloud what arrives.
const clientEnv = "PEER_TEST_CLIENT"

func clientMain() error {
	f, err := New(slog.New(slog.DiscardHandler), Config{UDP: net.JoinHostPort(os.Getenv(clientEnv), "0")})
	if err != nil {
		return err
	}
	pc, err := f.Peer(Options{})
	if err != nil {
		return err
	}
	open := make(chan struct{})
	d, err := pc.CreateDataChannel("count", nil)
	if err != nil {
		return err
	}
	d.OnOpen(func() { close(open) })
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-done
	out, in := json.NewEncoder(os.Stdout), json.NewDecoder(os.Stdin)
	if err := out.Encode(pc.LocalDescription()); err != nil {
		return err
	}
	var answer webrtc.SessionDescription
	if err := in.Decode(&answer); err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(answer); err != nil {
		return err
	}
	<-open
	var word string
	for { // says what it is told to, until nobody tells
		if err := in.Decode(&word); err != nil {
			return nil
		}
		if err := d.SendText(word); err != nil {
			return err
		}
	}
}

// remote is a peer in another process.
type remote struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	pc    *webrtc.PeerConnection
	heard chan string
	lost  chan time.Time
	stop  func()
	state atomic.Value
}

// connect has a peer in another process connect from an address.
func connect(t *testing.T, f *Factory, from string) *remote {
	t.Helper()
	r := &remote{heard: make(chan string, 16), lost: make(chan time.Time, 16)}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(exe)
	r.cmd.Env = append(os.Environ(), clientEnv+"="+from)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var offer webrtc.SessionDescription
	if err := json.Unmarshal(line, &offer); err != nil {
		t.Fatal(err)
	}
	if r.pc, err = f.Peer(Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.pc.GracefulClose() })
	r.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { r.state.Store(s.String()) })
	r.pc.OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) { r.heard <- string(m.Data) })
	})
	r.stop = f.Watch(r.pc, func() { r.lost <- time.Now() })
	t.Cleanup(r.stop)
	if err := r.pc.SetRemoteDescription(offer); err != nil {
		t.Fatal(err)
	}
	answer, err := r.pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(r.pc)
	if err := r.pc.SetLocalDescription(answer); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := json.NewEncoder(r.in).Encode(r.pc.LocalDescription()); err != nil {
		t.Fatal(err)
	}
	r.says(t, "hello")
	return r
}

// says has the peer say something, and expects it.
func (r *remote) says(t *testing.T, word string) {
	t.Helper()
	if err := json.NewEncoder(r.in).Encode(word); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-r.heard:
		if got != word {
			t.Fatalf("heard %q, want %q", got, word)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("not heard: %q", word)
	}
}

// families are ports, and where peers connect to them from.
var families = []struct {
	listen, from string
	stall        time.Duration
}{
	{"127.0.0.1:0", "127.0.0.1", 7 * time.Second}, {"[::1]:0", "::1", 0}, {":0", "127.0.0.1", 0}, {":0", "::1", 0},
}

// TestKilled: a peer whose process is killed is known to be gone long before ICE's time,
// and the others on the port, one of them stopped for seconds, are not.
func TestKilled(t *testing.T) {
	for _, c := range families {
		t.Run(fmt.Sprintf("%s from %s", c.listen, c.from), func(t *testing.T) {
			t.Parallel()
			if l, err := net.ListenPacket("udp", net.JoinHostPort(c.from, "0")); err != nil {
				t.Skip("no such loopback address:", err)
			} else {
				_ = l.Close()
			}
			f := testFactory(t, Config{UDP: c.listen, IncludeLoopback: true})
			killed, unwatched, stalled, other := connect(t, f, c.from), connect(t, f, c.from), connect(t, f, c.from), connect(t, f, c.from)
			unwatched.stop()
			if err := stalled.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			for _, r := range []*remote{killed, unwatched} {
				if err := r.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case lost := <-killed.lost:
				t.Logf("known after %v", lost.Sub(at))
				if lost.Sub(at) > 5*time.Second {
					t.Errorf("it took %v", lost.Sub(at))
				}
			case <-time.After(15 * time.Second):
				t.Fatal("not known to be gone")
			}
			other.says(t, "still here")
			time.Sleep(time.Until(at.Add(c.stall)))
			if err := stalled.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			stalled.says(t, "back again")
			for name, r := range map[string]*remote{"killed twice": killed, "stalled": stalled, "other": other, "unwatched": unwatched} {
				select {
				case <-r.lost:
					t.Error(name, "is lost")
				default:
				}
			}
			for _, r := range []*remote{stalled, other} {
				for end := time.Now().Add(10 * time.Second); r.state.Load() != "connected"; time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal(r.state.Load())
					}
				}
			}
		})
	}
}

// TestForged: errors about a peer that still sends, whoever made them, are no reason to
// hold it for gone.
func TestForged(t *testing.T) {
	t.Parallel()
	f := testFactory(t, Config{UDP: "127.0.0.1:0"})
	r := connect(t, f, "127.0.0.1")
	at, ok := selected(r.pc)
	if !ok {
		t.Fatal("nothing is selected")
	}
	end := time.Now().Add(4 * time.Second)
	for ; time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f.udp.gone.complain(at, time.Now()) {
			t.Fatal("held for gone while it answers")
		}
	}
	r.says(t, "still here")
}
