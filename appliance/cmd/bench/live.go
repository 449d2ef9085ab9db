package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

// liveRoad measures one camera of 720p30 with a viewer: nothing dropped, the
// delay from a frame's capture to its last packet, and what it takes.
func liveRoad(ctx context.Context, b *bench) error {
	const (
		warm    = 6 * time.Second
		measure = 25 * time.Second
		fps     = 30
	)
	if err := b.gstreamer(); err != nil {
		return err
	}
	clip, err := b.clip(ctx, "720p.mp4", 1280, 720)
	if err != nil {
		return err
	}
	x, err := b.startBox(ctx, clip, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer x.stop()
	v, err := viewer.Connect(ctx, x.whep(), viewer.Options{})
	if err != nil {
		return err
	}
	defer v.Close()
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := v.Wait(wait, func(s viewer.Stats) bool { return s.Units > fps }); err != nil {
		return fmt.Errorf("no pictures came: %w", err)
	}
	sleep(ctx, warm)
	const delays = "watchpost_live_capture_to_packet_seconds"
	d0, err := x.histogram(ctx, delays)
	if err != nil {
		return err
	}
	c0, err := x.camera(ctx)
	if err != nil {
		return err
	}
	s0 := v.Stats()
	encode, n := 0.0, 0
	for end := time.Now().Add(measure); time.Now().Before(end) && ctx.Err() == nil; {
		sleep(ctx, time.Second)
		c, err := x.camera(ctx)
		if err != nil {
			return err
		}
		encode, n = encode+c.Rates.EncodeMS, n+1
	}
	d1, err := x.histogram(ctx, delays)
	if err != nil {
		return err
	}
	c1, err := x.camera(ctx)
	if err != nil || c1.Worker == nil || c0.Worker == nil {
		return fmt.Errorf("camera: %s %s: %w", c1.State, c1.Reason, err)
	}
	rss, err := x.system(ctx)
	if err != nil {
		return err
	}
	s1 := v.Stats()
	took := measure.Seconds()
	decoded := c1.Ledger.Decoded - c0.Ledger.Decoded
	b.report("frames decoded", float64(decoded)/took, "frames/s", atLeast(0.98*fps))
	b.report("frames dropped", float64(c1.Ledger.Dropped+c1.Ledger.Failed-c0.Ledger.Dropped-c0.Ledger.Failed), "frames", atMost(0))
	b.report("pictures dropped", float64(c1.Ledger.PicturesDropped-c0.Ledger.PicturesDropped), "frames", atMost(0))
	b.report("pictures at the viewer", float64(s1.Units-s0.Units)/took, "frames/s", atLeast(0.98*fps))
	encodeMS := encode / float64(max(n, 1))
	b.report("capture to packet p95", 1000*quantile(0.95, d0, d1), "ms", atMost(1000.0/fps+encodeMS))
	b.report("capture to packet p50", 1000*quantile(0.5, d0, d1), "ms", told())
	b.report("encode time", encodeMS, "ms", told())
	b.report("analysis time", c1.Rates.AnalyseMS, "ms", told())
	b.report("worker cpu", (c1.Worker.CPUSeconds-c0.Worker.CPUSeconds)/took, "cores", told())
	b.report("control process memory", float64(rss)/1e6, "MB", atMost(60))
	b.report("worker memory", float64(c1.Worker.RSS)/1e6, "MB", atMost(200))
	if !c1.Ledger.Balanced {
		return fmt.Errorf("the ledger does not balance: %+v", c1.Ledger)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// start measures from the program's start to the first annotated packet at a
// viewer that is already asking.
func start(ctx context.Context, b *bench) error {
	if err := b.gstreamer(); err != nil {
		return err
	}
	clip, err := filepath.Abs(b.video("one-by-one-person-detection.mp4"))
	if err != nil {
		return err
	}
	const rounds = 5
	var took []float64
	for range rounds {
		t, err := b.startOnce(ctx, clip)
		if err != nil {
			return err
		}
		took = append(took, t)
	}
	b.report("start to first annotated packet", median(took), "s", atMost(1.5))
	return nil
}

// startWidth is the width of that video's pictures.
const startWidth = 768

func (b *bench) startOnce(ctx context.Context, source string) (float64, error) {
	listen, err := freeAddress()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	type watched struct {
		v   *viewer.Viewer
		err error
	}
	// The viewer asks from before the start on, again and again.
	asking := make(chan watched, 1)
	// The slate has a size of its own before the first picture.
	var width atomic.Int64
	see := func(u viewer.Unit) { width.CompareAndSwap(0, int64(u.Width)) }
	go func() {
		for {
			v, err := viewer.Connect(ctx, "http://"+listen+"/api/v1/cameras/cam/whep", viewer.Options{OnUnit: see})
			if err == nil || ctx.Err() != nil {
				asking <- watched{v, err}
				return
			}
			sleep(ctx, 10*time.Millisecond)
		}
	}()
	began := time.Now()
	x, err := b.startBox(ctx, source, listen)
	if err != nil {
		return 0, err
	}
	defer x.stop()
	w := <-asking
	if w.err != nil {
		return 0, w.err
	}
	defer w.v.Close()
	s, err := w.v.Wait(ctx, func(s viewer.Stats) bool { return !s.FirstUnit.IsZero() })
	if err != nil {
		return 0, fmt.Errorf("no picture: %w", err)
	}
	if width.Load() != startWidth {
		return 0, fmt.Errorf("the first picture is %d pixels wide, which is a slate's", width.Load())
	}
	return s.FirstPacket.Sub(began).Seconds(), nil
}
