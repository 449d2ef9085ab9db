package movie

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/watchpost/watchpost/gst/container"
)

// play has Chromium play a film to its end at four times the speed, and returns
// how many frames it decoded.
const play = `new Promise((done, fail) => {
	const v = document.createElement('video');
	v.muted = true; v.src = %q; v.playbackRate = 4;
	v.onerror = () => fail(new Error(v.error.message));
	v.onended = () => done(v.getVideoPlaybackQuality().totalVideoFrames + ' ' + v.videoWidth + 'x' + v.videoHeight + ' ' + v.currentTime.toFixed(2));
	document.body.append(v);
	v.play();
	setTimeout(() => fail(new Error('stuck at ' + v.currentTime + ' of ' + v.duration)), 30000);
})`

func TestChromiumPlays(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the films were not played in a browser")
	}
	const n = 60
	units := film(t, 320, 240, n, 15, regular)
	// An encoder that is started anew, with other parameter sets.
	other := film(t, 320, 240, 15, 15, func(i int) time.Duration { return regular(n + i) })
	dir := t.TempDir()
	grow := func(name string, units []Unit) *Writer {
		w, err := Create(filepath.Join(dir, name), Video{320, 240})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		write(t, w, units)
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := grow("growing.mp4", units)
	if err := w.Finish(t.Context(), filepath.Join(dir, "final.mp4")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "growing.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	// As it is when a fragment is just being written: what is served ends before it.
	b = b[:len(b)-100]
	b = b[:container.Whole(bytes.NewReader(b), int64(len(b)))]
	if err := os.WriteFile(filepath.Join(dir, "torn.mp4"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	w = grow("varied-growing.mp4", append(append([]Unit{}, units...), other...))
	w.state.Varied = true
	if err := w.Finish(t.Context(), filepath.Join(dir, "varied.mp4")); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Navigate(server.URL)); err != nil {
		t.Fatal(err)
	}
	wait := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	for name, seconds := range map[string]float64{"growing.mp4": 2, "final.mp4": 2, "torn.mp4": 1, "varied-growing.mp4": 2.5, "varied.mp4": 2.5} {
		var got string
		if err := chromedp.Run(ctx, chromedp.Evaluate(fmt.Sprintf(play, server.URL+"/"+name), &got, wait)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var frames int
		var size string
		var end float64
		if _, err := fmt.Sscan(got, &frames, &size, &end); err != nil || size != "320x240" || frames < 15 || end < seconds-0.1 {
			t.Errorf("%s: played %q, want %.1f s", name, got, seconds)
		}
		t.Logf("%s: %s", name, got)
	}
}
