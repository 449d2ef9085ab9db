package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// send brings the file's bytes to the box, however often it takes.
func (p *pusher) send(ctx context.Context, f *source, out *Outcome, key string, show *meter) error {
	retry := newRetry(p.o.Patience)
	sum := &prefixHash{file: f, hash: sha256.New()}
	show.stage(Connecting, nil)
	for {
		err := p.sendOnce(ctx, f, out, key, sum, show, retry)
		if err == nil {
			break
		}
		if err := retry.pause(ctx, err, show); err != nil {
			return err
		}
	}
	if err := f.changed(); err != nil {
		return err
	}
	return p.check(ctx, out.Upload, sum, retry, show)
}

// sendOnce creates the upload if there is none, asks how far it is, and sends
// the rest in one request.
func (p *pusher) sendOnce(ctx context.Context, f *source, out *Outcome, key string, sum *prefixHash, show *meter, retry *retry) error {
	if out.Upload == "" {
		id, err := p.box.create(ctx, filepath.Base(f.path), f.size, p.o.Settings)
		var answer *answerError
		if errors.As(err, &answer) && answer.status == http.StatusNotFound {
			return fmt.Errorf("%w: there is no Watchpost at this address that takes files", ErrRefused)
		}
		if err != nil {
			return err
		}
		out.Upload = id
		p.memory.put(key, id)
	}
	at, err := p.box.offset(ctx, out.Upload)
	if isGone(err) {
		// The box does not know it any more: it expired, or this is another box.
		out.Upload = ""
		p.memory.forget(key)
		return err
	}
	if err != nil {
		return err
	}
	retry.progress(at)
	show.sent(at)
	if at > f.size {
		out.Upload = ""
		p.memory.forget(key)
		return fmt.Errorf("the upload on the box is longer than the file")
	}
	if at == f.size {
		return nil
	}
	show.stage(Sending, nil)
	body := &body{r: io.NewSectionReader(f, at, f.size-at), at: at, sum: sum, show: show}
	end, err := p.box.patch(ctx, out.Upload, at, f.size-at, body)
	body.end()
	if err != nil {
		if cerr := f.changed(); cerr != nil {
			return cerr
		}
		return err
	}
	retry.progress(end)
	show.sent(end)
	if end != f.size {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// check compares the hash that the box states with the file's own.
func (p *pusher) check(ctx context.Context, id string, sum *prefixHash, retry *retry, show *meter) error {
	show.stage(Checking, nil)
	own, err := sum.whole(ctx)
	if err != nil {
		return err
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		u, err := p.box.upload(ctx, id)
		switch {
		case isGone(err):
			return fmt.Errorf("%w: somebody removed the upload from the box: push it again", ErrRefused)
		case err != nil:
			if err := retry.pause(ctx, err, show); err != nil {
				return err
			}
			continue
		case u.Status == "refused":
			return fmt.Errorf("%w: %s", ErrRefused, printable(u.Problem))
		case u.Status == "complete" && u.SHA256 != own:
			return fmt.Errorf("%w: the box holds other bytes than the file (sha256 %.64q, the file's is %s): push it again", ErrRefused, u.SHA256, own)
		case u.Status == "complete":
			return nil
		}
		retry.progress(u.Contiguous)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// body hands a file's bytes to the connection, and hashes those that it sees
// first, so that a file is read once in the ordinary case. The connection may go
// on reading for a while after its request has failed; end puts a stop to that.
type body struct {
	mu    sync.Mutex
	ended bool
	r     *io.SectionReader
	at    int64
	sum   *prefixHash
	show  *meter
}

func (b *body) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, io.ErrClosedPipe
	}
	n, err := b.r.Read(p)
	b.sum.see(b.at, p[:n])
	b.at += int64(n)
	b.show.sent(b.at)
	return n, err
}

// prefixHash is the hash of a file's first bytes.
type prefixHash struct {
	file *source
	hash hash.Hash
	to   int64
}

// see takes bytes into the hash if they follow those that are in it.
func (h *prefixHash) see(at int64, p []byte) {
	if skip := h.to - at; skip >= 0 && skip < int64(len(p)) {
		h.hash.Write(p[skip:])
		h.to += int64(len(p)) - skip
	}
}

// whole is the file's hash; what was not seen is read.
func (h *prefixHash) whole(ctx context.Context) (string, error) {
	buf := make([]byte, 1<<20)
	for h.to < h.file.size {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := h.file.ReadAt(buf[:min(int64(len(buf)), h.file.size-h.to)], h.to)
		h.hash.Write(buf[:n])
		h.to += int64(n)
		if err != nil && h.to < h.file.size {
			return "", fmt.Errorf("%w: %w", ErrFile, err)
		}
	}
	return hex.EncodeToString(h.hash.Sum(nil)), nil
}

// retry decides how long a failing box is borne with: as long as Patience since
// it last got on.
type retry struct {
	patience time.Duration
	since    time.Time
	best     int64
	wait     time.Duration
}

// The first and the longest pause before a request is made again.
const (
	firstPause = 200 * time.Millisecond
	mostPause  = 5 * time.Second
)

func newRetry(patience time.Duration) *retry {
	return &retry{patience: patience, since: time.Now(), best: -1, wait: firstPause}
}

// progress notes that the box is at n: it answers, and if n grew it gets on.
func (r *retry) progress(n int64) {
	r.since = time.Now()
	if n > r.best {
		r.best, r.wait = n, firstPause
	}
}

// pause waits before another try, or returns the error for good.
func (r *retry) pause(ctx context.Context, err error, show *meter) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, ErrFile) || errors.Is(err, ErrRefused) || errors.Is(err, ErrOutput) || errors.Is(err, ErrAnalysis) {
		return err
	}
	wait := r.wait/2 + rand.N(r.wait)
	var answer *answerError
	if errors.As(err, &answer) {
		switch {
		case answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden:
			return fmt.Errorf("%w: it asks for its password: give it with --password-file or WATCHPOST_PASSWORD (%s)", ErrRefused, answer.text)
		case answer.status == http.StatusInsufficientStorage:
			// Room may be made; the box keeps what it has.
		case answer.status == http.StatusConflict, answer.status == http.StatusNotFound, answer.status == http.StatusGone:
			// The next try asks where the upload is.
		case !answer.passing():
			return fmt.Errorf("%w: %s", ErrRefused, answer.text)
		}
		wait = max(wait, answer.after)
	}
	if left := r.patience - time.Since(r.since); left <= 0 {
		if answer != nil {
			return fmt.Errorf("%w: %s (run the same command again to go on)", ErrRefused, answer.text)
		}
		return fmt.Errorf("%w: given up after %v: %w (run the same command again to go on)", ErrUnreachable, r.patience, plain(err))
	}
	r.wait = min(2*r.wait, mostPause)
	show.stage(Waiting, fmt.Errorf("%w; trying until %s", plain(err), r.since.Add(r.patience).Format("15:04:05")))
	return sleep(ctx, wait)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
