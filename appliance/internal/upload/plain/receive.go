package plain

import (
	"context"
	"errors"
	"net/http"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
)

// receive takes the body. What of it came is durable when it returns, also with an error.
func (h *Handler) receive(r *http.Request, q *request, body *intake.Body) error {
	leave, err := h.d.Turns.Enter()
	if err != nil {
		return err
	}
	defer leave()
	// From here on a client that goes away stops nothing: what it sent is kept.
	ctx := context.WithoutCancel(r.Context())
	if q.found == nil {
		made, err := h.d.Uploads.Create(ctx, q.spec)
		if err != nil {
			return err
		}
		q.id = made.ID
	}
	wait, cancel := context.WithTimeout(r.Context(), h.c.Patience)
	defer cancel()
	give, err := h.d.Turns.Take(wait, q.id, body.Yield)
	if err != nil {
		return err
	}
	defer give()
	if size := q.size(); q.found != nil && q.found.Size < 0 && size >= 0 {
		if err := h.d.Uploads.SetSize(ctx, q.id, size); err != nil {
			return err
		}
	}
	if q.digest != nil {
		_, err := h.d.Uploads.AppendChecked(ctx, q.id, q.from(), body, q.length, "sha256", q.digest)
		return err
	}
	n, err := h.d.Uploads.Append(ctx, q.id, q.from(), body)
	if q.found == nil && n == 0 && (errors.Is(err, intake.ErrBroken) || errors.Is(err, intake.ErrStalled)) {
		// Nobody was told of it, and nothing came: it would only stand in the list.
		err = errors.Join(err, h.d.Uploads.Remove(ctx, q.id))
	}
	if err != nil {
		return err
	}
	return h.close(ctx, q, n)
}

// close compares a body that came whole, n bytes, with what was said of it, and
// tells the size of a file of which nobody knew it before.
func (h *Handler) close(ctx context.Context, q *request, n int64) error {
	if q.part != nil {
		if said := q.part.To - q.part.From; n != said {
			return invalid("Content-Range is about %d bytes, but the body had %d, which are kept", said, n)
		}
		return nil
	}
	if q.length >= 0 {
		return nil
	}
	i, err := h.d.Uploads.Get(q.id)
	if err != nil || i.Size >= 0 {
		return err
	}
	if i.Received > n {
		return intake.Wrong(upload.ErrConflict, "the file has %d bytes, but the upload has %d already", n, i.Received)
	}
	return h.d.Uploads.SetSize(ctx, q.id, n)
}
