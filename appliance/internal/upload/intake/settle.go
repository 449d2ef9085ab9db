package intake

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

// Settle waits until the upload, all of whose bytes are there, is complete or
// refused, and returns it then. Errors: upload.ErrNotFound and ErrGone where it was removed
// meanwhile, ctx's.
func Settle(ctx context.Context, u *upload.Uploads, id string) (upload.Info, error) {
	news := make(chan struct{}, 1)
	defer u.Watch(id, func(upload.Info) {
		select {
		case news <- struct{}{}:
		default: // somebody will look anyway
		}
	})()
	for {
		i, err := u.Get(id)
		if err != nil || i.Status == state.UploadComplete || i.Status == state.UploadRefused {
			return i, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
}
