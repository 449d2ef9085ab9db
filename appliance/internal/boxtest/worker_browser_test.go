package boxtest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// workerScript is a page's client of the worker protocol.
//
//go:embed testdata/worker.js
var workerScript []byte

// application serves a page of somebody's own, which hands its offers to the box
// as such applications do: the browser never asks the box itself.
func application(t *testing.T, b *Box, files map[string]string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><title>an application</title><link rel="icon" href="data:,">
<body style="margin:0;background:#333"><video autoplay muted playsinline style="width:1280px"></video><script src="worker.js"></script>`)
	})
	mux.HandleFunc("GET /worker.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(workerScript)
	})
	mux.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, files[r.PathValue("name")])
	})
	mux.HandleFunc("POST /initialise_webrtc_worker", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		res, err := http.Post(b.URL+r.URL.Path, "application/json", bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// pageFacts are what worker.js tells.
type pageFacts struct {
	facts
	Ended  string
	Closed bool
	Echoed int `json:"echoes"`
	Video  struct{ Width, Height int }
}

// TestBrowserHasSessions plays sessions in Chromium: its camera, a file, a stream that
// the box pulls.
func TestBrowserHasSessions(t *testing.T) {
	needModel(t)
	b := start(t, quietBox)
	source := rtspCamera(t, clip(t, 320, 240), RTSPConfig{}).URL("", "")
	await(t, b, "pat", 20*time.Second, "plays", playing)
	before := footprintOf(t, b)
	at := application(t, b, map[string]string{"face.mp4": media(t, "video/face_h264.mp4")})
	ctx := browser(t, "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
	playIn := func(t *testing.T, p map[string]any) (f pageFacts) {
		t.Helper()
		var text string
		do(t, ctx, chromedp.Navigate(at), chromedp.Evaluate(`watchpostWorker(`+mustJSON(t, p)+`)`, &text,
			func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("%v: %.1000s", err, text)
		}
		f.EndedBy = f.Ended
		t.Logf("%s: %d documents, %d pictures of %dx%d", f.Ended, len(f.frames()), len(f.Pictures), f.Video.Width, f.Video.Height)
		wellFormed(t, f.facts)
		shoot(t, ctx)
		do(t, ctx, chromedp.Evaluate(`watchpostEnd()`, nil))
		return f
	}

	t.Run("camera", func(t *testing.T) {
		f := playIn(t, map[string]any{"camera": true, "receive": true, "documents": 60, "pictures": 40,
			"request": ask("motion", fields{"stream_output": []string{outNamed}, "data_output": []string{outFound}, "webrtc_realtime_processing": true})})
		if f.Video.Width == 0 || len(f.Pictures) < 40 {
			t.Fatalf("the video has %+v after %d pictures: %s", f.Video, len(f.Pictures), errorsOf(f.notices()))
		}
		// The fake camera has a figure that turns, and a clock.
		finds(t, f.frames(), outFound, "motion", 20)
		pairsInPage(t, f, 25)
	})
	t.Run("rtsp_url", func(t *testing.T) {
		f := playIn(t, map[string]any{"receive": true, "documents": 60, "pictures": 50,
			"request": ask("motion", fields{"rtsp_url": source, "stream_output": []string{outBoxed}, "data_output": []string{outFound}, "webrtc_realtime_processing": true})})
		pairsInPage(t, f, 30)
	})
	t.Run("file", func(t *testing.T) {
		f := playIn(t, map[string]any{"receive": true, "file": "files/face.mp4",
			"request": ask(Model, fields{"stream_output": []string{outNamed}, "data_output": []string{outFound, outBoxed}, "video_file_upload": true})})
		everyFrame(t, f.facts)
		if f.Ended != "complete" || len(f.frames()) != 30 || f.Echoed != 1 || !f.Closed {
			t.Errorf("it ended by %s with %d documents, %d echoes, closed %v", f.Ended, len(f.frames()), f.Echoed, f.Closed)
		}
		finds(t, f.frames(), outFound, "person", 25)
		for _, d := range f.frames() {
			if p := d.image(t, outBoxed).Picture; p.Width != 1080 || p.Height != 720 {
				t.Fatalf("frame %d has a picture of %dx%d", d.ID, p.Width, p.Height)
			}
		}
		pairsInPage(t, f, 3)
	})
	before.again(t, b)
}

// shoot writes what the page shows into the folder that WATCHPOST_SCREENSHOTS names,
// for a person to look at.
func shoot(t *testing.T, ctx context.Context) {
	t.Helper()
	dir := os.Getenv("WATCHPOST_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	do(t, ctx, chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(t.Name())+".png"), png, 0o600); err != nil {
		t.Error(err)
	}
}

// pairsInPage fails the test unless pictures on the page have documents of their own.
func pairsInPage(t *testing.T, f pageFacts, least int) {
	t.Helper()
	var have []int64
	for _, d := range f.frames() {
		have = append(have, d.Metadata.PTS)
	}
	pairs := 0
	for _, p := range f.Pictures {
		if slices.Contains(have, p.PTS) {
			pairs++
		}
	}
	t.Logf("%d of %d pictures have a document of the same time", pairs, len(f.Pictures))
	if pairs < least {
		t.Errorf("only %d pairs: pictures at %v, documents at %v", pairs, ptsOf(f.Pictures), have)
	}
}
