package boxtest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

// eyes is what looks at the page's pixels.
//
//go:embed testdata/eyes.js
var eyes string

// browser starts Chromium as the pages are meant to be seen: with WebRTC on
// loopback. What a page throws fails the test. Flags are added to the command line.
func browser(t *testing.T, flags ...string) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the pages were not played in a browser")
	}
	o := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.Headless, chromedp.WindowSize(1280, 1000)}
	for _, flag := range append(flags,
		"no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync",
		"allow-loopback-in-peer-connection",
	) {
		o = append(o, chromedp.Flag(flag, true))
	}
	o = append(o, chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), o...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("end the browser: %v", err)
		}
		cancel()
	})
	chromedp.ListenTarget(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page threw: %v", e.ExceptionDetails)
		}
	})
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// sees waits until a script gives a text that holds want.
func sees(t *testing.T, ctx context.Context, within time.Duration, script, want string) string {
	t.Helper()
	var got string
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		do(t, ctx, chromedp.Evaluate(`String(`+script+`)`, &got))
		if strings.Contains(got, want) {
			return got
		}
	}
	t.Fatalf("%s is %q after %v, want %q", script, got, within, want)
	return ""
}

func player(id, field string) string {
	return fmt.Sprintf(`document.querySelector('[data-testid=player][data-camera=%s]')?.dataset.%s`, id, field)
}

// sighting is what eyes.js reports of the frames of one player.
type sighting struct {
	Frames  int     `json:"frames"`  // shown and looked at
	Moved   float64 `json:"moved"`   // mean change of luma from frame to frame
	Matched int     `json:"matched"` // frames whose own detections are known, with a box
	Boxes   int     `json:"boxes"`   // in these
	// On is the share of the boxes' outlines that has the objects' colours, by the
	// detections of the very frame; Off the same for outlines beside them.
	On  float64 `json:"on"`
	Off float64 `json:"off"`
	// Good is how many boxes have their outline where it should be, and not beside.
	Good   int      `json:"good"`
	Labels []string `json:"labels"`
	Trace  []string `json:"trace"`
}

