package plain

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

// dial begins a PUT of total bytes by hand and returns its connection.
func (b *box) dial(path, header string) *net.TCPConn {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "PUT %s%s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", Path, path, header)
	return c.(*net.TCPConn)
}

// only waits for the one upload that there is.
func (b *box) only(want func(upload.Info) bool) upload.Info {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if all := b.List(); len(all) == 1 && want(all[0]) {
			return all[0]
		}
		if time.Now().After(end) {
			b.t.Fatalf("uploads: %+v", b.List())
		}
	}
}

func TestACutConnectionKeepsWhatCame(t *testing.T) {
	data, sum := uploadtest.Data(4, 2<<20)
	for name, cut := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { c.Close() },
		"reset":  func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"silent": func(*net.TCPConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, upload.Config{}, Config{Idle: 2 * time.Second})
			c := b.dial("/x.mp4?sha256="+sum, fmt.Sprintf("Content-Length: %d", len(data)))
			if _, err := c.Write(data[:1<<20]); err != nil {
				t.Fatal(err)
			}
			// A reset throws away what the box has not read yet.
			i := b.only(func(i upload.Info) bool { return i.Contiguous > 0 })
			cut(c)
			if name != "silent" {
				i = b.only(func(i upload.Info) bool { return i.Contiguous > 0 && (name == "reset" || i.Contiguous == 1<<20) })
			}
			// The silent one is not over yet: whoever comes back need not wait for it.
			i, err := b.Get(i.ID)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			v := b.upload(b.do("PUT", "/"+i.ID, bytes.NewReader(data[i.Contiguous:]), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", i.Contiguous, len(data)-1, len(data))), 201)
			if v.SHA256 != sum || !bytes.Equal(b.Bytes(i.ID), data) {
				t.Errorf("%+v", v)
			}
			t.Logf("went on at %d, and was done %v later", i.Contiguous, time.Since(began))
		})
	}
}

// A file of which nothing came, and which nobody knows the id of, is not listed for a day.
func TestNothingCame(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	var removed atomic.Bool
	defer b.Watch("", func(i upload.Info) {
		if i.Status == upload.Removed {
			removed.Store(true)
		}
	})()
	b.dial("/x", "Content-Length: 10").Close()
	for end := time.Now().Add(20 * time.Second); !removed.Load(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("uploads: %+v", b.List())
		}
	}
	if len(b.List()) != 0 {
		t.Errorf("uploads: %+v", b.List())
	}
}

// Room runs out in the middle of a file whose size nobody said: what came is kept.
func TestNoRoomInTheMiddle(t *testing.T) {
	b := start(t, upload.Config{Quota: 3 << 20}, Config{})
	data, _ := uploadtest.Data(8, 4<<20)
	a := b.do("PUT", "/x", unsized(data))
	kept := b.problem(a, 507, "")
	if kept.Contiguous == 0 || kept.Status != "receiving" || a.Header.Get("Location") != Path+"/"+kept.ID {
		t.Errorf("%+v", kept)
	}
	b.problem(b.do("PUT", "/y", bytes.NewReader(data)), 507, "")
	if all := b.List(); len(all) != 1 || all[0].Received < kept.Received {
		t.Errorf("%+v", all)
	}
}

// Slower than the server's timeouts for whole requests.
func TestASlowUploadIsNotCut(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: 10 * time.Second})
	b.url = uploadtest.ServeHurried(t, b.handler)
	data, sum := uploadtest.Data(5, 10)
	r, w := io.Pipe()
	go func() {
		for i := range data {
			time.Sleep(250 * time.Millisecond)
			if _, err := w.Write(data[i : i+1]); err != nil {
				return
			}
		}
		w.Close()
	}()
	if v := b.upload(b.do("PUT", "/slow", r), 201); v.SHA256 != sum {
		t.Errorf("%+v", v)
	}
}

func TestSilenceEndsAConnection(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: 1200 * time.Millisecond})
	c := b.dial("/x", "Content-Length: 10")
	if _, err := c.Write([]byte("0123")); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	all, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 408 ") || !strings.Contains(string(all), `"Contiguous":4`) {
		t.Errorf("%s, %v", all, err)
	}
	if i := b.only(func(upload.Info) bool { return true }); i.Contiguous != 4 || i.Status != state.UploadReceiving {
		t.Errorf("%+v", i)
	}
}

