package web

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// hostile is a file's name as somebody might give it.
const hostile = `<img src=x onerror=alert(1)>.mp4`

func card(n int, what string) string {
	return fmt.Sprintf(`document.querySelector('[data-upload=%q]')?.%s`, id26("u", n), what)
}

func jobSays(n int) string {
	return fmt.Sprintf(`document.querySelector('[data-job=%q] [data-testid=job-words]')?.textContent`, id26("j", n))
}

func press(t *testing.T, s string) chromedp.Action {
	t.Helper()
	return chromedp.Evaluate(`document.querySelector(`+strconv.Quote(s)+`).click()`, nil)
}

// TestFilesSayWhy has every state in which something does not go on, with names
// that are code.
func TestFilesSayWhy(t *testing.T) {
	s := newShelf(t)
	s.note.Store("The database <b>was damaged</b>: the backup of yesterday is used.")
	ctx := browser(t)
	s.do(func() {
		s.uploads[id26("u", 1)] = upload(id26("u", 1), hostile, "receiving", map[string]any{"problem": "The disk is full: make room."})
		s.uploads[id26("u", 2)] = upload(id26("u", 2), "two", "refused", map[string]any{"problem": "Its sha256 is <i>another</i> one."})
		s.uploads[id26("u", 3)] = upload(id26("u", 3), "three", "complete", map[string]any{"sha256": strings.Repeat("ab", 32), "received": 1000})
		for i, j := range [][2]string{{"waiting", "index at end: analysis starts after the last byte"}, {"paused", "making room for camera yard, which lost 20 % of its frames"},
			{"set_aside", "its file killed its worker twice (out of memory)"}, {"failed", "encrypted: <script>"}, {"queued", ""}, {"done", ""}} {
			id := id26("j", i+1)
			s.jobs[id] = job(id, id26("u", 3), hostile, j[0], j[1], nil)
		}
		s.jobs[id26("j", 6)]["outcome"] = map[string]any{"source": map[string]any{}, "classes": map[string]any{"<u>car</u>": map[string]any{"boxes": 9, "tracks": 2}}}
		s.jobs[id26("j", 7)] = job(id26("j", 7), id26("u", 9), "gone.mp4", "canceled", "", nil)
	})
	run(t, ctx, chromedp.Navigate(s.url+"/files"))
	sees(t, ctx, card(1, `querySelector('h2').textContent`), hostile)
	sees(t, ctx, card(1, `textContent`), "The disk is full: make room. Waiting for bytes: ")
	sees(t, ctx, card(2, `textContent`), "Its sha256 is <i>another</i> one.")
	sees(t, ctx, card(3, `textContent`), "sha256 abab")
	sees(t, ctx, jobSays(1), "Index at end: analysis starts after the last byte")
	sees(t, ctx, jobSays(2), "Rests: making room for camera yard")
	sees(t, ctx, jobSays(3), "its file killed its worker twice")
	sees(t, ctx, jobSays(4), "encrypted: <script>")
	sees(t, ctx, jobSays(5), "Waits for its turn")
	sees(t, ctx, jobSays(6), "2 <u>car</u>")
	sees(t, ctx, card(9, `textContent`), "The file itself was removed; its results stay.")
	sees(t, ctx, `document.querySelectorAll('main img, main i, main b, main u').length`, "0")

	// The note stays on the pages until it is put away, also after a reload.
	sees(t, ctx, `document.querySelector('[data-testid=note] span').textContent`, "The database <b>was damaged</b>")
	run(t, ctx, press(t, "#notes button"), chromedp.Navigate(s.url+"/files"))
	sees(t, ctx, jobSays(6), "2 <u>car</u>")
	sees(t, ctx, `document.querySelector('#notes').hidden`, "true")

	// Deleting is asked about first.
	remove := fmt.Sprintf(`[data-job=%q] [data-testid=remove-job]`, id26("j", 4))
	run(t, ctx, press(t, remove))
	sees(t, ctx, `document.querySelector('dialog').textContent`, hostile)
	run(t, ctx, press(t, `dialog button[value=no]`))
	sees(t, ctx, `document.querySelector('dialog')`, "null")
	run(t, ctx, press(t, remove), press(t, `dialog button[value=yes]`))
	sees(t, ctx, jobSays(4), "undefined")
	s.get(func() {
		if s.jobs[id26("j", 4)] != nil || len(s.jobs) != 6 {
			t.Errorf("%d jobs are left", len(s.jobs))
		}
	})

	// The same file once more, with another model.
	run(t, ctx, press(t, fmt.Sprintf(`[data-upload=%q] [data-testid=again]`, id26("u", 3))))
	sees(t, ctx, `[...document.querySelectorAll('dialog option')].map(o => o.value).join()`, ",yolox-nano,motion")
	run(t, ctx, chromedp.Evaluate(`document.querySelector('dialog select').value = 'motion'; document.querySelector('dialog [name=threshold]').value = '35'; document.querySelector('dialog button.main').click()`, nil))
	sees(t, ctx, `document.querySelector('dialog')`, "null")
	s.get(func() {
		if len(s.posted) != 1 || !strings.Contains(s.posted[0], `"settings":{"model":"motion","threshold":0.35}`) {
			t.Errorf("asked for %q", s.posted)
		}
	})
}

