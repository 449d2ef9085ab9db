package boxtest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// hostile is a file's name as somebody might give it: code, where a page does not take care.
const hostile = `<img src=x onerror=alert(1)>.mp4`

// quietBox is a box whose cameras leave the machine to the files.
const quietBox = `
jobs: {pause_for_live: false}
cameras:
  - {id: pat, source: "test:smpte", model: motion, capture: {width: 160, height: 120, fps: 1}}
`

// choose puts a copy of a file under the hostile name before the page's own file input.
func choose(t *testing.T, ctx context.Context, content []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), hostile)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.SetUploadFiles("#choose", []string{path}, chromedp.ByQuery))
}

func readMedia(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(media(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// witness has the page note what it shows while the analysis runs.
const witness = `window.seen = {lines: 0, grew: 0, ready: 0, until: 0};
setInterval(() => {
  const page = document.querySelector('[data-testid=job-page]');
  if (page?.dataset.status !== 'running') return;
  const lines = Number(page.querySelector('[data-testid=found]').dataset.lines ?? 0);
  if (lines > seen.lines) seen.grew++;
  seen.lines = Math.max(seen.lines, lines);
  const video = page.querySelector('video');
  if (page.querySelector('[data-testid=picture]').dataset.mode !== 'growing') return;
  seen.ready = Math.max(seen.ready, video.readyState);
  seen.until = Math.max(seen.until, video.currentTime);
  if (video.readyState > 2 && video.paused && !video.ended) video.play();
}, 50); true`

// TestBrowserPushesFile pushes a file as a person does, and looks at what comes of it.
func TestBrowserPushesFile(t *testing.T) {
	needModel(t)
	content := readMedia(t, "video/bikes_bframes.mp4")
	b := start(t, "models: {default: "+Model+"}"+quietBox)
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(b.URL+"/files"), chromedp.Evaluate(witness, nil))
	sees(t, ctx, 10*time.Second, `document.querySelector('#link').textContent`, "Connected to the box")
	choose(t, ctx, content)
	sees(t, ctx, 20*time.Second, `document.querySelector('.file')?.dataset.state`, "complete")
	sees(t, ctx, time.Second, `document.querySelector('.file h2').textContent`, hostile)
	sum := sha256.Sum256(content)
	sees(t, ctx, 5*time.Second, `document.querySelector('.file').textContent`, "sha256 "+hex.EncodeToString(sum[:]))

	// On the job's page what is found appears while it is being found.
	sees(t, ctx, 20*time.Second, `document.querySelector('.job a')?.click()?.toString() ?? location.pathname`, "/files/j")
	status := `document.querySelector('[data-testid=job-page]').dataset.status`
	sees(t, ctx, 90*time.Second, status, "done")
	var seen struct {
		Lines int
		Grew  int
		Ready int
		Until float64
	}
	do(t, ctx, chromedp.Evaluate(`window.seen`, &seen))
	t.Logf("while it ran: %d lines in %d steps, the video at %.1f s (ready %d)", seen.Lines, seen.Grew, seen.Until, seen.Ready)
	want, took := summaryOf(t, b)
	if took < 3 {
		t.Logf("this machine needed %.1f s for it, too few to see it grow", took)
	} else if seen.Grew < 2 || seen.Ready < 2 || seen.Until <= 0 {
		t.Errorf("while it ran for %.1f s, the page showed %+v", took, seen)
	}

	// At the end all of it is there, as the summary has it.
	sees(t, ctx, 10*time.Second, `document.querySelector('[data-testid=found]').dataset.complete`, "true")
	sees(t, ctx, 10*time.Second, `document.querySelector('[data-testid=picture]').dataset.mode + document.querySelector('video').readyState`, "whole4")
	var page string
	do(t, ctx, chromedp.Evaluate(`[...document.querySelectorAll('.counts tbody tr')].map(r => [...r.children].map(c => c.textContent.replace(',', '')).join(' ')).join('; ')`, &page))
	if page != want {
		t.Errorf("the page counts %q, the summary %q", page, want)
	}
	sees(t, ctx, time.Second, `document.querySelector('[data-testid=balance]').textContent`, "✓ Balanced")
	sees(t, ctx, 10*time.Second, `document.querySelectorAll('[data-testid=downloads] a').length`, "6")
	sees(t, ctx, 5*time.Second, `document.querySelector('.below').textContent`, hex.EncodeToString(sum[:]))
	sees(t, ctx, time.Second, `document.querySelectorAll('main img').length`, "0")

	// A click on the time line goes there, and so do the keys.
	do(t, ctx, chromedp.Evaluate(`document.querySelector('video').pause(); (() => {
  const line = document.querySelector('[data-testid=timeline]'), area = line.querySelector('.area').getBoundingClientRect();
  line.setPointerCapture = () => {};
  line.dispatchEvent(new PointerEvent('pointerdown', {clientX: area.left + area.width / 2, clientY: area.top + 5, button: 0, bubbles: true}));
})()`, nil))
	sees(t, ctx, 5*time.Second, `Math.abs(document.querySelector('video').currentTime - 5) < 0.2`, "true")
	do(t, ctx, chromedp.Evaluate(`document.querySelector('[data-testid=timeline]').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))`, nil))
	sees(t, ctx, 5*time.Second, `Math.abs(document.querySelector('video').currentTime - 6) < 0.2`, "true")
}

// summaryOf tells the classes of the only job's summary, as its page words them, and
// how many seconds it took.
func summaryOf(t *testing.T, b *Box) (classes string, seconds float64) {
	t.Helper()
	var list struct{ Jobs []struct{ ID string } }
	if err := b.Get(t.Context(), "/api/v1/jobs", &list); err != nil || len(list.Jobs) != 1 {
		t.Fatalf("%v, %d jobs", err, len(list.Jobs))
	}
	var summary struct {
		Classes map[string]struct{ Boxes, Tracks int }
		Timing  struct{ Seconds float64 }
	}
	if err := b.Get(t.Context(), "/api/v1/jobs/"+list.Jobs[0].ID+"/files/summary.json", &summary); err != nil {
		t.Fatal(err)
	}
	var labels []string
	for label := range summary.Classes {
		labels = append(labels, label)
	}
	slices.SortFunc(labels, func(x, y string) int {
		if d := summary.Classes[y].Tracks - summary.Classes[x].Tracks; d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	for i, l := range labels {
		labels[i] = fmt.Sprintf("%s %d %d", l, summary.Classes[l].Tracks, summary.Classes[l].Boxes)
	}
	return strings.Join(labels, "; "), summary.Timing.Seconds
}

// TestBrowserSendsOnAfterDeath kills the box under a page that sends a file: the
// page goes on by itself when the box is back, and the file is whole.
func TestBrowserSendsOnAfterDeath(t *testing.T) {
	const padding = 128 << 20
	content := readMedia(t, "video/face_h264.mp4")
	// A box that players pass over (ISO/IEC 14496-12 clause 8.1.2) makes it large.
	content = append(content, binary.BigEndian.AppendUint32(nil, padding)...)
	content = append(append(content, "free"...), make([]byte, padding-8)...)

	dir := t.TempDir()
	b, err := kit(t).Start(t.Context(), Config{Dir: dir, YAML: quietBox})
	if err != nil {
		t.Fatal(err)
	}
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(b.URL+"/files"))
	sees(t, ctx, 10*time.Second, `document.querySelector('#link').textContent`, "Connected to the box")
	do(t, ctx, chromedp.Evaluate(`document.querySelector('.drop [name=video]').checked = false; document.querySelector('.drop select').value = 'motion'`, nil))
	choose(t, ctx, content)
	before := received(t, b, 1)
	b.Kill()
	sees(t, ctx, 15*time.Second, `document.querySelector('.file').dataset.state`, "retrying")
	b = startIn(t, Config{Dir: dir, YAML: quietBox, Listen: strings.TrimPrefix(b.URL, "http://")})
	if after := received(t, b, 0); after < before {
		t.Errorf("%d bytes were there before the box was killed, %d afterwards", before, after)
	}
	sum := sha256.Sum256(content)
	sees(t, ctx, 60*time.Second, `document.querySelector('.file').textContent`, "sha256 "+hex.EncodeToString(sum[:]))
	sees(t, ctx, 30*time.Second, `document.querySelector('.job')?.dataset.status`, "done")
	// Gone on with, and not sent once more: there is one upload.
	sees(t, ctx, time.Second, `document.querySelectorAll('.file').length`, "1")
}

// received waits until the only upload has so many bytes and tells how many.
func received(t *testing.T, b *Box, least int64) int64 {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var list struct{ Uploads []struct{ Received int64 } }
		if err := b.Get(t.Context(), "/api/v1/uploads", &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Uploads) == 1 && list.Uploads[0].Received >= least {
			return list.Uploads[0].Received
		}
		if time.Now().After(end) {
			t.Fatalf("the upload did not come: %+v", list)
		}
	}
}
