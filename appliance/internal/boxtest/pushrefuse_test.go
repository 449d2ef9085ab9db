package boxtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPushRefusals has what a box does not take, each with words.
func TestPushRefusals(t *testing.T) {
	b := start(t, quiet+"uploads: {quota: 4MiB}\n")
	problem := func(res *http.Response, status int, words ...string) {
		t.Helper()
		body := text(res)
		var p struct{ Detail string }
		if res.StatusCode != status || json.Unmarshal([]byte(body), &p) != nil || p.Detail == "" || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s (%s), want %d and a problem: %s", res.Status, res.Header.Get("Content-Type"), status, body)
		}
		for _, w := range words {
			if !strings.Contains(p.Detail, w) {
				t.Errorf("%q does not say %q", p.Detail, w)
			}
		}
	}
	small, err := os.ReadFile(media(t, "video/rot_0.mov"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("other bytes than were meant", func(t *testing.T) {
		res := tus(t, b, "PUT", "/api/v1/uploads/wrong.mov?no_job=true&sha256="+strings.Repeat("0", 64), nil, small)
		problem(res, 460, "sha256")
		if l := uploads(t, b); len(l) != 1 || l[0].Status != "refused" || l[0].Problem == "" || len(l[0].Jobs) > 0 {
			t.Errorf("the upload is %+v", l)
		} else if bytesGone(t, b); t.Failed() {
			return
		} else if res := tus(t, b, "DELETE", "/api/v1/uploads/"+l[0].ID, nil, nil); res.StatusCode/100 != 2 {
			t.Errorf("it cannot be removed: %s: %s", res.Status, text(res))
		}
	})
	t.Run("wrong password", func(t *testing.T) { wrongPassword(t, b) })
	t.Run("full", func(t *testing.T) {
		first, second := media(t, "video/phone_hevc10_portrait_editlist.mp4"), media(t, "video/phone_4k60_portrait.mp4")
		data, err := os.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		if res := tus(t, b, "PUT", "/api/v1/uploads/first.mp4?no_job=true", nil, data); res.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", res.Status, text(res))
		}
		data, err = os.ReadFile(second)
		if err != nil {
			t.Fatal(err)
		}
		problem(tus(t, b, "PUT", "/api/v1/uploads/second.mp4", nil, data), http.StatusInsufficientStorage, "uploads.quota", "remove")
		if o := push(t, memory(t), b.URL, "--patience", "1s", second); o.code != exitBox || !strings.Contains(o.stderr, "uploads.quota") {
			t.Errorf("push without room: exit code %d: %s", o.code, o.stderr)
		}
		// One whose size is not known before is kept as far as it fits.
		res := tus(t, b, "POST", "/api/v1/tus/", map[string]string{"Upload-Defer-Length": "1", "Upload-Metadata": "filename " + "c2Vjb25kLm1wNA==,no_video dHJ1ZQ==,model bW90aW9u"}, nil)
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", res.Status, text(res))
		}
		where, err := url.Parse(res.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		patch := func(from int) *http.Response {
			return tus(t, b, "PATCH", where.Path, map[string]string{"Upload-Offset": strconv.Itoa(from), "Content-Type": "application/offset+octet-stream"}, data[from:])
		}
		if res := patch(0); res.StatusCode != http.StatusInsufficientStorage || !strings.Contains(text(res), "uploads.quota") {
			t.Errorf("an upload that outgrows the quota: %s", res.Status)
		}
		at, err := strconv.Atoi(tus(t, b, "HEAD", where.Path, nil, nil).Header.Get("Upload-Offset"))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d of %d bytes were kept", at, len(data))
		for _, u := range uploads(t, b) {
			if u.Name == "first.mp4" {
				if res := tus(t, b, "DELETE", "/api/v1/uploads/"+u.ID, nil, nil); res.StatusCode/100 != 2 {
					t.Fatalf("make room: %s: %s", res.Status, text(res))
				}
			}
		}
		if res := patch(at); res.StatusCode != http.StatusNoContent {
			t.Errorf("after room was made: %s: %s", res.Status, text(res))
		}
		res = tus(t, b, "PATCH", where.Path, map[string]string{
			"Upload-Offset": strconv.Itoa(len(data)), "Content-Type": "application/offset+octet-stream", "Upload-Length": strconv.Itoa(len(data)),
		}, nil)
		if res.StatusCode != http.StatusNoContent {
			t.Errorf("the length: %s: %s", res.Status, text(res))
		}
		j := awaitJob(t, b, "the second is analysed", func(j Job) bool { return j.Name == "second.mp4" && j.Status == "done" })
		if j.Ledger.Decoded != 18 || !j.Ledger.Balanced {
			t.Errorf("the second: %+v", j.Ledger)
		}
	})
}

// bytesGone waits until the janitor has been.
func bytesGone(t *testing.T, b *Box) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := os.ReadDir(filepath.Join(b.Data, "uploads"))
		if err == nil && len(left) == 0 {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Errorf("bytes are kept: %v %v", left, err)
			return
		}
	}
}

// wrongPassword pushes as from another machine.
func wrongPassword(t *testing.T, b *Box) {
	to, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	// A proxy tells that the request is not of this machine: X-Forwarded-For.
	front := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.SetXForwarded()
	}}}
	address := serve(t, front)
	text, err := os.ReadFile(filepath.Join(b.Data, "password"))
	if err != nil {
		t.Fatal(err)
	}
	file, right, wrong := media(t, "video/rot_0.mov"), filepath.Join(t.TempDir(), "right"), filepath.Join(t.TempDir(), "wrong")
	for path, content := range map[string]string{right: string(text), wrong: "not this one\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{file}, {"--password-file", wrong, file}} {
		o := push(t, memory(t), address, args...)
		if o.code != exitBox || !strings.Contains(o.stderr, "password") {
			t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
		if strings.Contains(o.stderr+o.stdout, "not this one") {
			t.Error("the password is shown")
		}
	}
	before := len(uploads(t, b))
	if o := push(t, memory(t), address, "--password-file", right, "--wait", file); o.code != 0 {
		t.Errorf("with the right password: exit code %d: %s", o.code, o.stderr)
	}
	if now := len(uploads(t, b)); now != before+1 {
		t.Errorf("%d uploads more, want 1", now-before)
	}
}

// serve runs a server on a port of its own until the test's end.
func serve(t *testing.T, s *http.Server) (url string) {
	t.Helper()
	w, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(w) }() // ends with Close
	t.Cleanup(func() { s.Close(); <-done })
	return fmt.Sprintf("http://%s", w.Addr())
}