// TestManyFiles has more files than a page can hold at once.
func TestManyFiles(t *testing.T) {
	s := newShelf(t)
	ctx := browser(t)
	s.do(func() {
		for n := 1; n <= 2000; n++ {
			s.uploads[id26("u", n)] = upload(id26("u", n), fmt.Sprintf("file %d", n), "complete", nil)
			s.jobs[id26("j", n)] = job(id26("j", n), id26("u", n), fmt.Sprintf("file %d", n), "queued", "", nil)
		}
	})
	run(t, ctx, chromedp.Navigate(s.url+"/files"))
	sees(t, ctx, `document.querySelector('.pushed > button').textContent`, "Show older files (1,950)")
	sees(t, ctx, `document.querySelectorAll('.file').length + document.querySelector('.file h2').textContent`, "50file 2000")
	sees(t, ctx, jobSays(2000), "Waits for its turn")
	run(t, ctx, press(t, ".pushed > button"))
	sees(t, ctx, `document.querySelectorAll('.file').length`, "250")
	// What happens to one that is not shown is known when it is.
	s.do(func() { delete(s.jobs, id26("j", 1751)); delete(s.uploads, id26("u", 1751)) })
	sees(t, ctx, `document.querySelectorAll('.file').length + document.querySelector('.file:last-child h2').textContent`, "250file 1750")
}

