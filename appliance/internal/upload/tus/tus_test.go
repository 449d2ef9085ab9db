package tus

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestWhatIsOffered(t *testing.T) {
	b := start(t, upload.Config{}, Config{MaxSize: 12345})
	for _, path := range []string{Path, Path + "/", Path + "/u0"} {
		a := b.do("OPTIONS", path, nil, "Tus-Resumable", "")
		b.want(a, 200, "")
		for name, want := range map[string]string{
			"Tus-Version": "1.0.0", "Tus-Resumable": "1.0.0", "Tus-Max-Size": "12345",
			"Tus-Extension":          "creation,creation-with-upload,termination,creation-defer-length,checksum,expiration",
			"Tus-Checksum-Algorithm": "sha1,sha256,sha512,md5,crc32",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s is set: rules for other sites' pages are the guard's", name)
			}
		}
	}
}

// The core protocol, with all extensions that can go along.
func TestAnUpload(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(1, 1<<20)
	path, id := b.create("Upload-Length", fmt.Sprint(len(data)), "Upload-Metadata", "filename "+b64("höf.mp4")+",sha256 "+b64(sum)+",model "+b64("motion")+",own")
	const cut = 400_001
	a := b.do("PATCH", path, bytes.NewReader(data[:cut]), "Content-Type", part, "Upload-Offset", "0")
	b.want(a, 204, "")
	if a.Header.Get("Upload-Offset") != fmt.Sprint(cut) {
		t.Errorf("Upload-Offset %q", a.Header.Get("Upload-Offset"))
	}
	b.expires(a)

	b.Reopen() // the box starts anew
	b.serve(Config{}, intake.NewTurns(0, nil, nil))
	a = b.do("HEAD", path, nil, "Tus-Resumable", "1.0.0")
	b.want(a, 200, "")
	b.expires(a)
	words, err := intake.ParseMetadata(a.Header.Get("Upload-Metadata"))
	if err != nil || words["filename"] != "höf.mp4" || words["model"] != "motion" || len(words) != 4 {
		t.Errorf("Upload-Metadata %v, %v", words, err)
	}
	if a.Header.Get("Upload-Offset") != fmt.Sprint(cut) || a.Header.Get("Upload-Length") != fmt.Sprint(len(data)) || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Tus-Resumable") != "1.0.0" {
		t.Errorf("HEAD: %v", a.Header)
	}
	b.want(b.do("PATCH", path, bytes.NewReader(data), "Content-Type", part, "Upload-Offset", "1"), 409, "ERR_MISMATCHED_OFFSET")
	a = b.do("PATCH", path, struct{ io.Reader }{bytes.NewReader(data[cut:])}, "Content-Type", part, "Upload-Offset", fmt.Sprint(cut))
	b.want(a, 204, "")
	if a.Header.Get("Upload-Expires") != "" {
		t.Error("a whole file expires")
	}
	if i := b.Complete(id); i.SHA256 != sum || i.Name != "höf.mp4" || i.Settings == nil || i.Settings.Model != "motion" || !bytes.Equal(b.Bytes(id), data) {
		t.Errorf("%+v", i)
	}
	// Nothing more is taken, and the offset stays.
	a = b.do("PATCH", path, nil, "Content-Type", part, "Upload-Offset", fmt.Sprint(len(data)))
	b.want(a, 204, "")
	b.want(b.do("DELETE", path, nil), 204, "")
	for _, method := range []string{"HEAD", "PATCH", "DELETE"} {
		if a := b.do(method, path, nil, "Content-Type", part, "Upload-Offset", "0"); a.StatusCode != 410 {
			t.Errorf("%s after DELETE: %d %s", method, a.StatusCode, a.body)
		}
	}
}

func TestCreationWithUpload(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(2, 100_000)
	a := b.do("POST", Path, bytes.NewReader(data[:50_000]), "Content-Type", part, "Upload-Length", "100000")
	b.want(a, 201, "")
	b.expires(a)
	if a.Header.Get("Upload-Offset") != "50000" {
		t.Errorf("%v", a.Header)
	}
	b.want(b.do("PATCH", a.Header.Get("Location"), bytes.NewReader(data[50_000:]), "Content-Type", part, "Upload-Offset", "50000"), 204, "")
	if i := b.Complete(strings.TrimPrefix(a.Header.Get("Location"), Path+"/")); i.SHA256 != sum {
		t.Errorf("%+v", i)
	}
	// An empty file is whole at once; and words may be in the address, too.
	a = b.do("POST", Path+"?name=nothing&no_job", nil, "Upload-Length", "0")
	b.want(a, 201, "")
	if i := b.Complete(strings.TrimPrefix(a.Header.Get("Location"), Path+"/")); i.Name != "nothing" || !i.NoJob {
		t.Errorf("%+v", i)
	}
}

