package plain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

// unsized hides a body's length: it is sent in chunks.
func unsized(b []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(b)} }

func TestAFileInOneRequest(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(1, 3<<20+7)
	digest, _ := hex.DecodeString(sum)
	for name, c := range map[string]struct {
		method, path string
		body         io.Reader
		header       []string
		name         string
	}{
		"put":           {"PUT", "/h%C3%B6f.mp4", bytes.NewReader(data), nil, "höf.mp4"},
		"put, chunked":  {"PUT", "/a.mp4", unsized(data), nil, "a.mp4"},
		"put, no name":  {"PUT", "/", unsized(data), nil, "upload"},
		"post":          {"POST", "?name=b.mp4&sha256=" + strings.ToUpper(sum), bytes.NewReader(data), nil, "b.mp4"},
		"post, named":   {"POST", "/", bytes.NewReader(data), []string{"Content-Disposition", `attachment; filename="c.mp4"`}, "c.mp4"},
		"repr-digest":   {"PUT", "/d", bytes.NewReader(data), []string{"Repr-Digest", intake.Digest(digest)}, "d"},
		"body's digest": {"PUT", "/e", bytes.NewReader(data), []string{"Content-Digest", "sha-512=:AAAA:, " + intake.Digest(digest)}, "e"},
		"whole range":   {"PUT", "/f", bytes.NewReader(data), []string{"Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data))}, "f"},
		"path games":    {"PUT", "/..%2F..%2Fg", bytes.NewReader(data), nil, "g"},
		"expects":       {"PUT", "/h", bytes.NewReader(data), []string{"Expect", "100-continue"}, "h"},
	} {
		t.Run(name, func(t *testing.T) {
			v := b.upload(b.do(c.method, c.path, c.body, c.header...), 201)
			if v.Status != "complete" || v.SHA256 != sum || v.Received != int64(len(data)) {
				t.Errorf("%+v", v)
			}
			if !bytes.Equal(b.Bytes(v.ID), data) {
				t.Error("other bytes are stored")
			}
			if i, err := b.Get(v.ID); err != nil || i.Name != c.name {
				t.Errorf("named %q, %v", i.Name, err)
			}
		})
	}
	empty := b.upload(b.do("PUT", "/empty", nil), 201)
	if nothing := sha256.Sum256(nil); empty.SHA256 != hex.EncodeToString(nothing[:]) {
		t.Errorf("an empty file: %+v", empty)
	}
}

func TestTheWordsOfARequest(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	v := b.upload(b.do("PUT", "/x?model=motion&classes=person,car&threshold=0.5&priority=3&no_video", strings.NewReader("x"), "Content-Type", "video/mp4"), 201)
	i, err := b.Get(v.ID)
	if err != nil || i.Settings == nil || i.Settings.Model != "motion" || len(i.Settings.Classes) != 2 || !i.Settings.NoVideo ||
		i.Metadata["priority"] != "3" || i.Metadata["filetype"] != "video/mp4" {
		t.Errorf("%+v, %v", i, err)
	}
	if v = b.upload(b.do("PUT", "/x?no_job", strings.NewReader("x")), 201); v.Status != "complete" {
		t.Errorf("%+v", v)
	}
	if i, _ = b.Get(v.ID); !i.NoJob || i.Settings != nil {
		t.Errorf("%+v", i)
	}
}

func TestAFileInParts(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(2, 1<<20)
	const cut = 300_001
	part := func(from, to int) string { return fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data)) }
	first := b.upload(b.do("PUT", "/x.mp4?sha256="+sum, bytes.NewReader(data[:cut]), "Content-Range", part(0, cut)), 202)
	if first.Contiguous != cut || first.Status != "receiving" {
		t.Fatalf("%+v", first)
	}
	// Out of order, and again what is there.
	mid := len(data) - 1000
	if v := b.upload(b.do("PUT", "/"+first.ID, bytes.NewReader(data[mid:]), "Content-Range", part(mid, len(data))), 202); v.Contiguous != cut || v.Received != cut+1000 {
		t.Errorf("after the end: %+v", v)
	}
	b.Reopen() // the box starts anew
	b.serve(Config{}, intake.NewTurns(0, nil, nil))
	digest := sha256.Sum256(data[cut-5 : mid])
	bad := sha256.Sum256(nil)
	b.problem(b.do("PUT", "/"+first.ID, bytes.NewReader(data[cut-5:mid]), "Content-Range", part(cut-5, mid), "Content-Digest", intake.Digest(bad[:])), 460, "")
	if i, _ := b.Get(first.ID); i.Contiguous != cut {
		t.Errorf("a part with a wrong digest counts: %+v", i)
	}
	done := b.upload(b.do("PUT", "/"+first.ID, bytes.NewReader(data[cut-5:mid]), "Content-Range", part(cut-5, mid), "Content-Digest", intake.Digest(digest[:])), 201)
	if done.SHA256 != sum || done.Status != "complete" {
		t.Errorf("%+v", done)
	}
	if !bytes.Equal(b.Bytes(first.ID), data) {
		t.Error("other bytes are stored")
	}
	// The answer was lost: the client asks once more, and nothing is taken.
	if v := b.upload(b.do("PUT", "/"+first.ID, bytes.NewReader(data), "Expect", "100-continue"), 200); v.SHA256 != sum {
		t.Errorf("%+v", v)
	}
	b.problem(b.do("PUT", "/"+first.ID+"?sha256="+strings.Repeat("0", 64), bytes.NewReader(data)), 409, "sha256")
}