// chosen makes a file to be sent.
func chosen(t *testing.T, name string, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// TestSendingGoesOn cuts, refuses and interrupts what the page sends.
func TestSendingGoesOn(t *testing.T) {
	s := newShelf(t)
	ctx := browser(t)
	path, content := chosen(t, hostile, 20<<20)
	run(t, ctx, chromedp.Navigate(s.url+"/files"))
	sees(t, ctx, link, "Connected to the box")
	run(t, ctx, chromedp.Evaluate(`document.querySelector('.drop [name=threshold]').value = '40'`, nil))

	// Cut in the middle of the first part, then without room.
	s.get(func() { s.faults = []int{0, 507, 507, 507, 507, 507, 507, 507, 507} })
	run(t, ctx, chromedp.SetUploadFiles("#choose", []string{path}, chromedp.ByQuery))
	sees(t, ctx, card(1, `querySelector('h2').textContent`), hostile)
	sees(t, ctx, card(1, `textContent`), "The box said 507: trying again in ")
	s.get(func() {
		words := s.uploads[id26("u", 1)]["words"].(map[string]string)
		if words["filename"] != hostile || words["threshold"] != "0.4" || words["filetype"] != "video/mp4" {
			t.Errorf("the upload was described as %v", words)
		}
		if n := len(s.bytes[id26("u", 1)]); n != 8<<20 {
			t.Errorf("%d bytes came before the cut", n)
		}
	})
	run(t, ctx, press(t, "[data-testid=pause]"))
	sees(t, ctx, card(1, `textContent`), "what arrived stays")
	run(t, ctx, press(t, "[data-testid=resume]"))
	sees(t, ctx, card(1, `textContent`), "trying again in ")
	run(t, ctx, press(t, "[data-testid=pause]"))
	sees(t, ctx, card(1, `dataset.state`), "paused")

	// The page is left and opened again: the same file goes on where it was.
	run(t, ctx, chromedp.Navigate(s.url+"/files"))
	sees(t, ctx, card(1, `textContent`), "Choose the same file again, and it goes on from there.")
	s.get(func() { s.faults, s.asked = nil, nil })
	run(t, ctx, chromedp.SetUploadFiles("#choose", []string{path}, chromedp.ByQuery))
	sees(t, ctx, card(1, `dataset.state`), "complete")
	s.get(func() {
		if got := strings.Join(s.asked, " "); got != "HEAD PATCH" {
			t.Errorf("it went on with %s", got)
		}
		if string(s.bytes[id26("u", 1)]) != string(content) {
			t.Error("other bytes came than the file has")
		}
		s.asked = nil
	})
	sees(t, ctx, `localStorage.getItem('watchpost.uploads')`, "[]")

	// What is refused for good is not tried again, and says why.
	s.get(func() { s.faults = []int{413} })
	run(t, ctx, chromedp.SetUploadFiles("#choose", []string{path}, chromedp.ByQuery))
	sees(t, ctx, card(2, `textContent`), "The box said 413.")
	sees(t, ctx, card(2, `dataset.state`), "failed")
	// Given up after a question: gone from the box, too.
	run(t, ctx, press(t, fmt.Sprintf(`[data-upload=%q] [data-testid=cancel-upload]`, id26("u", 2))))
	sees(t, ctx, `(document.querySelector('dialog button[value=yes]')?.click(), document.querySelectorAll('.file').length)`, "1")
	s.get(func() {
		if s.uploads[id26("u", 2)] != nil {
			t.Error("the upload that was given up is still there")
		}
	})

	// Dropped anywhere in the window, several at once.
	run(t, ctx, chromedp.Evaluate(`(() => {
  const dropped = new DataTransfer();
  for (const [name, text] of [['a.mkv', 'aaa'], ['b.mkv', 'b'], ['c.mkv', 'cc']]) dropped.items.add(new File([text], name));
  document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true}));
})()`, nil))
	sees(t, ctx, `[...document.querySelectorAll('.file[data-state=complete] h2')].map(h => h.textContent).sort().join()`, hostile+",a.mkv,b.mkv,c.mkv")
}

// TestResultsAreReadInPages has lines come while the page looks, and a stream
// that breaks: none is missed, none counted twice.
func TestResultsAreReadInPages(t *testing.T) {
	s := newShelf(t)
	ctx := browser(t)
	line := func(n int) string {
		return fmt.Sprintf(`{"seq":%d,"frame":%d,"seconds":%g,"objects":[{"id":%d,"label":"<i>cat</i>","score":0.5},{"id":1,"label":"car","score":0.9}]}`, n, n, float64(n)/10, 1+n/2500)
	}
	put := func(upto int, status string) {
		s.do(func() {
			for n := len(s.lines) + 1; n <= upto; n++ {
				s.lines = append(s.lines, line(n))
			}
			s.jobs[id26("j", 1)] = job(id26("j", 1), id26("u", 1), hostile, status, "", map[string]any{"results": upto, "settings": map[string]any{"no_video": true},
				"progress": map[string]any{"frames": upto, "position_s": float64(upto) / 10, "duration_s": 1000, "fps": 10, "percent": float64(upto) / 100}})
		})
	}
	put(4500, "running")
	run(t, ctx, chromedp.Navigate(s.url+"/files/"+id26("j", 1)))
	found := `document.querySelector('[data-testid=found]').textContent`
	sees(t, ctx, found, "9,000 boxes in 4,500 frames")
	sees(t, ctx, `document.title`, hostile)
	sees(t, ctx, `document.querySelector('[data-testid=video-words]').textContent`, "No video was asked for.")
	put(4507, "running")
	sees(t, ctx, found, "9,014 boxes in 4,507 frames")
	put(10_000, "done")
	sees(t, ctx, found, "20,000 boxes in 10,000 frames")
	// Track 1 was a cat first; 2 to 5 are cats as well.
	sees(t, ctx, `[...document.querySelectorAll('.counts tbody tr')].map(r => r.innerText.replace(/\s+/g, ' ')).join('; ')`, "<i>cat</i> 5 10,000; car 0 10,000")
	sees(t, ctx, `document.querySelector('[data-testid=timeline]').getAttribute('aria-valuetext')`, "0:00 of 16:40")
	sees(t, ctx, `[...document.querySelectorAll('.strip canvas')].map(c => c.getContext('2d').getImageData(2, 2, 1, 1).data[3] > 0).join()`, "true,true")
	sees(t, ctx, `document.querySelector('[data-testid=downloads]').innerText`, "<b>.jsonl")
	sees(t, ctx, `document.querySelectorAll('main i:not(.key):not([data-end]), main img').length`, "0")

	s.do(func() { delete(s.jobs, id26("j", 1)) })
	sees(t, ctx, `document.querySelector('main').textContent`, "This analysis was deleted.")
	run(t, ctx, chromedp.Navigate(s.url+"/files/"+id26("j", 8)))
	sees(t, ctx, `document.querySelector('main').textContent`, "There is no job with this id.")
}
