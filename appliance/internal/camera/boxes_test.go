package camera

import (
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// How boxes are seen is what the configuration asks for, until a worker knows
// better; and detections have the times of the pictures that they are of.
func TestWhoDrawsBoxes(t *testing.T) {
	const reason = "it has B-frames"
	f := &fakes{live: func(_ int, p *fakeProc) link.Exit {
		for n := range 50 {
			at := time.Duration(n) * 100 * time.Millisecond
			p.say(link.KindAccessUnit, link.AccessUnit{Codec: link.H264, Own: true, Keyframe: n == 0, PTS: at, Data: []byte("own")})
			if n == 10 {
				p.say(link.KindStatus, link.Status{State: link.Playing, Boxes: link.BoxesBurned, BoxesReason: reason})
			}
			p.idle(30 * time.Millisecond) // the analysis
			p.say(link.KindDetections, link.Detections{PTS: at, Width: 640, Height: 360})
			if !p.idle(70 * time.Millisecond) {
				break
			}
		}
		return link.Exit{}
	}}
	ask := func(c *Config) { c.Start.Picture.Boxes = link.BoxesClient }
	bubble(t, f, ask, func(c *Camera, out *lockedSink) {
		found := c.Detections()
		defer found.Close()
		if s := c.Snapshot(); s.Boxes != link.BoxesClient {
			t.Errorf("before the worker says anything: %q", s.Boxes)
		}
		times := map[time.Duration]bool{}
		for n := range 30 {
			d := <-found.C
			out.mu.Lock()
			u := out.units[len(out.units)-1]
			out.mu.Unlock()
			times[d.PTS] = true
			if u.PTS != d.PTS || !u.Own {
				t.Errorf("detections %d are of %v, the picture is of %v", n, d.PTS, u.PTS)
			}
		}
		if len(times) != 30 {
			t.Errorf("%d times of 30 pictures", len(times))
		}
		if s := c.Snapshot(); s.Boxes != link.BoxesBurned || s.BoxesReason != reason {
			t.Errorf("after the worker's word: %q, %q", s.Boxes, s.BoxesReason)
		}
	})
}
