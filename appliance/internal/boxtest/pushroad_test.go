package boxtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// requestHead is more than push writes around the body of one request.
const requestHead = 1 << 10

// sizeOf is how many bytes files have together.
func sizeOf(t *testing.T, paths ...string) (n int64) {
	t.Helper()
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// arrived fails the test unless a box holds just these files, whole.
func arrived(t *testing.T, b *Box, paths ...string) {
	t.Helper()
	list := uploads(t, b)
	if len(list) != len(paths) {
		t.Errorf("%d uploads of %d files: %+v", len(list), len(paths), list)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		i := slices.IndexFunc(list, func(u Upload) bool { return u.Name == filepath.Base(p) })
		if i < 0 || list[i].Status != "complete" || list[i].SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s is not whole on the box: %+v", filepath.Base(p), list)
		}
	}
}

// TestPushThroughCuts pushes over a network that breaks all the time: every byte goes
// over it once.
func TestPushThroughCuts(t *testing.T) {
	b := start(t, quiet)
	w := newWire(t, b, anywhere(20<<10, 600<<10))
	files := []string{
		media(t, "video/rot270_720p.mp4"), media(t, "video/phone_hevc10_portrait_editlist.mp4"),
		media(t, "video/phone_4k60_portrait.mp4"), media(t, "video/h264.ts"),
	}
	o := push(t, memory(t), w.URL, append([]string{"--no-video"}, files...)...)
	if o.code != 0 {
		t.Fatalf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	arrived(t, b, files...)
	size, sent := sizeOf(t, files...), w.sent.Load()
	t.Logf("%v: %d bytes of %d went over %d connections, %d of them cut", o.took.Round(time.Millisecond), sent, size, w.conns.Load(), w.cuts.Load())
	if w.cuts.Load() < 5 {
		t.Errorf("only %d cuts", w.cuts.Load())
	}
	// A request for every cut, and some that ask how far the upload is.
	if most := size + (4*w.conns.Load()+100)*requestHead; sent > most {
		t.Errorf("%d bytes were sent for %d of files: more than %d", sent, size, most)
	}
}

// TestPushKilledAndRunAgain kills push itself; the same command goes on.
func TestPushKilledAndRunAgain(t *testing.T) {
	b := start(t, quiet)
	w := newWire(t, b, nil)
	files := []string{media(t, "video/phone_hevc10_portrait_editlist.mp4"), media(t, "video/rot270_720p.mp4")}
	// One after the other: a request that is still on the wire when its sender dies
	// would begin an upload that nobody goes on with.
	args := append([]string{"push", "--quiet", "--box", w.URL, "--model", "motion", "--no-video", "--parallel", "1"}, files...)
	env := memory(t)
	size := sizeOf(t, files...)
	for i, limit := range []int64{size / 3, size * 3 / 4} {
		w.limit.Store(limit)
		cmd := kit(t).Command(t.Context(), args...)
		cmd.Env = append(cmd.Env, env...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); w.sent.Load() < limit-16<<10; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("run %d: %d bytes in a minute", i+1, w.sent.Load())
			}
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	w.limit.Store(noLimit)
	o := programWith(t, time.Minute, env, args...)
	if o.code != 0 {
		t.Fatalf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	arrived(t, b, files...)
	t.Logf("%d bytes of %d went over %d connections", w.sent.Load(), size, w.conns.Load())
	if most := size + (4*w.conns.Load()+100)*requestHead; w.sent.Load() > most {
		t.Errorf("%d bytes were sent for %d of files: more than %d", w.sent.Load(), size, most)
	}
}

// tus makes one request of the protocol.
func tus(t *testing.T, b *Box, method, where string, head map[string]string, body []byte) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.URL+where, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	for k, v := range head {
		r.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	return res
}

func text(res *http.Response) string {
	b, _ := io.ReadAll(res.Body) // from memory
	return strings.TrimSpace(string(b))
}

// TestRoadsMeet begins files over a data channel and finishes them by tus and by
// curl: one upload, whichever road.
func TestRoadsMeet(t *testing.T) {
	b := start(t, quiet)
	const chunk = 32 << 10
	begin := func(path string) (id string, data []byte) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		p, ch, err := client.Dial(ctx, b.URL, "video_upload", client.Options{Loopback: true})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		// Closing is what ends a wait of Receive.
		defer context.AfterFunc(ctx, func() { p.Close() })()
		partly, stop := context.WithCancel(ctx)
		defer stop()
		// It hands out the first chunks, and no more.
		file := client.File{
			ReaderAt: gate{bytes.NewReader(data), 5 * chunk, partly}, Name: filepath.Base(path), Size: int64(len(data)), Chunk: chunk,
			Known: func(u string, have [][2]int64) {
				id = u
				if len(have) == 1 && have[0] == [2]int64{0, 4} {
					p.Close()
				}
			},
		}
		if _, err := ch.Upload(ctx, file); err == nil || ctx.Err() != nil {
			t.Fatalf("the half of an upload ends with %v, %v", err, ctx.Err())
		}
		return id, data
	}

	t.Run("tus", func(t *testing.T) {
		id, data := begin(media(t, "video/vfr_h264.mp4"))
		res := tus(t, b, "HEAD", "/api/v1/tus/"+id, nil, nil)
		if at := res.Header.Get("Upload-Offset"); at != strconv.Itoa(5*chunk) || res.Header.Get("Upload-Length") != strconv.Itoa(len(data)) {
			t.Fatalf("tus finds the upload at %s of %s", at, res.Header.Get("Upload-Length"))
		}
		res = tus(t, b, "PATCH", "/api/v1/tus/"+id, map[string]string{"Upload-Offset": strconv.Itoa(5 * chunk), "Content-Type": "application/offset+octet-stream"}, data[5*chunk:])
		if res.StatusCode != http.StatusNoContent {
			t.Fatalf("PATCH: %s: %s", res.Status, text(res))
		}
		awaitJob(t, b, "the file is analysed", func(j Job) bool { return j.Upload == id && j.Status == "done" })
	})
	t.Run("curl", func(t *testing.T) {
		curl, err := exec.LookPath("curl")
		if err != nil {
			t.Skip("curl is not installed")
		}
		path := media(t, "video/face_no_stss.mp4")
		id, _ := begin(path)
		out, err := exec.CommandContext(t.Context(), curl, "-sS", "--fail-with-body", "-C", strconv.Itoa(5*chunk), "-T", path, b.URL+"/api/v1/uploads/"+id).CombinedOutput()
		if err != nil {
			t.Fatalf("curl -T: %v: %s", err, out)
		}
		awaitJob(t, b, "the file is analysed", func(j Job) bool { return j.Upload == id && j.Status == "done" })
	})
	arrived(t, b, media(t, "video/vfr_h264.mp4"), media(t, "video/face_no_stss.mp4"))
}

// gate reads up to an offset; whoever wants more waits until ctx ends.
type gate struct {
	io.ReaderAt
	limit int64
	ctx   context.Context
}

func (g gate) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > g.limit {
		<-g.ctx.Done()
		return 0, g.ctx.Err()
	}
	return g.ReaderAt.ReadAt(p, at)
}
