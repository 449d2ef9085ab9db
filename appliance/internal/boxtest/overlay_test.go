package boxtest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

//go:embed testdata/overlay.js
var overlayScript string

// clipFile is the clip with the block as a file, keyframes gop frames apart.
func clipFile(t *testing.T, w, h, gop int) string {
	t.Helper()
	gstreamer(t)
	path := filepath.Join(t.TempDir(), "block.mp4")
	enc, err := engine.NewEncoder(plan.Encode{Codec: "h264", Width: w, Height: h, FPSNum: clipFPS, FPSDen: 1, GOP: gop, Path: path,
		Elements: []string{"openh264enc"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range clipFrames {
		f, err := engine.NewFrame(plan.I420, w, h)
		if err != nil {
			t.Fatal(err)
		}
		paint(f, n)
		f.PTS = time.Duration(n) * time.Second / clipFPS
		if err := enc.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// overlaid is what testdata/overlay.js reports.
type overlaid struct {
	Frames, Drawn, Exact, Boxes int
	On, Points                  int // of points on outlines: those in an object's colour
	Inside, InsidePoints        int // of points inside boxes: those left free
	Offsets                     []float64
	DrawnOffsets                []float64 // pixels from the block to the box that is drawn, its own or a moved one
	Behind                      []float64 // ms from the boxes' frame to the one on show
	Lag                         []float64 // ms from the frame on show to that of the newest boxes
	Width                       int
}

func lookAtOverlay(t *testing.T, ctx context.Context, id string, seconds float64) overlaid {
	t.Helper()
	var text string
	do(t, ctx, chromedp.Evaluate(fmt.Sprintf(`watchpostOverlay(%q, %g)`, id, seconds), &text,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var o overlaid
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// The page draws the boxes of a camera whose own H.264 is shown: no encoder runs,
// the canvas has them where the detections of the frame on show say, and that is
// where the object is in the picture.
func TestPageDrawsBoxes(t *testing.T) {
	path := clipFile(t, 640, 360, clipFrames)
	b := start(t, fmt.Sprintf("cameras:\n  - {id: block, source: %q, model: motion, boxes: client}\n  - {id: thin, source: %q, model: motion, boxes: client, max_fps: 5}\n", path, path))
	await(t, b, "block", 20*time.Second, "playing", playing)
	ctx := browser(t)
	do(t, ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(overlayScript).Do(ctx)
		return err
	}), chromedp.Navigate(b.URL+"/cameras/block"))
	sees(t, ctx, 30*time.Second, player("block", "state"), "playing")
	time.Sleep(4 * time.Second) // the picture learns how long its boxes take
	o := lookAtOverlay(t, ctx, "block", 8)
	off := median(slices.Clone(o.Offsets))
	t.Logf("%d frames, %d with boxes, %d of them with their own; of the outlines %d of %d points, free inside %d of %d; box to block %.1f px (median of %d); boxes %.0f ms behind (median)",
		o.Frames, o.Drawn, o.Exact, o.On, o.Points, o.Inside, o.InsidePoints, off, len(o.Offsets), median(slices.Clone(o.Behind)))
	if shot := os.Getenv("WATCHPOST_SCREENSHOT"); shot != "" {
		var png []byte
		do(t, ctx, chromedp.CaptureScreenshot(&png))
		if err := os.WriteFile(shot, png, 0o600); err != nil {
			t.Error(err)
		}
	}
	// How many frames a browser without a GPU shows is the machine's affair; what
	// is in them is not.
	if o.Frames < 40 || o.Drawn < o.Frames/2 || o.Boxes < 10 || o.Exact < o.Boxes/2 {
		t.Errorf("too few frames, boxes or matches: %+v", o)
	}
	if o.On < o.Points*9/10 || o.Inside < o.InsidePoints*9/10 {
		t.Error("boxes are not drawn where the detections say")
	}
	if math.IsNaN(off) || math.Abs(off) > 15 {
		t.Errorf("the boxes of a frame are %.1f px beside the object in its picture", off)
	}
	c := camera(t, b, "block")
	balanced(t, c)
	if c.Encoder != "" || c.Boxes != "client" || c.Ledger.PicturesSent < 100 {
		t.Errorf("encoder %q, boxes %q (%s), %d pictures", c.Encoder, c.Boxes, c.BoxesReason, c.Ledger.PicturesSent)
	}
	// Most frames of this one are not analysed: boxes are moved to where the object
	// is on those. Left where they were they would be 25 pixels off.
	do(t, ctx, chromedp.Navigate(b.URL+"/cameras/thin"))
	sees(t, ctx, 30*time.Second, player("thin", "state"), "playing")
	time.Sleep(4 * time.Second)
	o = lookAtOverlay(t, ctx, "thin", 8)
	off = median(slices.Clone(o.DrawnOffsets))
	for i := range o.DrawnOffsets {
		o.DrawnOffsets[i] = math.Abs(o.DrawnOffsets[i] - off)
	}
	t.Logf("at 5 analyses a second: %d frames, %d with their own boxes; box drawn to block %.1f px, spread %.1f (medians of %d)",
		o.Frames, o.Exact, off, median(o.DrawnOffsets), len(o.DrawnOffsets))
	if o.Frames < 40 || len(o.DrawnOffsets) < max(10, o.Frames/5) || o.Exact > o.Frames/2 {
		t.Errorf("too few frames or boxes on them: %+v", o)
	}
	if math.Abs(off) > 15 {
		t.Errorf("the boxes of frames that were not analysed are %.1f px beside the object", off)
	}
	// A player without H.264 gets boxes on the picture.
	v := watch(t, b, "block", viewer.Options{Codec: "vp8"})
	more(t, v, 20, 10*time.Second, "VP8")
}

// Where a camera's own picture cannot be shown, boxes are burned in, and it is said why.
func TestBoxesBurnedAfterAll(t *testing.T) {
	b := start(t, fmt.Sprintf("cameras:\n  - {id: b, source: %q, model: motion, boxes: client}\n  - {id: demo, source: 'demo:', model: motion, boxes: client}\n",
		media(t, "video/face_h264.mp4")))
	for _, id := range []string{"b", "demo"} {
		c := await(t, b, id, 20*time.Second, "playing with boxes burned in", func(c Camera) bool { return playing(c) && c.Boxes == "burned" })
		if err := oneLine(c.BoxesReason); err != nil {
			t.Errorf("%s: the reason: %v", id, err)
		}
		v := watch(t, b, id, viewer.Options{})
		more(t, v, 20, 10*time.Second, "H.264")
		if c := camera(t, b, id); c.Encoder == "" {
			t.Errorf("%s: no encoder", id)
		}
	}
}

// A camera's own picture costs its worker no drawing and no encoding.
func TestOwnPictureIsCheap(t *testing.T) {
	path := media(t, "video/face_h264_nobframes.mp4")
	b := start(t, fmt.Sprintf("cameras:\n  - {id: burned, source: %q, model: motion}\n  - {id: client, source: %q, model: motion, boxes: client}\n", path, path))
	cost := map[string]float64{}
	for _, id := range []string{"burned", "client"} {
		await(t, b, id, 20*time.Second, "playing", playing)
		v := watch(t, b, id, viewer.Options{})
		more(t, v, 30, 10*time.Second, "pictures")
		before, units, began := camera(t, b, id).Worker.CPU, v.Stats().Units, time.Now()
		time.Sleep(8 * time.Second)
		after, shown, took := camera(t, b, id).Worker.CPU, v.Stats().Units-units, time.Since(began)
		cost[id] = (after - before) / took.Seconds()
		t.Logf("%s: the worker takes %.0f %% of a processor at %.1f pictures a second", id, 100*cost[id], float64(shown)/took.Seconds())
		if shown < 150 {
			t.Errorf("%s: %d pictures in %v", id, shown, took)
		}
	}
	if cost["client"] > 0.8*cost["burned"] {
		t.Error("to leave out the encoder saves nothing")
	}
}

// Who joins far from a keyframe has a picture at once, and is not behind.
func TestJoinInALongGroup(t *testing.T) {
	// Four seconds, and one keyframe.
	b := start(t, fmt.Sprintf("cameras:\n  - {id: block, source: %q, model: motion, boxes: client}\n", clipFile(t, 640, 360, clipFrames)))
	ctx := browser(t)
	do(t, ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(overlayScript).Do(ctx)
		return err
	}))
	await(t, b, "block", 20*time.Second, "far from a keyframe", func(c Camera) bool {
		n := c.Ledger.Decoded % clipFrames
		return n > 60 && n < 80
	})
	do(t, ctx, chromedp.Navigate(b.URL+"/cameras/block"))
	sees(t, ctx, 10*time.Second, player("block", "state"), "playing")
	// Boxes come as soon as their frame was analysed: a picture that is played
	// later than they are is behind.
	for i := range 3 {
		o := lookAtOverlay(t, ctx, "block", 0.7)
		lag := median(o.Lag)
		t.Logf("%d frames shown, %.0f ms (median) after their boxes came", o.Frames, lag)
		if i > 0 && (o.Frames < 10 || math.IsNaN(lag) || lag > 400) {
			t.Errorf("%d frames, %.0f ms behind", o.Frames, lag)
		}
	}
}

// An RTSP camera's pictures reach viewers as the camera sent them, byte by byte,
// also to one that joins between keyframes, and after the camera was away. What a
// busy machine has no time for is left out up to a keyframe, and from nowhere else.
func TestOwnPictureOfACamera(t *testing.T) {
	c := clip(t, 640, 360)
	known := map[string]int{}
	for i, u := range c.Units {
		known[pictureOf(u)] = i
	}
	source := rtspCamera(t, c, RTSPConfig{})
	b := start(t, fmt.Sprintf("cameras:\n  - {id: yard, source: %q, model: motion, boxes: client, stall_after: 2s}\n", source.URL("", "")))
	await(t, b, "yard", 20*time.Second, "playing", playing)
	rec := &recorder{}
	v := watch(t, b, "yard", viewer.Options{OnUnit: rec.take})
	check := func(from time.Time) {
		t.Helper()
		units := rec.since(from)
		if len(units) < clipFrames/2 {
			t.Fatalf("%d units", len(units))
		}
		last, left := -1, 0
		for i, u := range units {
			n, ok := known[pictureOf(u.Data)]
			if !ok {
				t.Fatalf("unit %d of %d, keyframe %v, is none of the camera's", i, len(units), u.Keyframe)
			}
			if last >= 0 && n != (last+1)%clipFrames {
				left += (n - last - 1 + clipFrames) % clipFrames
				if t.Logf("picture %d follows %d", n, last); !u.Keyframe {
					t.Errorf("picture %d follows %d, and is no keyframe", n, last)
				}
			}
			last = n
		}
		if left > clipFrames/2 {
			t.Errorf("%d pictures were left out", left)
		}
		for i, l := range decode(t, units) {
			if l.corrupt || l.coloured > 0 {
				t.Fatalf("picture %d: corrupt %v, %d coloured pixels", i, l.corrupt, l.coloured)
			}
		}
	}
	// What the viewer's own socket loses for good, on a machine that gives it no time,
	// is no fault of the box: another round shows whether there is one.
	round := func(from time.Time) {
		t.Helper()
		for range 3 {
			lost := v.Stats().Lost
			more(t, v, clipFrames+clipFPS, 15*time.Second, "a round of the clip")
			s := v.Stats()
			if s.Lost == lost {
				check(from)
				return
			}
			t.Logf("the viewer lost %d of %d packets", s.Lost-lost, s.Packets)
			from = time.Now()
		}
		t.Error("the viewer lost packets in every round")
	}
	round(time.Time{})
	if c := camera(t, b, "yard"); c.Encoder != "" || c.Boxes != "client" {
		t.Errorf("encoder %q, boxes %q (%s)", c.Encoder, c.Boxes, c.BoxesReason)
	}
	source.Cut()
	await(t, b, "yard", 10*time.Second, "is offline", func(c Camera) bool { return c.State == "offline" })
	more(t, v, 5, 20*time.Second, "the slate")
	if err := source.Mend(); err != nil {
		t.Fatal(err)
	}
	await(t, b, "yard", 45*time.Second, "plays again", playing)
	time.Sleep(1500 * time.Millisecond) // a keyframe, and the slate is gone
	round(time.Now())
	c2 := camera(t, b, "yard")
	if c2.Boxes != "client" {
		t.Errorf("its own pictures were given up: %s", c2.BoxesReason)
	}
	balanced(t, c2)
}

// pictureOf is a unit's slices: parameter sets and marks between units aside.
func pictureOf(unit []byte) string {
	var out []byte
	for _, nal := range bytes.Split(unit, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) > 0 && (nal[0]&0x1f == 1 || nal[0]&0x1f == 5) {
			out = append(append(out, nal...), '|')
		}
	}
	return string(out)
}
