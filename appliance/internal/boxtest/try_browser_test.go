package boxtest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// onPage is a script that reads something of a page's own element.
func onPage(testID, what string) string {
	return fmt.Sprintf(`document.querySelector('[data-testid=%s]')?.%s`, testID, what)
}

func press(testID string) chromedp.Action {
	return chromedp.Evaluate(onPage(testID, "click()"), nil)
}

// openSessions asks the box which sessions there are.
func openSessions(t *testing.T, b *Box) (ids []string) {
	t.Helper()
	var all struct{ Sessions []struct{ ID string } }
	if err := b.Get(t.Context(), "/api/v1/sessions", &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all.Sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

func noSession(t *testing.T, b *Box, within time.Duration, after string) {
	t.Helper()
	for end := time.Now().Add(within); len(openSessions(t, b)) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a session is open %v after %s", within, after)
		}
	}
}

// TestPagesThatCapture opens sessions on /try and publishes on /publish, in Chromium with its
// own pretended camera: a turning figure and a clock.
func TestPagesThatCapture(t *testing.T) {
	b := start(t, "models: {default: motion}"+quietBox)
	ctx := browser(t, "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
	const state = `document.querySelector('.try')?.dataset.state`

	t.Run("try", func(t *testing.T) {
		do(t, ctx, chromedp.Navigate(b.URL+"/try"))
		sees(t, ctx, 10*time.Second, `[...document.querySelectorAll('[name=model] option')].map(o => o.value)`, "motion")
		do(t, ctx, chromedp.Evaluate(`document.querySelector('[name=model]').value = 'motion'`, nil))

		// What cannot be is refused, and the page says what there is.
		do(t, ctx, chromedp.Evaluate(`document.querySelector('[name=classes]').value = 'cra<b>sh'`, nil), press("start"))
		sees(t, ctx, 20*time.Second, state, "refused")
		t.Log(sees(t, ctx, time.Second, onPage("refusal", "innerText"), `cra<b>sh`))
		sees(t, ctx, time.Second, `document.querySelector('[data-refusal=field]').textContent`, "class_filter")
		sees(t, ctx, time.Second, `document.querySelector('[data-refusal=available]').textContent`, "motion")
		sees(t, ctx, time.Second, `document.querySelector('[name=model]').matches(':disabled')`, "false")

		do(t, ctx, chromedp.Evaluate(`document.querySelector('[name=classes]').value = ''`, nil), press("start"))
		sees(t, ctx, 30*time.Second, state, "running")
		sees(t, ctx, 30*time.Second, onPage("try", "dataset.documents")+` > 20 && `+onPage("try", "dataset.pictures")+` > 10`, "true")
		sees(t, ctx, 20*time.Second, onPage("document", "textContent"), `"class": "motion"`)
		sees(t, ctx, time.Second, onPage("document", "textContent"), `"tracker_id": `)
		// Another picture, while it runs.
		do(t, ctx, chromedp.Evaluate(`document.querySelector('[name=labels]').click()`, nil))
		more := fmt.Sprintf(`%s > %s`, onPage("try", "dataset.pictures"), "window.before + 5")
		do(t, ctx, chromedp.Evaluate(`window.before = Number(`+onPage("try", "dataset.pictures")+`)`, nil))
		sees(t, ctx, 20*time.Second, more, "true")
		sees(t, ctx, time.Second, onPage("errors", "hidden"), "true")
		shoot(t, ctx)

		ids := openSessions(t, b)
		if len(ids) != 1 {
			t.Fatalf("%d sessions are open", len(ids))
		}
		if res, text := whip(t, http.MethodDelete, b.URL+"/api/v1/sessions/"+ids[0], "", ""); res.StatusCode != http.StatusAccepted {
			t.Fatalf("DELETE: %s %s", res.Status, text)
		}
		sees(t, ctx, 15*time.Second, onPage("state", "textContent"), "Somebody ended the session on the box.")
		// The camera is let go of, and the last picture stays.
		sees(t, ctx, time.Second, `document.querySelector('canvas').hidden`, "false")
		noSession(t, b, 10*time.Second, "it was ended")

		// Whoever leaves the page leaves nothing behind.
		do(t, ctx, press("start"))
		sees(t, ctx, 30*time.Second, state, "running")
		do(t, ctx, chromedp.Evaluate(`document.querySelector('nav a[href="/"]').click()`, nil))
		sees(t, ctx, 10*time.Second, `location.pathname + document.readyState`, "/complete")
		noSession(t, b, 15*time.Second, "its page was left")
	})

	t.Run("publish", func(t *testing.T) {
		do(t, ctx, chromedp.Navigate(b.URL+"/publish"))
		sees(t, ctx, 10*time.Second, state, "idle")
		do(t, ctx, chromedp.Evaluate(`document.querySelector('[name=name]').value = 'door'`, nil), press("start"))
		sees(t, ctx, 20*time.Second, state, "publishing")
		await(t, b, "door", 30*time.Second, "plays, and sees the figure", func(c Camera) bool { return playing(c) && len(c.Objects) > 0 })
		sees(t, ctx, 10*time.Second, onPage("publish", "dataset.cameraState"), "playing")
		sees(t, ctx, 10*time.Second, onPage("publish", "innerText"), "Mbit/s")
		sees(t, ctx, time.Second, `document.querySelector('[data-testid=link-to-camera] a').getAttribute('href')`, "/cameras/door")
		shoot(t, ctx)
		do(t, ctx, press("stop"))
		sees(t, ctx, 5*time.Second, state, "idle")
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if status, _ := fetch(t, b.URL+"/api/v1/cameras/door"); status == http.StatusNotFound {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the camera stays though nobody publishes")
			}
		}
	})
	if strings.Contains(b.Log(), "level=ERROR") {
		t.Error("the log has errors")
	}
}
