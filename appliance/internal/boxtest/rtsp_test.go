package boxtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

// rtspCamera starts an RTSP camera that ends with the test.
func rtspCamera(t *testing.T, c Clip, conf RTSPConfig) *RTSPCamera {
	t.Helper()
	r, err := NewRTSPCamera(c, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Cut)
	return r
}

func TestRTSPCameraComesAndGoes(t *testing.T) {
	small, large := clip(t, 640, 360), clip(t, 800, 448)
	source := rtspCamera(t, small, RTSPConfig{})
	b := start(t, fmt.Sprintf(`
cameras:
  - id: yard
    name: Yard
    source: %s
    model: motion
    stall_after: 2s
    picture: {keyframe_interval: 1s}
`, source.URL("", "")))
	rec := &recorder{}
	v := watch(t, b, "yard", viewer.Options{OnUnit: rec.take})
	seen(t, v, 20*time.Second, "first pictures", func(s viewer.Stats) bool { return s.Units > 0 })
	c := await(t, b, "yard", 10*time.Second, "plays, and sees the block", func(c Camera) bool { return playing(c) && len(c.Objects) == 1 && c.Objects[0].Y1-c.Objects[0].Y0 > 90 })
	if c.Stream.Width != 640 || c.Stream.Height != 360 || c.Analyser != "motion" || c.Reason != "" {
		t.Errorf("the camera plays as %+v", c)
	}
	balanced(t, c)
	from := time.Now()
	more(t, v, clipFrames, 15*time.Second, "a round of the clip")
	showsBlock(t, decode(t, rec.since(from)), 640, 360)

	// The plug is pulled: a reason, and the same viewer sees the slate.
	source.Cut()
	cut := time.Now()
	c = await(t, b, "yard", 10*time.Second, "is offline", func(c Camera) bool { return c.State == "offline" })
	t.Logf("cut; after %v offline: %s", time.Since(cut).Round(time.Millisecond), c.Reason)
	if err := oneLine(c.Reason); err != nil {
		t.Errorf("the reason: %v", err)
	}
	if c.Since.Before(cut.Add(-2*time.Second)) || c.Since.After(time.Now()) {
		t.Errorf("offline since %v, cut at %v", c.Since, cut)
	}
	s := more(t, v, 5, 20*time.Second, "the slate")
	t.Logf("the fifth picture after the cut came %v after it", s.LastUnit.Sub(cut).Round(time.Millisecond))
	from = time.Now()
	more(t, v, 10, 20*time.Second, "more of the slate")
	showsSlate(t, decode(t, rec.since(from)))

	// It comes back: pictures, without a new negotiation.
	if err := source.Mend(); err != nil {
		t.Fatal(err)
	}
	mended := time.Now()
	await(t, b, "yard", 45*time.Second, "plays again", playing)
	t.Logf("mended; playing after %v", time.Since(mended).Round(time.Millisecond))
	seen(t, v, 10*time.Second, "pictures again", func(s viewer.Stats) bool { return s.LastUnit.After(mended) })
	time.Sleep(500 * time.Millisecond)
	from = time.Now()
	more(t, v, clipFrames, 15*time.Second, "a round of the clip again")
	showsBlock(t, decode(t, rec.since(from)), 640, 360)

	// It changes its resolution under way.
	source.Play(large)
	s = seen(t, v, 15*time.Second, "the new size", func(s viewer.Stats) bool { return s.Width == 800 && s.Height == 448 })
	c = await(t, b, "yard", 5*time.Second, "reports the new size", func(c Camera) bool { return c.Stream.Width == 800 })
	from = time.Now()
	more(t, v, clipFrames, 15*time.Second, "a round of the new size")
	showsBlock(t, decode(t, rec.since(from)), 800, 448)
	if c.Restarts.Count > 20 {
		t.Errorf("%d restarts", c.Restarts.Count)
	}

	// It falls silent without a word: the worker is killed after stall_after.
	pid := camera(t, b, "yard").Worker.PID
	silent := time.Now()
	source.Silence(true)
	c = await(t, b, "yard", 10*time.Second, "has stalled", func(c Camera) bool { return c.State == "offline" })
	t.Logf("silent; after %v: %s", time.Since(silent).Round(time.Millisecond), c.Reason)
	if d := time.Since(silent); d < 1500*time.Millisecond {
		t.Errorf("it counted as stalled after %v, before stall_after", d)
	}
	if !strings.Contains(c.Reason, "2s") {
		t.Errorf("the reason does not say for how long: %q", c.Reason)
	}
	await(t, b, "yard", 10*time.Second, "has another worker, or none", func(c Camera) bool { return c.Worker.PID != pid })
	if Alive(pid) {
		t.Errorf("the worker that stalled is still there")
	}
	more(t, v, 5, 20*time.Second, "the slate")
	source.Silence(false)
	await(t, b, "yard", 45*time.Second, "plays again after the stall", playing)
	c = camera(t, b, "yard")
	balanced(t, c)
	s = more(t, v, 30, 10*time.Second, "pictures after the stall")
	if s.Damaged != 0 || s.Lost != 0 {
		t.Errorf("the viewer lost packets: %+v", s)
	}
	if strings.Contains(b.Log(), "level=ERROR") {
		t.Error("the log has errors")
	}
}

// showsBlock fails the test unless the pictures, which are of more than one round
// of the clip, show its block moving, in a coloured box that holds it.
func showsBlock(t *testing.T, looks []look, w, h int) {
	t.Helper()
	bx0, y0, bx1, y1 := block(w, h, 0)
	places, whole, framed := map[int]bool{}, 0, 0
	for i, l := range looks {
		if l.width != w || l.height != h || l.corrupt {
			t.Fatalf("picture %d of %d is %dx%d, corrupt %t", i, len(looks), l.width, l.height, l.corrupt)
		}
		tol := w / 20
		if l.right-l.left < bx1-bx0-tol {
			continue // it is coming in, going out, or away
		}
		places[l.left/8] = true
		whole++
		b := l.colouredBounds
		if b[0] > l.left-tol && b[0] < l.left+tol && b[2] > l.right-tol && b[2] < l.right+2*tol &&
			b[3] > y1-tol && b[3] < y1+tol && b[1] < y0+tol {
			framed++
		} else if framed == 0 {
			t.Logf("picture %d: block %d..%d x %d..%d, coloured %v", i, l.left, l.right, y0, y1, b)
		}
	}
	t.Logf("%d pictures, %d with the block in %d places, %d of them in its box", len(looks), whole, len(places), framed)
	if len(places) < 10 {
		t.Errorf("the block moves through %d places in %d pictures", len(places), len(looks))
	}
	if framed < whole*8/10 {
		t.Errorf("of %d pictures with the block %d have a box around it", whole, framed)
	}
}

// showsSlate fails the test if the block is still to be seen.
func showsSlate(t *testing.T, looks []look) {
	t.Helper()
	if len(looks) == 0 {
		t.Fatal("nothing of the slate could be decoded")
	}
	for i, l := range looks {
		if l.corrupt || l.right-l.left > l.width/5 && l.ground > groundLuma-8 && l.ground < groundLuma+8 {
			t.Errorf("picture %d of the slate shows the camera's: %+v", i, l)
		}
	}
}
