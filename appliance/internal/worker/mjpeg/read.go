package mjpeg

import (
	"context"
	"time"
)

// Read opens address (http or https, with the credentials in it) and calls give with
// every picture and the time when its last byte came, in order, until ctx ends
// (ctx.Err()), give fails (its error), or the source does: an *Error. A camera's
// stream has no end: one that ends is a camera that was lost. The picture is the
// receiver's to keep.
func Read(ctx context.Context, address string, give func(jpeg []byte, arrived time.Time) error) error {
	return fail(Unreachable, "%s: cannot be opened yet", "the camera")
}