func TestDeferredLength(t *testing.T) {
	b := start(t, upload.Config{MaxSize: 1 << 20}, Config{MaxSize: 1 << 20})
	data, sum := uploadtest.Data(3, 100_000)
	path, id := b.create("Upload-Defer-Length", "1")
	b.want(b.do("PATCH", path, bytes.NewReader(data[:50_000]), "Content-Type", part, "Upload-Offset", "0"), 204, "")
	if a := b.do("HEAD", path, nil); a.Header.Get("Upload-Defer-Length") != "1" || a.Header.Get("Upload-Length") != "" || a.Header.Get("Upload-Offset") != "50000" {
		t.Errorf("%v", a.Header)
	}
	b.want(b.do("PATCH", path, bytes.NewReader(data[50_000:]), "Content-Type", part, "Upload-Offset", "50000", "Upload-Length", "49999"), 400, "")
	b.want(b.do("PATCH", path, bytes.NewReader(data[50_000:]), "Content-Type", part, "Upload-Offset", "50000", "Upload-Length", "100000"), 204, "")
	if i := b.Complete(id); i.SHA256 != sum {
		t.Errorf("%+v", i)
	}
	path, _ = b.create("Upload-Defer-Length", "1")
	b.want(b.do("PATCH", path, struct{ io.Reader }{bytes.NewReader(make([]byte, 2<<20))}, "Content-Type", part, "Upload-Offset", "0"), 413, "")
}

func TestChecksums(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	data, sum := uploadtest.Data(4, 400_000)
	path, id := b.create("Upload-Length", fmt.Sprint(len(data)))
	at := 0
	sums := map[string]func([]byte) []byte{
		"sha1":   func(p []byte) []byte { s := sha1.Sum(p); return s[:] },
		"sha256": func(p []byte) []byte { s := sha256.Sum256(p); return s[:] },
		"md5":    func(p []byte) []byte { s := md5.Sum(p); return s[:] },
		"crc32":  func(p []byte) []byte { return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(p)) },
	}
	patch := func(body []byte, checksum string) reply {
		return b.do("PATCH", path, bytes.NewReader(body), "Content-Type", part, "Upload-Offset", fmt.Sprint(at), "Upload-Checksum", checksum)
	}
	for name, sum := range sums {
		p := data[at : at+100_000]
		broken := bytes.Clone(p)
		broken[len(broken)/2] ^= 1
		good := name + " " + base64.StdEncoding.EncodeToString(sum(p))
		b.want(patch(broken, good), 460, "ERR_CHECKSUM_MISMATCH")
		if a := b.do("HEAD", path, nil); a.Header.Get("Upload-Offset") != fmt.Sprint(at) {
			t.Fatalf("%s: bytes with another checksum count: %v", name, a.Header)
		}
		b.want(patch(p, good), 204, "")
		at += len(p)
	}
	if i := b.Complete(id); i.SHA256 != sum {
		t.Errorf("%+v", i)
	}
	path, at = "", 0
	path, _ = b.create("Upload-Length", "10")
	b.want(patch(data[:5], "sha3 YWJj"), 400, "take one of sha1, sha256")
	b.want(patch(data[:5], "sha1 !"), 400, "base64")
	b.want(b.do("PATCH", path, struct{ io.Reader }{bytes.NewReader(data[:5])}, "Content-Type", part, "Upload-Offset", "0", "Upload-Checksum", "md5 YWJj"), 400, "Content-Length")
	if i, _ := b.Get(strings.TrimPrefix(path, Path+"/")); i.Received != 0 {
		t.Errorf("%+v", i)
	}
	// With the creation: nothing is made where the checksum cannot be read.
	before := len(b.List())
	b.want(b.do("POST", Path, bytes.NewReader(data[:5]), "Content-Type", part, "Upload-Length", "5", "Upload-Checksum", "x"), 400, "algorithm")
	if len(b.List()) != before {
		t.Error("an upload was made")
	}
	b.want(b.do("POST", Path, bytes.NewReader(data[:5]), "Content-Type", part, "Upload-Length", "5", "Upload-Checksum", "sha1 "+base64.StdEncoding.EncodeToString(sums["sha1"](data[:5]))), 201, "")
}

