package live

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// playerPage watches a camera and keeps its statistics in window.result.
const playerPage = `<video id=v muted autoplay playsinline></video><script>
const pc = new RTCPeerConnection();
pc.addTransceiver('audio', {direction: 'recvonly'});
pc.addTransceiver('video', {direction: 'recvonly'});
pc.ontrack = e => { v.srcObject = e.streams[0] };
(async () => {
  await pc.setLocalDescription(await pc.createOffer());
  const res = await fetch('/api/v1/cameras/front/whep', {method: 'POST', headers: {'Content-Type': 'application/sdp'}, body: pc.localDescription.sdp});
  if (res.status != 201) { window.failed = res.status + ' ' + await res.text(); return; }
  await pc.setRemoteDescription({type: 'answer', sdp: await res.text()});
})().catch(e => { window.failed = String(e) });
async function stats() {
  const out = {failed: window.failed || '', state: pc.connectionState, frames: 0, width: v.videoWidth, time: v.currentTime};
  for (const s of (await pc.getStats()).values()) {
    if (s.type == 'inbound-rtp' && s.kind == 'video') Object.assign(out, {frames: s.framesDecoded || 0, keys: s.keyFramesDecoded || 0, lost: s.packetsLost, nacks: s.nackCount, plis: s.pliCount, freezes: s.freezeCount || 0});
    if (s.type == 'transport') Object.assign(out, {srtp: s.srtpCipher, dtls: s.dtlsRole});
  }
  return out;
}
</script>`

// browserStats is what the page's stats() returns.
type browserStats struct {
	Failed, State, SRTP, DTLS       string
	Frames, Keys, Lost, Nacks, PLIs int
	Freezes, Width                  int
	Time                            float64
}

// encodedPictures makes real H.264 access units with GStreamer's tools.
func encodedPictures(t *testing.T) (units [][]byte) {
	t.Helper()
	launch, err := exec.LookPath("gst-launch-1.0")
	if err != nil {
		t.Skip("gst-launch-1.0 is missing (package gstreamer1.0-tools): no H.264 to show")
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), launch, "-q", "videotestsrc", "pattern=ball", "num-buffers=150", "!",
		"video/x-raw,width=640,height=360,framerate=30/1", "!", "openh264enc", "bitrate=1000000", "gop-size=60", "!",
		"h264parse", "config-interval=-1", "!", "video/x-h264,stream-format=byte-stream,alignment=au", "!",
		"multifilesink", "location="+filepath.Join(dir, "%04d")).CombinedOutput()
	if err != nil {
		t.Skipf("openh264enc is missing (package gstreamer1.0-plugins-bad): %s", out)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 150 {
		t.Fatalf("%d pictures, want 150; %v", len(names), err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, b)
	}
	return units
}

// TestBrowser plays a stream in Chromium.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes some seconds")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is missing")
	}
	pictures := encodedPictures(t)
	s, e, _ := testServer(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/api/", s.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<!doctype html>" + playerPage)) })
	web := httptest.NewServer(mux)
	defer web.Close()

	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan struct{})
	go func() {
		defer close(published)
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-tick.C
			u := pictures[i%len(pictures)]
			key := i%len(pictures)%60 == 0
			e.stream.Publish(Unit{Codec: H264, Keyframe: key, PTS: time.Duration(i) * time.Second / 30, Captured: monotonic(), Data: u})
		}
	}()
	defer func() { cancel(); <-published }()

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"), chromedp.Flag("allow-loopback-in-peer-connection", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	defer stop()
	page, done := chromedp.NewContext(allocator)
	defer done()
	page, expire := context.WithTimeout(page, 60*time.Second)
	defer expire()
	if err := chromedp.Run(page, chromedp.Navigate(web.URL)); err != nil {
		t.Fatal(err)
	}
	var first, last browserStats
	read := func(to *browserStats) error {
		return chromedp.Run(page, chromedp.Evaluate(`stats()`, to, chromedp.EvalAsValue, awaitPromise))
	}
	eventually(t, "decoded pictures", 30*time.Second, func() bool {
		if err := read(&first); err != nil {
			t.Fatal(err)
		}
		if first.Failed != "" {
			t.Fatal(first.Failed)
		}
		return first.Frames > 15
	})
	time.Sleep(3 * time.Second)
	if err := read(&last); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v then %+v; server %+v", first, last, s.Stats().Streams[0])
	if last.State != "connected" || last.Width != 640 || last.Frames < first.Frames+60 || last.Time <= first.Time {
		t.Errorf("the picture does not play: %+v then %+v", first, last)
	}
	if last.SRTP != "SRTP_AEAD_AES_128_GCM" || last.DTLS != "client" {
		t.Errorf("cipher %q, DTLS role %q", last.SRTP, last.DTLS)
	}
}

func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
