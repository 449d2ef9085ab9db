package media

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/mjpeg"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// isMJPEG tells of a camera that serves motion JPEG over HTTP.
func isMJPEG(url string) bool {
	lower := strings.ToLower(url)
	return strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
}

// jpegDepth is how many pictures may wait for the decoder. Every JPEG stands alone,
// so that the oldest can give way.
const jpegDepth = 4

// readMJPEG plays motion JPEG in the place of engine.Read.
func readMJPEG(ctx context.Context, src plan.Source, h engine.Handlers) error {
	playing, stop := context.WithCancel(ctx)
	defer stop()
	arriving := newQueueOf[engine.Encoded](jpegDepth, true)
	var lost error
	go func() {
		defer close(arriving.jobs)
		var first time.Time
		lost = mjpeg.Read(playing, src.URL, func(jpeg []byte, arrived time.Time) error {
			if first.IsZero() {
				first = arrived
			}
			arriving.put(playing, &engine.Encoded{
				Codec: "jpeg", PTS: arrived.Sub(first), Captured: monotonic() - int64(time.Since(arrived)), Keyframe: true, Data: jpeg,
			})
			return playing.Err()
		})
	}()
	units := make(chan engine.Encoded)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(units)
		for e := range arriving.jobs {
			select {
			case units <- *e:
			case <-playing.Done():
			}
		}
	}()
	src.Live = false // the queue in front drops
	src.Title = plan.Name(src.URL)
	err := engine.ReadUnits(ctx, src, units, h, nil)
	stop()
	<-done // and with it the reader
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	var e *mjpeg.Error
	if errors.As(lost, &e) {
		return link.Fault{Kind: link.FaultKind(e.Kind), Message: oneLine(e.Message)}
	}
	return lost
}