func TestWhatIsWrongIsTold(t *testing.T) {
	b := start(t, upload.Config{MaxSize: 1 << 20}, Config{MaxSize: 1 << 20})
	path, id := b.create("Upload-Length", "10")
	const nobody = Path + "/u0000000000000000000000000"
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		has                string
	}{
		"version":         {"POST", Path, "", []string{"Tus-Resumable", "0.2.2", "Upload-Length", "1"}, 412, "ERR_UNSUPPORTED_VERSION"},
		"version first":   {"POST", Path, "", []string{"Tus-Resumable", "", "Upload-Metadata", "?"}, 412, "ERR_UNSUPPORTED_VERSION"},
		"no length":       {"POST", Path, "", nil, 400, "ERR_INVALID_UPLOAD_LENGTH"},
		"negative":        {"POST", Path, "", []string{"Upload-Length", "-1"}, 400, "ERR_INVALID_UPLOAD_LENGTH"},
		"too large":       {"POST", Path, "", []string{"Upload-Length", "1048577"}, 413, "ERR_MAX_SIZE_EXCEEDED"},
		"metadata":        {"POST", Path, "", []string{"Upload-Length", "1", "Upload-Metadata", "filename ?"}, 400, "ERR_INVALID_REQUEST: Upload-Metadata: the value of \"filename\" is not base64"},
		"setting":         {"POST", Path, "", []string{"Upload-Length", "1", "Upload-Metadata", "threshold " + b64("7")}, 400, "a number from 0 to 1"},
		"model":           {"POST", Path, "", []string{"Upload-Length", "1", "Upload-Metadata", "model " + b64("none")}, 400, io.ErrNoProgress.Error()},
		"digest":          {"POST", Path, "", []string{"Upload-Length", "1", "Repr-Digest", "x"}, 400, "Repr-Digest"},
		"misspelt word":   {"POST", Path + "?treshold=1", "", []string{"Upload-Length", "1"}, 400, "means nothing here"},
		"concatenation":   {"POST", Path, "", []string{"Upload-Concat", "partial", "Upload-Length", "1"}, 400, "as one upload"},
		"unknown":         {"PATCH", nobody, "x", []string{"Content-Type", part, "Upload-Offset", "0"}, 404, "ERR_UPLOAD_NOT_FOUND"},
		"no id":           {"PATCH", Path + "/x", "x", []string{"Content-Type", part, "Upload-Offset", "0"}, 404, "ERR_UPLOAD_NOT_FOUND"},
		"type":            {"PATCH", path, "x", []string{"Upload-Offset", "0"}, 400, "ERR_INVALID_CONTENT_TYPE"},
		"offset":          {"PATCH", path, "x", []string{"Content-Type", part, "Upload-Offset", "-1"}, 400, "ERR_INVALID_OFFSET"},
		"beyond":          {"PATCH", path, "01234567890", []string{"Content-Type", part, "Upload-Offset", "0"}, 413, "ERR_UPLOAD_SIZE_EXCEEDED"},
		"download":        {"GET", path, "", nil, 405, "/api/v1/uploads/" + id},
		"override":        {"POST", Path, "", []string{"X-HTTP-Method-Override", "GET"}, 405, "POST begins an upload"},
		"unknown draft":   {"POST", Path, "", []string{"Tus-Resumable", "", "Upload-Draft-Interop-Version", "99"}, 412, "ERR_UNSUPPORTED_VERSION"},
		"bad disposition": {"POST", Path, "", []string{"Tus-Resumable", "", "Upload-Draft-Interop-Version", "6", "Upload-Complete", "?1", "Content-Disposition", "=;="}, 400, "Content-Disposition"},
		"bad type":        {"POST", Path, "", []string{"Tus-Resumable", "", "Upload-Draft-Interop-Version", "6", "Upload-Complete", "?1", "Content-Type", "a b"}, 400, "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.do(c.method, c.path, strings.NewReader(c.body), c.header...)
			b.want(a, c.status, c.has)
			if c.status == 412 && a.Header.Get("Tus-Version") != "1.0.0" {
				t.Errorf("412 without Tus-Version: %v", a.Header)
			}
		})
	}
	if all := b.List(); len(all) != 1 || all[0].Received != 0 {
		t.Errorf("after all that: %+v", all)
	}
	b.want(b.do("HEAD", nobody, nil), 404, "")
	if strings.Contains(b.Log.String(), "level=ERROR") {
		t.Errorf("a client's mistakes are in the log:\n%s", b.Log.String())
	}
}

// The client gave the hash of another file.
func TestAnotherFileIsRefused(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	path, id := b.create("Upload-Length", "10", "Upload-Metadata", "sha256 "+b64(strings.Repeat("0", 64)))
	b.want(b.do("PATCH", path, strings.NewReader("0123456789"), "Content-Type", part, "Upload-Offset", "0"), 460, "ERR_CHECKSUM_MISMATCH")
	b.Await(id, func(i upload.Info) bool { return i.Status == state.UploadRefused })
	if a := b.do("HEAD", path, nil); a.StatusCode != 410 {
		t.Errorf("HEAD of a refused upload: %d", a.StatusCode)
	}
}

func TestTooManyAtOnce(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	turns := intake.NewTurns(1, nil, nil)
	b.serve(Config{}, turns)
	leave, err := turns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	a := b.do("POST", Path, nil, "Upload-Length", "1")
	if b.want(a, 503, "ERR_TOO_MANY_UPLOADS"); a.Header.Get("Retry-After") == "" {
		t.Error("without Retry-After")
	}
	leave()
	b.create("Upload-Length", "1")
}

func TestMethodOverride(t *testing.T) {
	b := start(t, upload.Config{}, Config{})
	path, id := b.create("Upload-Length", "5")
	b.want(b.do("POST", path, strings.NewReader("01234"), "X-HTTP-Method-Override", "PATCH", "Content-Type", part, "Upload-Offset", "0"), 204, "")
	b.Complete(id)
}

func FuzzChecksum(f *testing.F) {
	for _, s := range []string{"", "sha1 YWJj", "md5", "crc32  AAAA", "sha256 ="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseChecksum(header)
		if (c == nil) == (err == nil) && header != "" {
			t.Errorf("%q: %+v, %v", header, c, err)
		}
		if c != nil && (len(c.sum) == 0 || c.algorithm == "") {
			t.Errorf("%q: %+v", header, c)
		}
	})
}
