package main

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/livebench"
)

// fanout measures what one more viewer costs the control process.
func fanout(ctx context.Context, b *bench) error {
	r, err := livebench.Run(ctx, livebench.Options{Viewers: 50, Bitrate: 2_000_000, Measure: 15 * time.Second, Log: b.log})
	if err != nil {
		return err
	}
	b.report("cpu per viewer", float64(r.CPUPerViewer.Microseconds())/1000, "ms/s", atMost(4))
	b.report("memory per viewer", float64(r.MemoryPerViewer)/1e6, "MB", atMost(2))
	b.report("peak memory per viewer", float64(r.PeakMemoryPerViewer)/1e6, "MB", told())
	b.report("received per viewer", r.ReceivedBitrate/float64(r.Viewers)/1e6, "Mbit/s", atLeast(1.9))
	b.report("packets lost", float64(r.Lost), "packets", atMost(0))
	b.report("setup of all viewers", r.Setup.Seconds(), "s", told())
	return nil
}
