package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFolderNames(t *testing.T) {
	got := folderNames("out", []string{"a/x.mp4", "b/x.mp4", "y.mp4", "c/x.mp4"})
	if want := []string{"out/x.mp4", "out/x.mp4-2", "out/y.mp4", "out/x.mp4-3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The hash is the file's, whatever parts of it were seen, in whatever order.
func TestPrefixHash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3<<20+17)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := sha256.Sum256(data)
	for round := range 50 {
		h := &prefixHash{file: f, hash: sha256.New()}
		for range rng.IntN(20) {
			at := rng.IntN(len(data))
			if rng.IntN(3) > 0 {
				at = int(max(0, h.to-int64(rng.IntN(1000))))
			}
			h.see(int64(at), data[at:min(len(data), at+rng.IntN(1<<20))])
		}
		if got, err := h.whole(context.Background()); err != nil || got != hex.EncodeToString(want[:]) {
			t.Fatalf("round %d: %s, %v", round, got, err)
		}
	}
}

// What one program remembers, the next one knows, and nobody else's.
func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "push.json")
	file := filepath.Join(t.TempDir(), "clip")
	if err := os.WriteFile(file, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	key := memoryKey("http://a", f, Settings{})
	openMemory(path).put(key, "u1")
	if got := openMemory(path).get(key); got != "u1" {
		t.Errorf("remembered %q", got)
	}
	if got := openMemory(path).get(memoryKey("http://b", f, Settings{})); got != "" {
		t.Errorf("another box's upload is %q", got)
	}
	if err := os.Chtimes(file, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	g, err := openFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if memoryKey("http://a", g, Settings{}) == key {
		t.Error("a file that changed is taken for the same")
	}
	if memoryKey("http://a", f, Settings{Model: "motion"}) == key {
		t.Error("an upload that is to be analysed otherwise is taken for the same")
	}
	if err := os.WriteFile(path, []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := openMemory(path)
	if got := m.get(key); got != "" {
		t.Errorf("a torn memory remembers %q", got)
	}
	m.put(key, "u2")
	m.put("other", "u3")
	m.forget(key)
	if got := openMemory(path).get("other"); got != "u3" || openMemory(path).get(key) != "" {
		t.Errorf("after forgetting: %q and %q", got, openMemory(path).get(key))
	}
}

func TestFilesThatCannotBePushed(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.mp4")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.mp4"): "there is no such file",
		dir:                            "is not a file",
		empty:                          "is empty",
	} {
		var told []Progress
		out, err := Run(context.Background(), Options{Box: "http://127.0.0.1:1", Watch: func(p Progress) { told = append(told, p) }}, []string{path})
		if err != nil || len(out) != 1 || !errors.Is(out[0].Err, ErrFile) || !strings.Contains(out[0].Err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", path, out, err, want)
		}
		if len(told) != 1 || told[0].Stage != Failed {
			t.Errorf("%s: told %+v", path, told)
		}
	}
	if _, err := Run(context.Background(), Options{Box: "ftp://x"}, nil); err == nil {
		t.Error("an address of no box is accepted")
	}
}

// A box that does not answer is given up after the patience, with what to do.
func TestUnreachable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := Run(context.Background(), Options{Box: "http://127.0.0.1:1", Patience: 300 * time.Millisecond}, []string{path})
	if err != nil || !errors.Is(out[0].Err, ErrUnreachable) || !strings.Contains(out[0].Err.Error(), "run the same command again") {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestRetryTellsWhatCannotPass(t *testing.T) {
	show := newMeter("f", 1, func(Progress) {})
	for status, gives := range map[int]bool{
		400: true, 401: true, 403: true, 413: true, 415: true,
		404: false, 409: false, 423: false, 429: false, 500: false, 503: false, 507: false,
	} {
		r := newRetry(time.Minute)
		r.wait = time.Millisecond
		err := r.pause(context.Background(), &answerError{status: status, text: "so"}, show)
		if (err != nil) != gives {
			t.Errorf("%d (%s): %v", status, http.StatusText(status), err)
		}
		if gives && !errors.Is(err, ErrRefused) {
			t.Errorf("%d: %v is of no kind", status, err)
		}
	}
}

// An upload that was removed from the box is not waited for: neither one that the box
// has never heard of, nor one that it still knows to be gone.
func TestRemovedUpload(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		u, err := url.Parse(there.URL)
		if err != nil {
			t.Fatal(err)
		}
		p := &pusher{box: newBox(u, "")}
		show, retry := newMeter("f", 1, func(Progress) {}), newRetry(10*time.Second)
		if _, err := p.ended(context.Background(), "u1", retry, show); !errors.Is(err, ErrAnalysis) {
			t.Errorf("%d while it is analysed: %v", status, err)
		}
		sum := &prefixHash{file: &source{}, hash: sha256.New()}
		if err := p.check(context.Background(), "u1", sum, retry, show); !errors.Is(err, ErrRefused) {
			t.Errorf("%d while it is checked: %v", status, err)
		}
		p.box.http.CloseIdleConnections()
		there.Close()
	}
}

// What a box says of itself steers no terminal.
func TestHostileBox(t *testing.T) {
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"detail":"no\u001b[2Jthing"}`))
	}))
	defer there.Close()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := Run(context.Background(), Options{Box: there.URL}, []string{path})
	if err != nil || !errors.Is(out[0].Err, ErrRefused) || !strings.Contains(out[0].Err.Error(), "no?[2Jthing") {
		t.Errorf("%q, %v", out[0].Err, err)
	}
	if got := reason(job{Status: "failed", Reason: "a\x1b]0;b\a"}); strings.ContainsRune(got, '\x1b') {
		t.Errorf("%q", got)
	}
}

func TestDisplay(t *testing.T) {
	var out bytes.Buffer
	d := NewDisplay(&out, nil)
	d.Watch(Progress{File: "/v/a.mp4", Stage: Checking, Size: 10})
	d.Watch(Progress{File: "/v/a.mp4", Stage: Checking, Size: 10, Sent: 5})
	d.Watch(Progress{File: "/v/a.mp4", Stage: Waiting, Err: errors.New("no\x1b[31m room")})
	if got := out.String(); strings.Count(got, "\n") != 2 || strings.Contains(got, "\x1b") || !strings.Contains(got, "a.mp4: waiting: no?[31m room") {
		t.Errorf("%q", got)
	}

	out.Reset()
	d = NewDisplay(&out, func() int { return 60 })
	for i := range 3 {
		d.Watch(Progress{File: fmt.Sprintf("f%d-%s.mp4", i, strings.Repeat("long", 20)), Stage: Sending, Size: 3 << 30, Sent: 1 << 30, Rate: 5 << 20, Left: time.Minute})
	}
	d.Watch(Progress{File: "f0-" + strings.Repeat("long", 20) + ".mp4", Stage: Done})
	for line := range strings.SplitSeq(out.String(), "\n") {
		clean := line
		for _, code := range []string{"\x1b[2K", "\x1b[J", "\x1b[1A", "\x1b[2A", "\x1b[3A"} {
			clean = strings.ReplaceAll(clean, code, "")
		}
		if n := len([]rune(clean)); n > 59 || strings.Contains(clean, "\x1b") {
			t.Errorf("%d columns: %q", n, clean)
		}
	}
	if d.drawn != 2 {
		t.Errorf("%d lines are ours, want those of the two files on their way", d.drawn)
	}
}
