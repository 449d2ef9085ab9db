package push

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// box speaks to one box. Its errors are answers (*answerError) or whatever the
// network says.
type box struct {
	base     *url.URL
	password string
	http     *http.Client
}

func newBox(base *url.URL, password string) *box {
	return &box{base: base, password: password, http: &http.Client{}}
}

// answerError is an answer that is no success.
type answerError struct {
	status int
	text   string
	after  time.Duration // the box asks to wait so long
}

func (e *answerError) Error() string { return e.text }

// isGone tells whether an answer says that there is no such thing, or none any more.
func isGone(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && (answer.status == http.StatusNotFound || answer.status == http.StatusGone)
}

// passing tells whether the same request may succeed later.
func (e *answerError) passing() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// maxAnswer bounds what is read of an answer that should be short.
const maxAnswer = 4 << 20

// shortCall bounds a request whose answer is short.
const shortCall = 30 * time.Second

func (b *box) request(ctx context.Context, method, where string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.base.JoinPath(where).String(), body)
	if err != nil {
		return nil, err
	}
	if b.password != "" {
		r.Header.Set("Authorization", "Bearer "+b.password)
	}
	return r, nil
}

// do sends r and returns the answer if it is one of want; the caller closes its body.
func (b *box) do(r *http.Request, want ...int) (*http.Response, error) {
	res, err := b.http.Do(r)
	if err != nil {
		return nil, err
	}
	for _, w := range want {
		if res.StatusCode == w {
			return res, nil
		}
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // a broken explanation is still one
	e := &answerError{status: res.StatusCode, text: printable(explanation(res, text))}
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
		e.after = min(time.Duration(n)*time.Second, time.Minute)
	}
	return nil, e
}

// explanation is what an answer says for a person: the detail of an RFC 9457
// problem, or its text.
func explanation(res *http.Response, body []byte) string {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) == nil {
		if problem.Detail != "" {
			return problem.Detail
		}
		if problem.Title != "" {
			return problem.Title
		}
	}
	if text := strings.Join(strings.Fields(string(body)), " "); text != "" && len(text) < 300 && !strings.HasPrefix(text, "<") {
		return text
	}
	return "the box answers " + res.Status
}

// get reads JSON.
func (b *box) get(ctx context.Context, where string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, shortCall)
	defer cancel()
	r, err := b.request(ctx, http.MethodGet, where, nil)
	if err != nil {
		return err
	}
	res, err := b.do(r, http.StatusOK)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read the box's answer: %w", err)
	}
	return nil
}

const tusVersion = "1.0.0"

// create begins an upload (tus creation) and returns its id.
func (b *box) create(ctx context.Context, name string, size int64, s Settings) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, shortCall)
	defer cancel()
	r, err := b.request(ctx, http.MethodPost, "/api/v1/tus", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Tus-Resumable", tusVersion)
	r.Header.Set("Upload-Length", strconv.FormatInt(size, 10))
	r.Header.Set("Upload-Metadata", metadata(name, s))
	res, err := b.do(r, http.StatusCreated)
	if err != nil {
		return "", err
	}
	res.Body.Close()
	where, err := url.Parse(res.Header.Get("Location"))
	if err != nil || path.Base(where.Path) == "." || path.Base(where.Path) == "/" {
		return "", errors.New("the box does not say where the upload is")
	}
	return path.Base(where.Path), nil
}

// metadata is the Upload-Metadata of tus: keys, and values in base64.
func metadata(name string, s Settings) string {
	var list []string
	add := func(key, value string) {
		list = append(list, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
	}
	add("filename", name)
	if s.Model != "" {
		add("model", s.Model)
	}
	if s.Threshold != 0 {
		add("threshold", strconv.FormatFloat(float64(s.Threshold), 'g', -1, 32))
	}
	if len(s.Classes) > 0 {
		add("classes", strings.Join(s.Classes, ","))
	}
	if s.Priority != 0 {
		add("priority", strconv.Itoa(s.Priority))
	}
	if s.Track != 0 {
		add("track", strconv.Itoa(s.Track))
	}
	if s.NoVideo {
		add("no_video", "true")
	}
	return strings.Join(list, ",")
}

// offset asks how far an upload is: the bytes that the box has on disk.
func (b *box) offset(ctx context.Context, id string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, shortCall)
	defer cancel()
	r, err := b.request(ctx, http.MethodHead, "/api/v1/tus/"+id, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Tus-Resumable", tusVersion)
	res, err := b.do(r, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return readOffset(res)
}

func readOffset(res *http.Response) (int64, error) {
	n, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("the box does not say how far the upload is")
	}
	return n, nil
}

// patch sends the bytes of body, length of them, which belong at offset, and
// returns the offset behind what is on the box's disk then.
func (b *box) patch(ctx context.Context, id string, offset, length int64, body io.Reader) (int64, error) {
	r, err := b.request(ctx, http.MethodPatch, "/api/v1/tus/"+id, io.NopCloser(body))
	if err != nil {
		return 0, err
	}
	r.ContentLength = length
	r.Header.Set("Tus-Resumable", tusVersion)
	r.Header.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	r.Header.Set("Content-Type", "application/offset+octet-stream")
	res, err := b.do(r, http.StatusNoContent, http.StatusOK)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return readOffset(res)
}

// upload is what push needs of the box's Upload.
type upload struct {
	ID         string   `json:"id"`
	Size       *int64   `json:"size"`
	Contiguous int64    `json:"contiguous"`
	Status     string   `json:"status"`
	SHA256     string   `json:"sha256"`
	Problem    string   `json:"problem"`
	Jobs       []string `json:"jobs"`
}

func (b *box) upload(ctx context.Context, id string) (upload, error) {
	var u upload
	return u, b.get(ctx, "/api/v1/uploads/"+id, &u)
}

// job is what push needs of the box's Job.
type job struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Status   string `json:"status"`
	Reason   string `json:"reason"`
	Progress struct {
		Percent float64 `json:"percent"`
		FPS     float64 `json:"fps"`
		Frames  uint64  `json:"frames"`
	} `json:"progress"`
}

func (b *box) job(ctx context.Context, id string) (job, error) {
	var j job
	return j, b.get(ctx, "/api/v1/jobs/"+id, &j)
}

// resultFile is one file of a job's results.
type resultFile struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	Complete bool   `json:"complete"`
}

func (b *box) files(ctx context.Context, job string) ([]resultFile, error) {
	var list struct {
		Files []resultFile `json:"files"`
	}
	return list.Files, b.get(ctx, "/api/v1/jobs/"+job+"/files", &list)
}

// open reads a result file from an offset on; the caller closes it.
func (b *box) open(ctx context.Context, job, name string, offset int64) (io.ReadCloser, error) {
	r, err := b.request(ctx, http.MethodGet, "/api/v1/jobs/"+job+"/files/"+name, nil)
	if err != nil {
		return nil, err
	}
	want := http.StatusOK
	if offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		want = http.StatusPartialContent
	}
	res, err := b.do(r, want)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Answers tells whether a box is at this address, at once.
func Answers(ctx context.Context, base string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	u, err := baseURL(base)
	if err != nil {
		return false
	}
	b := newBox(u, "")
	defer b.http.CloseIdleConnections()
	r, err := b.request(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return false
	}
	res, err := b.http.Do(r)
	if err != nil {
		return false
	}
	res.Body.Close()
	return true
}
