package tus

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

// dial begins a PATCH of n bytes at 0 by hand and returns its connection.
func (b *box) dial(path string, n int) *net.TCPConn {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: 0\r\nContent-Length: %d\r\n\r\n", path, part, n)
	return c.(*net.TCPConn)
}

// A connection that died without a word, as when a laptop is closed, still has a
// writer behind it. The client comes back, and must not wait for its own ghost.
func TestAStaleWriterGivesWay(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: time.Hour, Patience: 20 * time.Second})
	data, sum := uploadtest.Data(1, 1<<20)
	path, id := b.create("Upload-Length", fmt.Sprint(len(data)))
	ghost := b.dial(path, len(data))
	if _, err := ghost.Write(data[:700_000]); err != nil {
		t.Fatal(err)
	}
	b.Await(id, func(i upload.Info) bool { return i.Contiguous > 0 })
	began := time.Now()
	a := b.do("HEAD", path, nil)
	b.want(a, 200, "")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("HEAD waited %v for a dead connection", took)
	}
	var offset int
	fmt.Sscan(a.Header.Get("Upload-Offset"), &offset)
	// What the ghost had brought before is not asked for again.
	if i, _ := b.Get(id); offset == 0 || i.Contiguous != int64(offset) {
		t.Errorf("offset %d, and then %d", offset, i.Contiguous)
	}
	b.want(b.do("PATCH", path, bytes.NewReader(data[offset:]), "Content-Type", part, "Upload-Offset", fmt.Sprint(offset)), 204, "")
	if i := b.Complete(id); i.SHA256 != sum || !bytes.Equal(b.Bytes(id), data) {
		t.Errorf("%+v", i)
	}
	ghost.SetReadDeadline(time.Now().Add(20 * time.Second))
	if all, err := io.ReadAll(ghost); !strings.HasPrefix(string(all), "HTTP/1.1 409 ") || !strings.Contains(string(all), "ERR_UPLOAD_INTERRUPTED") {
		t.Errorf("the ghost was told %s, %v", all, err)
	}
}

// One that is removed while it is written to.
func TestRemovingWhatArrives(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: time.Hour})
	path, id := b.create("Upload-Length", "1000")
	c := b.dial(path, 1000)
	io.WriteString(c, "0123456789")
	b.Await(id, func(i upload.Info) bool { return i.Contiguous == 10 })
	b.want(b.do("DELETE", path, nil), 204, "")
	if a := b.do("HEAD", path, nil); a.StatusCode != 410 {
		t.Errorf("HEAD after DELETE: %d", a.StatusCode)
	}
}

func TestSilenceEndsAConnection(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: 1200 * time.Millisecond})
	path, id := b.create("Upload-Length", "10")
	c := b.dial(path, 10)
	io.WriteString(c, "0123")
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if all, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 408 ") {
		t.Errorf("%s, %v", all, err)
	}
	if i, err := b.Get(id); err != nil || i.Contiguous != 4 || i.Status != state.UploadReceiving {
		t.Errorf("%+v, %v", i, err)
	}
}

// Room runs out in the middle of a file whose size nobody said: what came is kept, and the
// upload goes on when there is room.
func TestNoRoomInTheMiddle(t *testing.T) {
	b := start(t, upload.Config{Quota: 3 << 20}, Config{})
	other, _ := b.create("Upload-Length", "1048576")
	data, sum := uploadtest.Data(8, 5<<19)
	path, id := b.create("Upload-Defer-Length", "1")
	patch := func(from int) reply {
		return b.do("PATCH", path, struct{ io.Reader }{bytes.NewReader(data[from:])}, "Content-Type", part, "Upload-Offset", fmt.Sprint(from))
	}
	b.want(patch(0), 507, "ERR_QUOTA_EXCEEDED")
	b.want(b.do("POST", Path, nil, "Upload-Length", "3145728"), 507, "ERR_QUOTA_EXCEEDED")
	kept, err := b.Get(id)
	if err != nil || kept.Contiguous == 0 || kept.Status != state.UploadReceiving {
		t.Fatalf("%+v, %v", kept, err)
	}
	b.want(b.do("DELETE", other, nil), 204, "")
	b.want(patch(int(kept.Contiguous)), 204, "")
	b.want(b.do("PATCH", path, nil, "Content-Type", part, "Upload-Offset", fmt.Sprint(len(data)), "Upload-Length", fmt.Sprint(len(data))), 204, "")
	if i := b.Complete(id); i.SHA256 != sum {
		t.Errorf("%+v", i)
	}
}