// look watches a player for some seconds.
func lookAtPlayer(t *testing.T, ctx context.Context, id string, seconds float64) sighting {
	t.Helper()
	var text string
	do(t, ctx, chromedp.Evaluate(eyes, nil),
		chromedp.Evaluate(fmt.Sprintf(`watchpostEyes(%q, %g)`, id, seconds), &text,
			func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var s sighting
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	t.Logf("%s: %d frames, moved %.2f, %d with %d boxes (%v), %d good; of the outlines %.0f %% have the colour, beside them %.0f %%",
		id, s.Frames, s.Moved, s.Matched, s.Boxes, s.Labels, s.Good, 100*s.On, 100*s.Off)
	for _, line := range s.Trace {
		t.Log(line)
	}
	return s
}

// boxesAreRight fails the test unless the boxes in the pixels are those of the
// detections. A model that a frame does not wait for leaves boxes to be drawn where
// the tracker expects them, so that a share of them may be elsewhere.
func boxesAreRight(t *testing.T, s sighting, share float64) {
	t.Helper()
	if s.Frames < 20 || s.Moved < 0.05 {
		t.Errorf("%d frames were shown, and moved by %.2f", s.Frames, s.Moved)
	}
	if s.Matched < 10 || float64(s.Good) < share*float64(s.Boxes) || s.On < 0.5 || s.Off > s.On/2 {
		t.Errorf("the boxes are not where the detections say: %+v", s)
	}
}

func TestBrowserPlays(t *testing.T) {
	needModel(t)
	source := rtspCamera(t, clip(t, 640, 360), RTSPConfig{})
	b := start(t, fmt.Sprintf(`
cameras:
  - {id: yard, name: The yard, source: "%s", model: motion}
  - {id: hall, name: The hall, source: "%s", model: yolox-nano}
`, source.URL("", ""), media(t, "video/one-by-one-person-detection.mp4")))
	ctx := browser(t)

	t.Run("grid", func(t *testing.T) {
		do(t, ctx, chromedp.Navigate(b.URL+"/"))
		for _, id := range []string{"yard", "hall"} {
			sees(t, ctx, 30*time.Second, player(id, "state"), "playing")
		}
		sees(t, ctx, 5*time.Second, `document.querySelector('#link').textContent`, "Connected to the box")
		if s := lookAtPlayer(t, ctx, "yard", 2); s.Frames < 20 || s.Moved < 0.05 {
			t.Errorf("the picture of the yard stands: %+v", s)
		}
	})
	t.Run("boxes of motion", func(t *testing.T) {
		do(t, ctx, chromedp.Navigate(b.URL+"/cameras/yard"))
		sees(t, ctx, 30*time.Second, player("yard", "state"), "playing")
		await(t, b, "yard", 20*time.Second, "sees the block", func(c Camera) bool { return len(c.Objects) > 0 })
		boxesAreRight(t, lookAtPlayer(t, ctx, "yard", 6), 0.8)
	})
	t.Run("cut and mended", func(t *testing.T) {
		do(t, ctx, chromedp.Evaluate(`window.sameDocument = "the same page"; true`, nil))
		source.Cut()
		said := sees(t, ctx, 20*time.Second, player("yard", "reason"), "Offline since ")
		sees(t, ctx, time.Second, player("yard", "state"), "no-picture")
		shown := sees(t, ctx, time.Second, `document.querySelector('[data-testid=player-reason]').innerText`, "Offline since ")
		t.Logf("the page says: %s", shown)
		if c := camera(t, b, "yard"); c.Reason == "" || !strings.Contains(said, ":") {
			t.Errorf("the page says %q, the camera's reason is %q", said, c.Reason)
		}
		if err := source.Mend(); err != nil {
			t.Fatal(err)
		}
		sees(t, ctx, 60*time.Second, player("yard", "state"), "playing")
		sees(t, ctx, time.Second, `window.sameDocument`, "the same page")
		if s := lookAtPlayer(t, ctx, "yard", 2); s.Frames < 20 || s.Moved < 0.05 {
			t.Errorf("the picture stands after it came back: %+v", s)
		}
	})
	t.Run("boxes of the model", func(t *testing.T) {
		do(t, ctx, chromedp.Navigate(b.URL+"/cameras/hall"))
		sees(t, ctx, 30*time.Second, player("hall", "state"), "playing")
		await(t, b, "hall", 60*time.Second, "sees a person", func(c Camera) bool {
			for _, o := range c.Objects {
				if o.Label == "person" {
					return true
				}
			}
			return false
		})
		boxesAreRight(t, lookAtPlayer(t, ctx, "hall", 6), 0.8)
		sees(t, ctx, 5*time.Second, `document.querySelector('[data-testid=balance]').textContent`, "Balanced")
	})
	if c := camera(t, b, "hall"); c.Restarts.Count != 0 {
		t.Errorf("the hall's worker was started anew: %+v", c.Restarts)
	}
	balanced(t, camera(t, b, "hall"))
	balanced(t, camera(t, b, "yard"))
}

// TestViewerWithoutH264 has one that plays VP8 only, beside one that plays H.264:
// a second encode runs while it watches, and no longer.
func TestViewerWithoutH264(t *testing.T) {
	b := start(t, "cameras:\n  - {id: yard, source: 'test:ball', model: motion, capture: {width: 320, height: 240, fps: 15}}\n")
	v := watch(t, b, "yard", viewer.Options{})
	more(t, v, 5, 20*time.Second, "H.264 pictures")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := b.Watch(ctx, "yard", viewer.Options{Codec: viewer.VP8, TCP: true})
	if err != nil {
		t.Fatal(err)
	}
	s := more(t, w, 30, 20*time.Second, "VP8 pictures over TCP")
	if s.Codec != viewer.VP8 || s.Width != 320 || s.Height != 240 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	sent := camera(t, b, "yard").Ledger
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	await(t, b, "yard", 5*time.Second, "one viewer is left", func(c Camera) bool { return c.Viewers == 1 })
	if s := more(t, v, 15, 10*time.Second, "H.264 pictures after the other has left"); s.Lost != 0 || s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
	if sent.PicturesSent == 0 || sent.Dropped > sent.Decoded/2 {
		t.Errorf("%+v", sent)
	}
}