// Begun without a size, gone on with another request that knows it.
func TestTheSizeComesLater(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(3, 100_000)
	v := b.upload(b.do("PUT", "/x", bytes.NewReader(data[:10]), "Content-Range", "bytes 0-9/*"), 202)
	if v = b.upload(b.do("PUT", "/"+v.ID, bytes.NewReader(data)), 201); v.SHA256 != sum {
		t.Errorf("%+v", v)
	}
	v = b.upload(b.do("PUT", "/x", bytes.NewReader(data[:10]), "Content-Range", "bytes 0-9/*"), 202)
	if v = b.upload(b.do("PUT", "/"+v.ID, unsized(data)), 201); v.SHA256 != sum {
		t.Errorf("%+v", v)
	}
}

func TestWhatIsWrongIsTold(t *testing.T) {
	b := start(t, upload.Config{MaxSize: 1 << 20}, Config{})
	open := b.upload(b.do("PUT", "/open", strings.NewReader("0123456789"), "Content-Range", "bytes 0-9/100"), 202)
	const nobody = "/u0000000000000000000000000"
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		has                string
	}{
		"misspelt word":      {"PUT", "/x?treshold=1", "x", nil, 400, "threshold"},
		"bad setting":        {"PUT", "/x?threshold=2", "x", nil, 400, "a number from 0 to 1"},
		"no such model":      {"PUT", "/x?model=none", "x", nil, 400, io.ErrNoProgress.Error()},
		"bad digest":         {"PUT", "/x", "x", []string{"Repr-Digest", "sha-256=abc"}, 400, "Repr-Digest"},
		"short digest":       {"PUT", "/x?sha256=" + strings.Repeat("0", 64), "x", []string{"Repr-Digest", intake.Digest(make([]byte, 31))}, 400, "32 bytes"},
		"differing digests":  {"PUT", "/x?sha256=" + strings.Repeat("1", 64), "x", []string{"Repr-Digest", intake.Digest(make([]byte, 32))}, 400, "differently"},
		"other file":         {"PUT", "/x?sha256=" + strings.Repeat("1", 64), "x", nil, 460, ""},
		"form":               {"POST", "", "x", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "curl -T"},
		"compressed":         {"PUT", "/x", "x", []string{"Content-Encoding", "gzip"}, 415, "send it as it is"},
		"too large":          {"PUT", "/x", strings.Repeat("x", 1<<20+1), nil, 413, "uploads.max_size"},
		"bad range":          {"PUT", "/x", "x", []string{"Content-Range", "bytes 1/2"}, 400, "FIRST-LAST/SIZE"},
		"range and length":   {"PUT", "/x", "x", []string{"Content-Range", "bytes 0-1/2"}, 400, "about 2 bytes, but the body has 1"},
		"begins late":        {"PUT", "/open", "x", []string{"Content-Range", "bytes 10-10/100"}, 409, open.ID + " (has 10)"},
		"no such upload":     {"PUT", nobody, "x", nil, 404, ""},
		"other size":         {"PUT", "/" + open.ID, "x", []string{"Content-Range", "bytes 10-10/99"}, 409, "100 bytes, but this file has 99"},
		"whole, other size":  {"PUT", "/" + open.ID, "x", nil, 409, "100 bytes, but this file has 1"},
		"beyond":             {"PUT", "/" + open.ID, "xx", []string{"Content-Range", "bytes 99-100/*"}, 413, "beyond"},
		"other bytes":        {"PUT", "/" + open.ID, "9876543210", []string{"Content-Range", "bytes 0-9/100"}, 409, ""},
		"settings too late":  {"PUT", "/" + open.ID + "?model=motion", "x", []string{"Content-Range", "bytes 10-10/100"}, 400, "when an upload begins"},
		"sha256 of nonsense": {"PUT", "/" + open.ID + "?sha256=x", "x", []string{"Content-Range", "bytes 10-10/100"}, 400, "64 hexadecimal"},
	} {
		t.Run(name, func(t *testing.T) {
			b.problem(b.do(c.method, c.path, strings.NewReader(c.body), c.header...), c.status, c.has)
		})
	}
	if i, err := b.Get(open.ID); err != nil || i.Received != 10 || i.Status != state.UploadReceiving {
		t.Errorf("after all that: %+v, %v", i, err)
	}
	if strings.Contains(b.Log.String(), "level=ERROR") {
		t.Errorf("a client's mistakes are in the log:\n%s", b.Log.String())
	}
	if err := b.Remove(t.Context(), open.ID); err != nil {
		t.Fatal(err)
	}
	b.problem(b.do("PUT", "/"+open.ID, strings.NewReader("x")), 410, "")
}

func TestTooManyAtOnce(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	turns := intake.NewTurns(1, nil, nil)
	b.serve(Config{}, turns)
	leave, err := turns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	a := b.do("PUT", "/x", strings.NewReader("x"))
	if b.problem(a, 503, "try again"); a.Header.Get("Retry-After") == "" {
		t.Error("without Retry-After")
	}
	leave()
	b.upload(b.do("PUT", "/x", strings.NewReader("x")), 201)
}

// A fault of the box is in the log and not in the answer.
func TestFaultsAreLoggedNotTold(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	h := &Handler{d: Deps{Log: b.logger(), View: func(i upload.Info) any { return i.ID }}}
	rec := record()
	h.refuse(rec, fmt.Errorf("secret: %w", upload.ErrStorage), nil)
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "secret") || !strings.Contains(b.Log.String(), "secret") {
		t.Errorf("%d %s; log %s", rec.Code, rec.Body, b.Log.String())
	}
}
