package boxtest

import (
	_ "embed"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

//go:embed testdata/publish.js
var publishScript string

// browserSends is what testdata/publish.js reports.
type browserSends struct {
	State, Codec, Limited            string
	Frames, Keys, PLIs, NACKs, Width int
	Available, Target, RTT           float64
}

// TestBrowserPublishes: Chromium is a camera, at a bitrate that it raises because the box
// reports what arrives; and when it hangs up, the camera is soon over.
func TestBrowserPublishes(t *testing.T) {
	b := start(t, "models: {default: motion}\ncameras:\n  - {id: yard, source: \"demo:\"}\n")
	ctx := browser(t)
	promise := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	var location string
	do(t, ctx, chromedp.Navigate(b.URL+"/sign-in"), chromedp.Evaluate(publishScript, nil),
		chromedp.Evaluate(`watchpostPublish('laptop', 640, 360)`, &location, promise))
	if !strings.HasPrefix(location, "/api/v1/whip/laptop/") {
		t.Fatalf("the browser's offer was answered with %s", location)
	}
	look := func() (s browserSends) {
		var text string
		do(t, ctx, chromedp.Evaluate(`watchpostSending()`, &text, promise))
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return s
	}
	await(t, b, "laptop", 40*time.Second, "plays what the browser sends", func(c Camera) bool {
		return playing(c) && c.Ledger.Decoded > 60
	})
	began := look()
	v := watch(t, b, "laptop", viewer.Options{})
	seen(t, v, 20*time.Second, "its pictures", func(s viewer.Stats) bool { return s.Units > 30 })

	// Chromium begins at 300 kbit/s. Without reports of arrivals it would stay there.
	s := began
	for end := time.Now().Add(40 * time.Second); s.Available < 1_000_000; s = look() {
		if time.Now().After(end) {
			t.Fatalf("the browser does not raise its bitrate: %+v, at first %+v", s, began)
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("at first %+v, then %+v", began, s)
	if s.State != "connected" || s.Codec != "video/H264" && s.Codec != "video/VP8" || s.RTT < 0 {
		t.Errorf("it sends as %+v", s)
	}
	balanced(t, camera(t, b, "laptop"))

	do(t, ctx, chromedp.Evaluate(`watchpostPeer.close()`, nil))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if status, _ := fetch(t, b.URL+"/api/v1/cameras/laptop"); status == 404 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the camera stays though the browser left")
		}
	}
}
