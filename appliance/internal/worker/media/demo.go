package media

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/scene"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// readDemo plays the scene that the box draws itself, at its own rate, in the
// place of engine.Read.
func readDemo(ctx context.Context, src plan.Source, h engine.Handlers) error {
	width, height, fps := src.Width, src.Height, src.FPS
	if width == 0 || height == 0 {
		width, height = 1280, 720
	}
	if fps == 0 {
		fps = 30
	}
	num, den := frameRate(fps)
	h.Info(engine.Info{Codec: "drawn", Width: width, Height: height, FPS: fps, FPSNum: num, FPSDen: den, Decoder: "scene", Live: true})
	s, err := scene.New(width, height, fps)
	if err != nil {
		return err
	}
	interval := time.Duration(float64(time.Second) / fps)
	begun := time.Now()
	for n := 0; ; n++ {
		at := time.Duration(n) * interval
		if wait := time.Until(begun.Add(at)); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
		f, err := engine.NewFrame(plan.I420, width, height)
		if err != nil {
			return err
		}
		f.PTS, f.Captured = at, monotonic()
		pic := picture(f)
		s.Draw(&pic, n)
		h.Frame(f)
	}
}
