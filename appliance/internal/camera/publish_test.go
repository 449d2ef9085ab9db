package camera

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Media implements Feeder.
func (p *fakeProc) Media(u link.AccessUnit) bool {
	p.tell(u)
	return true
}

// fed is what a fake worker was given.
func (p *fakeProc) fed() (units []link.AccessUnit) {
	for _, v := range p.heard() {
		if u, ok := v.(link.AccessUnit); ok {
			units = append(units, u)
		}
	}
	return units
}

func published(c *Config) {
	c.Published = true
	c.Start.Source = link.Source{URL: "whip:"}
}

// playFed plays as long as it is fed, as a worker does.
func playFed(_ int, p *fakeProc) link.Exit {
	for n := 0; ; {
		if have := len(p.fed()); have > n {
			if n == 0 {
				p.say(link.KindStatus, link.Status{State: link.Playing})
			}
			n = have
			p.say(link.KindAccessUnit, link.AccessUnit{Codec: link.H264, Keyframe: true, PTS: time.Duration(n) * time.Millisecond, Data: []byte("live")})
		}
		p.say(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: uint64(n), Inferred: uint64(n)}})
		if !p.idle(50 * time.Millisecond) {
			return link.Exit{}
		}
	}
}

func TestPublishersComeAndGo(t *testing.T) {
	f := &fakes{live: playFed}
	bubble(t, f, published, func(c *Camera, out *lockedSink) {
		c.Want(true, false)
		time.Sleep(time.Second)
		s := c.Snapshot()
		if s.State != Offline || s.Reason != reasonWaiting || len(f.of("live")) != 0 || !s.Slate {
			t.Fatalf("nobody publishes: %s, %q, %d live workers, slate %v", s.State, s.Reason, len(f.of("live")), s.Slate)
		}
		if text := f.of("slate")[0].start.Slate; text != reasonWaiting {
			t.Errorf("the slate says %q", text)
		}

		var asked atomic.Int64
		p := c.Publish(func() { asked.Add(1) })
		time.Sleep(time.Second)
		if len(f.of("live")) != 0 {
			t.Error("a worker runs before the first picture")
		}
		p.Give(link.AccessUnit{Codec: link.VP8, Data: []byte("delta")})
		if asked.Load() != 1 {
			t.Errorf("%d requests for a keyframe, want one: it begins in the middle", asked.Load())
		}
		for i := range 20 {
			p.Give(link.AccessUnit{Codec: link.VP8, Keyframe: i == 0, PTS: time.Duration(i), Data: []byte("x")})
			time.Sleep(50 * time.Millisecond)
		}
		w := f.of("live")[0]
		if w.start.Source.URL != "peer:vp8" || len(w.fed()) != 20 || !w.fed()[0].Keyframe || asked.Load() != 1 {
			t.Errorf("%s was fed %d pictures; %d requests", w.start.Source.URL, len(w.fed()), asked.Load())
		}
		if s := c.Snapshot(); s.State != Playing || s.Slate {
			t.Errorf("while published: %s, %q, slate %v", s.State, s.Reason, s.Slate)
		}
		w.say(link.KindRefresh, nil)
		if asked.Load() != 2 {
			t.Error("the decoder's request for a keyframe did not reach the publisher")
		}

		p.End()
		p.Give(link.AccessUnit{Codec: link.VP8, Keyframe: true, Data: []byte("late")})
		time.Sleep(time.Second)
		if s := c.Snapshot(); s.State != Offline || s.Reason != reasonWaiting || w.running() || !s.Slate {
			t.Errorf("after it left: %s, %q, worker runs %v, slate %v", s.State, s.Reason, w.running(), s.Slate)
		}

		// The next comes at once, with another codec, and counts as no restart.
		q := c.Publish(func() {})
		for i := range 10 {
			q.Give(link.AccessUnit{Codec: link.H264, Keyframe: i == 0, Data: []byte("x")})
			time.Sleep(50 * time.Millisecond)
		}
		if n := len(f.of("live")); n != 2 || f.of("live")[1].start.Source.URL != "peer:h264" {
			t.Fatalf("%d live workers", n)
		}
		if s := c.Snapshot(); s.State != Playing || s.Restarts != 0 {
			t.Errorf("%s after %d restarts", s.State, s.Restarts)
		}
		// A third takes the second's place without an end between them.
		r := c.Publish(func() {})
		for i := range 10 {
			r.Give(link.AccessUnit{Codec: link.H264, Keyframe: i == 0, Data: []byte("y")})
			time.Sleep(50 * time.Millisecond)
		}
		q.End()
		time.Sleep(time.Second)
		if n := len(f.of("live")); n != 3 || !f.of("live")[2].running() || f.of("live")[1].running() {
			t.Errorf("%d live workers", n)
		}
	})
}

// A worker that dies is started anew on the same publisher's pictures, and one whose
// publisher falls silent makes way until there are some again.
func TestPublisherOutlivesWorkers(t *testing.T) {
	f := &fakes{live: func(n int, p *fakeProc) link.Exit {
		if n == 0 {
			p.idle(time.Second)
			return errExit
		}
		return playFed(n, p)
	}}
	bubble(t, f, published, func(c *Camera, _ *lockedSink) {
		var asked atomic.Int64
		p := c.Publish(func() { asked.Add(1) })
		give := func(n int) {
			for i := range n {
				p.Give(link.AccessUnit{Codec: link.H264, Keyframe: i%30 == 0, Data: []byte("x")})
				time.Sleep(50 * time.Millisecond)
			}
		}
		give(100)
		w := f.of("live")
		if len(w) != 2 || !w[1].fed()[0].Keyframe || asked.Load() == 0 {
			t.Fatalf("%d workers, %d requests for keyframes", len(w), asked.Load())
		}
		time.Sleep(30 * time.Second)
		s := c.Snapshot()
		if s.State != Stalled || s.Reason != reasonSilent || len(f.of("live")) != 2 || w[1].running() {
			t.Errorf("silent: %s, %q, %d workers", s.State, s.Reason, len(f.of("live")))
		}
		give(40)
		if s := c.Snapshot(); s.State != Playing || len(f.of("live")) != 3 {
			t.Errorf("it goes on: %s, %q, %d workers", s.State, s.Reason, len(f.of("live")))
		}
	})
}

// TestHeldPictures: what waits for a worker is bounded, and begins with a keyframe.
func TestHeldPictures(t *testing.T) {
	f := &fakes{live: playFed}
	bubble(t, f, published, func(c *Camera, _ *lockedSink) {
		var asked atomic.Int64
		p := &Publication{c: c, refresh: func() { asked.Add(1) }, broken: true, begun: true}
		big := make([]byte, 1<<20)
		for i := range 200 {
			p.Give(link.AccessUnit{Codec: link.VP8, Keyframe: i%100 == 0, Data: big})
			if p.bytes > heldBytes || len(p.held) > heldUnits || len(p.held) > 0 && !p.held[0].Keyframe {
				t.Fatalf("%d pictures of %d bytes are held", len(p.held), p.bytes)
			}
		}
		if asked.Load() == 0 {
			t.Error("no keyframe was asked for")
		}
		p.End()
	})
}
