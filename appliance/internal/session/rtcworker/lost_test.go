package rtcworker

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// errEnough breaks an upload off.
var errEnough = errors.New("enough")

// A client that vanishes without a word, at whatever stage, leaves nothing: no place,
// process, upload or goroutine.
func TestVanish(t *testing.T) {
	const lost = 2 * time.Second // until ICE finds out
	stages := map[string]struct {
		ask client.Request
		o   client.WorkerOptions
		to  func(t *testing.T, b *box, w *client.Worker)
	}{
		"answered": {asks(plays("frames=10")), client.WorkerOptions{}, func(*testing.T, *box, *client.Worker) {}},
		"connected": {asks(), client.WorkerOptions{Upload: true}, func(t *testing.T, b *box, w *client.Worker) {
			if err := w.Connected(within(t)); err != nil {
				t.Fatal(err)
			}
		}},
		"uploading": {asks(), client.WorkerOptions{Upload: true}, func(t *testing.T, b *box, w *client.Worker) {
			f := film("", 3<<20)
			f.Before = func(sent int) error {
				if sent == 30 {
					return errEnough
				}
				return nil
			}
			if err := w.Upload(within(t), f); !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			b.keeps(1)
		}},
		"starting": {asks(plays("hang=1")), client.WorkerOptions{}, func(t *testing.T, b *box, w *client.Worker) {
			b.until(func(l *life) bool { return l.live })
		}},
		"running": {asks(plays("frames=100000&size=20000")), client.WorkerOptions{}, func(t *testing.T, b *box, w *client.Worker) {
			if _, err := w.Next(within(t)); err != nil {
				t.Fatal(err)
			}
		}},
		"reading nothing": {asks(plays("frames=100000&size=500000")), client.WorkerOptions{ReceiveBuffer: 64 << 10}, func(t *testing.T, b *box, w *client.Worker) {
			b.until(func(l *life) bool { return l.sender.waiting() > 3 })
		}},
		"filming": {asks(), client.WorkerOptions{Send: client.H264, Receive: client.H264}, func(t *testing.T, b *box, w *client.Worker) {
			for i := range 30 {
				u := client.Unit{Codec: client.H264, Keyframe: i == 0, Timestamp: uint32(i * 3000), Data: fakePicture(link.H264, i == 0, 500)}
				if err := w.Send(within(t), u); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.Next(within(t)); err != nil {
				t.Fatal(err)
			}
		}},
		"ending": {asks(plays("frames=30&size=300000")), client.WorkerOptions{ReceiveBuffer: 64 << 10}, func(t *testing.T, b *box, w *client.Worker) {
			for range 20 {
				d, err := w.Next(within(t))
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Ack(within(t), d.Frame+10); err != nil {
					t.Fatal(err)
				}
			}
			b.until(func(l *life) bool { return l.finished != nil })
		}},
	}
	for name, s := range stages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, setting{peers: peer.Config{Timeout: lost}, config: Config{Setup: lost, QueueBytes: 5 << 20}})
			w := b.dial(s.ask, s.o)
			s.to(t, b, w)
			if err := w.Break(); err != nil {
				t.Error(err)
			}
			broke := time.Now()
			b.empty()
			b.keeps(0)
			if took := time.Since(broke); took > lost+5*time.Second {
				t.Errorf("it took %v to be gone", took)
			}
		})
	}
}

// A client whose process is gone is missed at once where the network says so, however
// long ICE would wait for it; one that is merely silent is waited for.
func TestUnreachable(t *testing.T) {
	b := start(t, setting{peers: peer.Config{Timeout: peer.DefaultTimeout}})
	ask := asks(plays("frames=100000&size=20000"))
	gone, silent := b.dial(ask, client.WorkerOptions{}), b.dial(ask, client.WorkerOptions{})
	for _, w := range []*client.Worker{gone, silent} {
		if _, err := w.Next(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	silent.Mute()
	if err := gone.Break(); err != nil {
		t.Error(err)
	}
	broke := time.Now()
	for len(b.List()) > 1 {
		if time.Since(broke) > patience {
			t.Fatal("nobody is missed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if took := time.Since(broke); took > 5*time.Second || b.ended() != "peer_lost" {
		t.Errorf("after %v: %s", took, b.ended())
	}
	time.Sleep(time.Until(broke.Add(6 * time.Second)))
	if n := len(b.List()); n != 1 {
		t.Errorf("%d sessions are left, want the silent one", n)
	}
}

// A request that panics leaves no place taken and no connection behind.
func TestPanicLeavesNothing(t *testing.T) {
	b := start(t, setting{panics: "session answered", config: Config{Most: 2}})
	before := runtime.NumGoroutine()
	for range 4 {
		w, err := client.Initialise(within(t), b.url, asks(plays("frames=10")), client.WorkerOptions{Receive: client.VP8})
		if err == nil {
			_ = w.Close()
			t.Fatal("it did not panic")
		}
		if refused := (*client.Refused)(nil); errors.As(err, &refused) {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); strings.Count(b.log.String(), `msg="session ended"`) < 4 || runtime.NumGoroutine() > before+8; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
	for _, f := range b.d.Queues.Figures() {
		if f.Instances > 0 && strings.HasPrefix(f.Name, "session ") && f.Name != "session requests" && f.Name != bytesQueue {
			t.Errorf("%+v", f)
		}
	}
	b.empty()
}

// A client that says that it goes is not waited for.
func TestLeave(t *testing.T) {
	b := start(t, setting{})
	w := b.dial(asks(plays("frames=100000&size=20000")), client.WorkerOptions{})
	if _, err := w.Next(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	left := time.Now()
	b.empty()
	if took := time.Since(left); took > 5*time.Second || b.ended() != "peer_left" {
		t.Errorf("%v, %s", took, b.ended())
	}
}

// Sessions that are broken off anywhere leave the process as it was.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	b := start(t, setting{peers: peer.Config{Timeout: 2 * time.Second}, config: Config{Setup: 2 * time.Second, Most: 64, QueueBytes: 200_000}})
	round := func(seed uint64) {
		ends := make(chan error, 6)
		for i := range cap(ends) {
			go func() { ends <- b.breakOff(rand.New(rand.NewPCG(seed, uint64(i)))) }()
		}
		for range cap(ends) {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
		b.empty()
		b.keeps(0)
	}
	round(0) // what is made once
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for seed := range uint64(2) {
		round(seed + 1)
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines+4 || openFiles(t) > files+4; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, before %d; %d files, before %d", runtime.NumGoroutine(), goroutines, openFiles(t), files)
		}
	}
}

// breakOff opens a session and breaks it off at some point.
func (b *box) breakOff(rng *rand.Rand) error {
	ask := []client.Request{
		asks(plays("frames=100000&size=%d", rng.IntN(100_000))), asks(plays("hang=1")), asks(plays("frames=5&crash=3")),
		asks(), asks(func(r *client.Request) { r.Realtime = true }),
	}[rng.IntN(5)]
	o := client.WorkerOptions{Upload: rng.IntN(2) == 0, Receive: []string{"", client.VP8, client.H264}[rng.IntN(3)]}
	ctx := within(b.t)
	w, err := client.Initialise(ctx, b.url, ask, o)
	if err != nil {
		return err
	}
	if o.Upload && rng.IntN(2) == 0 {
		if err := w.Upload(ctx, film("frames=10", 1+rng.IntN(300_000))); err != nil && !errors.Is(err, client.ErrLost) {
			b.t.Log("upload:", err) // on a slow machine the box may have given it up already
		}
	}
	time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
	if rng.IntN(2) == 0 {
		return w.Close()
	}
	return w.Break()
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
