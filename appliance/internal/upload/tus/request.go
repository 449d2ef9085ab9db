package tus

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/tus/tusd/v2/pkg/handler"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/state"
)

// request is what the store and the answer must know of the request that tusd
// does not tell them. It travels in the request's context.
type request struct {
	id     string // of the upload; of a new one, once it is made
	draft  bool   // the IETF's protocol is spoken
	body   *intake.Body
	length int64 // of the body; -1: not said

	spec     upload.Spec // of a new upload
	checksum *checksum   // of the body; nil: none
	// wrong is what is wrong with the headers. It is told when the store is
	// asked: tusd looks at the protocol's version first, as tus wants it.
	wrong error
}

type key struct{}

// requestOf finds the request in a context that came through tusd.
func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(key{}).(*request)
	if r == nil {
		return &request{} // not by way of Handler
	}
	return r
}

// read takes what r's headers say.
func (q *request) read(r *http.Request, check func(state.Settings) error) {
	q.checksum, q.wrong = parseChecksum(r.Header.Get("Upload-Checksum"))
	if q.wrong == nil && q.checksum != nil && r.ContentLength < 0 {
		q.wrong = intake.Wrong(upload.ErrInvalid, "Upload-Checksum needs a Content-Length, and this body has none")
	}
	if q.wrong == nil && r.Header.Get("Upload-Concat") != "" {
		// Taken for a whole file, each part would be analysed.
		q.wrong = intake.Wrong(upload.ErrInvalid, "concatenation is not offered here: send the file as one upload (parallelUploads: 1)")
	}
	if q.wrong == nil && r.Method == http.MethodPost {
		q.spec, q.wrong = parseSpec(r, q.draft)
		if q.wrong == nil && check != nil && q.spec.Settings != nil {
			if err := check(*q.spec.Settings); err != nil {
				q.wrong = intake.Wrong(upload.ErrInvalid, "%v", err)
			}
		}
	}
}

// parseSpec reads what a new upload's request says of the file: its metadata,
// and what only the address or the IETF's protocol can say.
func parseSpec(r *http.Request, draft bool) (upload.Spec, error) {
	words, err := intake.ParseMetadata(strings.Join(r.Header.Values("Upload-Metadata"), ","))
	if err != nil {
		return upload.Spec{}, err
	}
	if err := words.AddQuery(r.URL.Query()); err != nil {
		return upload.Spec{}, err
	}
	if draft {
		if err := words.AddDisposition(r.Header.Get("Content-Disposition")); err != nil {
			return upload.Spec{}, err
		}
		if t := r.Header.Get("Content-Type"); t != "" {
			if _, _, err := mime.ParseMediaType(t); err != nil {
				return upload.Spec{}, intake.Wrong(upload.ErrInvalid, "Content-Type cannot be read: %v", err)
			}
			if words["filetype"] == "" {
				words["filetype"] = t
			}
		}
	}
	sum, err := intake.SHA256Of("Repr-Digest", r.Header.Values("Repr-Digest"))
	if err != nil {
		return upload.Spec{}, err
	}
	if sum != nil && words["sha256"] == "" {
		words["sha256"] = hex.EncodeToString(sum)
	}
	return words.Spec()
}

// checksum of one body.
type checksum struct {
	algorithm string
	sum       []byte
}

// parseChecksum reads tus' Upload-Checksum; nil: there is none.
func parseChecksum(header string) (*checksum, error) {
	if header == "" {
		return nil, nil
	}
	algorithm, coded, _ := strings.Cut(header, " ")
	if !slices.Contains(upload.Algorithms(), algorithm) {
		return nil, intake.Wrong(upload.ErrInvalid, "Upload-Checksum: %.20q is no algorithm known here: take one of %s", algorithm, strings.Join(upload.Algorithms(), ", "))
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
	if err != nil || len(sum) == 0 {
		return nil, intake.Wrong(upload.ErrInvalid, "Upload-Checksum: %.80q is not the checksum in base64", coded)
	}
	return &checksum{algorithm, sum}, nil
}

// translated gives a body's errors the names that tusd answers with.
type translated struct{ *intake.Body }

func (t *translated) Read(p []byte) (int, error) {
	n, err := t.Body.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, answer(err)
}

// answer is err as tusd answers it.
func answer(err error) handler.Error {
	a := intake.AnswerTo(err)
	text := err.Error()
	if a.Fault {
		text = "the box could not store the file: its log says why; what was acknowledged is kept"
	}
	e := handler.NewError(a.Code, text, a.Status)
	if h := (http.Header{}); a.Retry > 0 {
		a.SetRetry(h)
		e.HTTPResponse.Header["Retry-After"] = h.Get("Retry-After")
	}
	return e
}

// refuse answers before tusd is asked.
func (d Deps) refuse(w http.ResponseWriter, err error) {
	a := intake.AnswerTo(err)
	a.SetRetry(w.Header())
	http.Error(w, a.Code+": "+err.Error(), a.Status)
}