// A newer request goes on with what an older, live one writes.
func TestTheNewerRequestWins(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: time.Hour})
	data, sum := uploadtest.Data(6, 1<<20)
	c := b.dial("/x", fmt.Sprintf("Content-Length: %d", len(data)))
	if _, err := c.Write(data[:1000]); err != nil {
		t.Fatal(err)
	}
	i := b.only(func(i upload.Info) bool { return i.Contiguous == 1000 })
	if v := b.upload(b.do("PUT", "/"+i.ID, bytes.NewReader(data)), 201); v.SHA256 != sum {
		t.Errorf("%+v", v)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if all, err := io.ReadAll(c); !strings.HasPrefix(string(all), "HTTP/1.1 409 ") || !strings.Contains(string(all), "newer request") {
		t.Errorf("the older was told %s, %v", all, err)
	}
}

func curl(t *testing.T, args ...string) (out string) {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed: what it makes of the plain road was not tried")
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"--silent", "--show-error", "--max-time", "60", "--noproxy", "*"}, args...)...)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl %v: %v: %s", args, err, b)
	}
	return string(b)
}

func TestCurl(t *testing.T) {
	b := start(t, upload.Config{MaxSize: 8 << 20}, Config{})
	data, sum := uploadtest.Data(7, 5<<20)
	file := filepath.Join(t.TempDir(), "a b.mp4")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	const figures = "\n%{http_code} %{size_upload}"

	out := curl(t, "-T", file, b.url+Path+"/", "-w", figures)
	if !strings.Contains(out, sum) || !strings.HasSuffix(out, fmt.Sprintf("\n201 %d", len(data))) {
		t.Errorf("curl -T FILE: %s", out)
	}
	if i := b.only(func(upload.Info) bool { return true }); i.Name != "a b.mp4" {
		t.Errorf("named %q", i.Name)
	}

	// Resumed where it was cut: first with a length that curl is told wrong.
	part := b.upload(b.do("PUT", "/x", bytes.NewReader(data[:1<<20]), "Content-Range", fmt.Sprintf("bytes 0-%d/%d", 1<<20-1, len(data))), 202)
	out = curl(t, "-T", file, "-C", fmt.Sprint(part.Contiguous), b.url+Path+"/"+part.ID, "-w", figures)
	if !strings.Contains(out, sum) || !strings.HasSuffix(out, fmt.Sprintf("\n201 %d", len(data)-1<<20)) {
		t.Errorf("curl -C: %s", out)
	}

	// Refused before the body: curl waits for 100 Continue with a body of this size.
	large := filepath.Join(t.TempDir(), "large.mp4")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 64<<20); err != nil {
		t.Fatal(err)
	}
	out = curl(t, "-T", large, "-H", "Expect: 100-continue", "--expect100-timeout", "30", b.url+Path+"/", "-w", figures)
	if !strings.Contains(out, "uploads.max_size") || !strings.HasSuffix(out, "\n413 0") {
		t.Errorf("a file that is too large: %s", out)
	}
}

// Found out in the middle of a body that nobody expects an answer to: the client must
// still be told.
func TestARefusalInTheMiddleIsTold(t *testing.T) {
	b := start(t, upload.Config{MaxSize: 4 << 20}, Config{})
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	// Without a length the box learns only at 4 MiB that it is too much.
	for range 5 {
		out := curl(t, "-T", big, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", b.url+Path+"/", "-w", "\n%{http_code}")
		if !strings.HasSuffix(out, "\n413") || !strings.Contains(out, "Detail") && !strings.Contains(out, "detail") {
			t.Fatalf("curl: %s", out)
		}
	}
}

// Go's client gives up at the first write that fails, and does not look for an answer.
func TestARefusalAtTheBeginningIsTold(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, _ := uploadtest.Data(9, 8<<20)
	for range 10 {
		b.problem(b.do("PUT", "/x?treshold=1", bytes.NewReader(data)), 400, "threshold")
	}
}

func TestAnswersComeOnKeptConnections(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: 10 * time.Second})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for i := range 5 {
		data, sum := uploadtest.Data(uint64(10+i), 100_000)
		req, err := http.NewRequestWithContext(t.Context(), "PUT", b.url+Path+"/x", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 201 || !strings.Contains(string(all), sum) {
			t.Fatalf("%d: %d %s, %v", i, res.StatusCode, all, err)
		}
	}
	if len(b.List()) != 5 {
		t.Errorf("%d uploads", len(b.List()))
	}
}
