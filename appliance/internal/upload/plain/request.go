package plain

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/state"
)

// request is what one PUT or POST asks for.
type request struct {
	id    string       // of the upload; of a new one, once it is made
	found *upload.Info // the upload that it goes on with; nil: a new one
	spec  upload.Spec  // of a new one

	part   *intake.Range // which part the body is; nil: the whole file
	length int64         // of the body; -1: not said
	want   string        // sha256 of the whole file in hex; "": not said
	digest []byte        // sha256 of the body, where that is a part; nil: not said
}

func invalid(format string, a ...any) error { return intake.Wrong(upload.ErrInvalid, format, a...) }

// read takes what r's address and headers say.
func (h *Handler) read(r *http.Request) (*request, error) {
	q := &request{length: r.ContentLength}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, intake.Wrong(intake.ErrUnsupported, "the file is sent with Content-Encoding %.40q: send it as it is", e)
	}
	if t := r.Header.Get("Content-Type"); strings.HasPrefix(strings.ToLower(t), "multipart/") {
		return nil, intake.Wrong(intake.ErrUnsupported, "the body is a form: send the file itself, as curl -T FILE does")
	}
	if c := r.Header.Get("Content-Range"); c != "" {
		part, err := intake.ParseRange(c)
		if err != nil {
			return nil, err
		}
		if n := part.To - part.From; q.length >= 0 && q.length != n {
			return nil, invalid("Content-Range is about %d bytes, but the body has %d", n, q.length)
		}
		q.part = &part
	}
	words := intake.Words{}
	if err := words.AddQuery(r.URL.Query()); err != nil {
		return nil, err
	}
	if err := q.digests(r, words); err != nil {
		return nil, err
	}
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, Path), "/")
	if state.ValidID('u', name) {
		return q, h.goOn(q, name, words)
	}
	return q, h.begin(r, q, name, words)
}

// digests reads the RFC 9530 fields. The sum of a whole file's body is the file's.
func (q *request) digests(r *http.Request, words intake.Words) error {
	file, err := intake.SHA256Of("Repr-Digest", r.Header.Values("Repr-Digest"))
	if err != nil {
		return err
	}
	body, err := intake.SHA256Of("Content-Digest", r.Header.Values("Content-Digest"))
	if err != nil {
		return err
	}
	if body != nil && q.part != nil {
		if q.length < 0 {
			return invalid("Content-Digest of a part needs a Content-Length, and this body has none")
		}
		q.digest, body = body, nil
	}
	for _, sum := range [][]byte{file, body} {
		if sum == nil {
			continue
		}
		given := hex.EncodeToString(sum)
		if said, ok := words["sha256"]; ok && !strings.EqualFold(said, given) {
			return invalid("the file's sha256 is given twice, and differently: %.80s and %s", said, given)
		}
		words["sha256"] = given
	}
	q.want = strings.ToLower(words["sha256"])
	return nil
}

// begin reads the request for a new upload.
func (h *Handler) begin(r *http.Request, q *request, name string, words intake.Words) (err error) {
	if name != "" && words["filename"] == "" {
		words["filename"] = name
	}
	if err = words.AddDisposition(r.Header.Get("Content-Disposition")); err != nil {
		return err
	}
	if t := r.Header.Get("Content-Type"); t != "" && len(t) < 256 && words["filetype"] == "" {
		words["filetype"] = t
	}
	if q.spec, err = words.Spec(); err != nil {
		return err
	}
	if q.spec.Settings != nil && h.d.Check != nil {
		if err := h.d.Check(*q.spec.Settings); err != nil {
			return invalid("%v", err)
		}
	}
	q.spec.Size = q.length
	if q.part != nil {
		if q.part.From != 0 {
			return intake.Wrong(upload.ErrConflict, "Content-Range begins at byte %d, but this is a new upload: begin at 0, or PUT to the id of the upload that is to go on%s", q.part.From, h.likely(name))
		}
		q.spec.Size = q.part.Size
	}
	return nil
}

// likely names the uploads that a client may mean who gave a file's name.
func (h *Handler) likely(name string) string {
	var ids []string
	for _, i := range h.d.Uploads.List() {
		if i.Name == name && i.Status == state.UploadReceiving && len(ids) < 8 {
			ids = append(ids, fmt.Sprintf("%s (has %d)", i.ID, i.Contiguous))
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return ": there is " + strings.Join(ids, ", ")
}

// goOn reads the request for an upload that exists.
func (h *Handler) goOn(q *request, id string, words intake.Words) error {
	for name := range words {
		if name != "sha256" {
			return invalid("?%s= can be said when an upload begins, not later", name)
		}
	}
	if _, err := words.Spec(); err != nil {
		return err
	}
	i, err := h.d.Uploads.Get(id)
	if err != nil {
		return err
	}
	q.id, q.found = id, &i
	if i.Status == state.UploadRefused {
		return intake.Wrong(upload.ErrGone, "the upload was refused: %s", i.Problem)
	}
	if q.want != "" && i.WantSHA256 != "" && q.want != i.WantSHA256 {
		return intake.Wrong(upload.ErrConflict, "the upload began with sha256 %s, and now %s is given", i.WantSHA256, q.want)
	}
	size := q.size()
	if size >= 0 && i.Size >= 0 && size != i.Size {
		return intake.Wrong(upload.ErrConflict, "the upload has %d bytes, but this file has %d", i.Size, size)
	}
	if i.Size >= 0 && q.length >= 0 && q.from()+q.length > i.Size {
		return intake.Wrong(upload.ErrTooLarge, "byte %d is beyond the upload's %d bytes", q.from()+q.length, i.Size)
	}
	return nil
}

// size of the whole file, as the request tells it; -1: it does not.
func (q *request) size() int64 {
	if q.part != nil {
		return q.part.Size
	}
	return q.length
}

func (q *request) from() int64 {
	if q.part != nil {
		return q.part.From
	}
	return 0
}

// there tells whether nothing of the file is missing.
func (q *request) there() bool { return q.found != nil && q.found.Status != state.UploadReceiving }

// now returns how the upload stands; nil: there is none.
func (q *request) now(u *upload.Uploads) *upload.Info {
	if q.id == "" {
		return nil
	}
	if i, err := u.Get(q.id); err == nil {
		return &i
	}
	return nil
}

// verdict is the error of an upload that came out otherwise than this request asked for.
func (q *request) verdict(i upload.Info) error {
	switch {
	case i.Status == state.UploadRefused:
		return intake.Wrong(upload.ErrChecksum, "the file was refused: %s", i.Problem)
	case q.want != "" && i.SHA256 != q.want:
		return intake.Wrong(upload.ErrChecksum, "the file has sha256 %s, and not %s", i.SHA256, q.want)
	}
	return nil
}