// Slower than the server's timeouts for whole requests.
func TestASlowUploadIsNotCut(t *testing.T) {
	b := start(t, upload.Config{}, Config{Idle: 10 * time.Second})
	b.url = uploadtest.ServeHurried(t, b.handler)
	data, sum := uploadtest.Data(5, 10)
	path, id := b.create("Upload-Length", "10")
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
	b.want(b.do("PATCH", path, r, "Content-Type", part, "Upload-Offset", "0"), 204, "")
	if i := b.Complete(id); i.SHA256 != sum {
		t.Errorf("%+v", i)
	}
}

// Many requests for one upload at the same time: it comes out whole whoever wins.
func TestManyWritersOfOneUpload(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(6, 4<<20)
	path, id := b.create("Upload-Length", fmt.Sprint(len(data)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				a := b.do("HEAD", path, nil)
				var at int
				if fmt.Sscan(a.Header.Get("Upload-Offset"), &at); a.StatusCode != 200 || at == len(data) {
					return
				}
				// In steps, so that there is time to be interrupted.
				r := io.MultiReader(bytes.NewReader(data[at:min(at+300_000, len(data))]))
				req, err := http.NewRequestWithContext(t.Context(), "PATCH", b.url+path, r)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header = http.Header{"Tus-Resumable": {"1.0.0"}, "Content-Type": {part}, "Upload-Offset": {fmt.Sprint(at)}}
				if res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
					res.Body.Close()
					if res.StatusCode >= 500 {
						t.Errorf("%s", res.Status)
					}
				}
			}
		})
	}
	wg.Wait()
	if i := b.Complete(id); i.SHA256 != sum {
		t.Errorf("%+v", i)
	}
}

// The IETF's protocol: one POST, an interim answer that names the upload, and going on after
// a cut.
func TestTheDraft(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(7, 1<<20)
	for _, version := range []string{"3", "4", "5", "6"} {
		t.Run(version, func(t *testing.T) {
			complete := []string{"Upload-Complete", "?1", "?0"}
			if version == "3" {
				complete = []string{"Upload-Incomplete", "?0", "?1"}
			}
			var interim string
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == 104 {
					interim = h.Get("Location")
				}
				return nil
			}})
			const cut = 500_000
			req, err := http.NewRequestWithContext(ctx, "POST", b.url+Path+"?priority=7", bytes.NewReader(data[:cut]))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Upload-Draft-Interop-Version": {version}, complete[0]: {complete[2]}, "Content-Type": {"video/mp4"}, "Content-Disposition": {`attachment; filename="draft.mp4"`}}
			res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			path := res.Header.Get("Location")
			if res.StatusCode != 201 || interim == "" || interim != path || !strings.HasPrefix(path, Path+"/u") || res.Header.Get("Upload-Offset") != fmt.Sprint(cut) {
				t.Fatalf("%d, 104 with %q, %v", res.StatusCode, interim, res.Header)
			}
			id := strings.TrimPrefix(path, Path+"/")
			a := b.do("HEAD", path, nil, "Tus-Resumable", "", "Upload-Draft-Interop-Version", version)
			b.want(a, 204, "")
			if a.Header.Get("Upload-Offset") != fmt.Sprint(cut) || a.Header.Get(complete[0]) != complete[2] {
				t.Fatalf("%v", a.Header)
			}
			a = b.do("PATCH", path, bytes.NewReader(data[cut:]), "Tus-Resumable", "", "Upload-Draft-Interop-Version", version, complete[0], complete[1],
				"Content-Type", "application/partial-upload", "Upload-Offset", fmt.Sprint(cut))
			b.want(a, 204, "")
			i := b.Complete(id)
			if i.SHA256 != sum || i.Name != "draft.mp4" || i.Metadata["filetype"] != "video/mp4" || i.Metadata["priority"] != "7" {
				t.Errorf("%+v", i)
			}
			a = b.do("HEAD", path, nil, "Tus-Resumable", "", "Upload-Draft-Interop-Version", version)
			if a.Header.Get(complete[0]) != complete[1] {
				t.Errorf("%v", a.Header)
			}
		})
	}
}
