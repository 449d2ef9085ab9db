package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

const (
	setupOpen   = 20  // sessions that are there all the time
	setupProbes = 200 // that come besides, one after the other
)

// setup measures how long an offer waits for its answer while other sessions wait for
// sources that never come, and some that do.
func setup(ctx context.Context, b *bench) error {
	if err := b.gstreamer(); err != nil {
		return err
	}
	x, err := b.startSessionBox(ctx, "")
	if err != nil {
		return err
	}
	defer x.stop()
	bare, err := startBarePion(ctx)
	if err != nil {
		return err
	}
	defer bare.stop()
	clip, err := b.clip(ctx, "360p.mp4", 640, 360)
	if err != nil {
		return err
	}
	camera, err := elementary(ctx, clip, 10*time.Second)
	if err != nil {
		return err
	}
	sources, err := startHanging()
	if err != nil {
		return err
	}
	defer sources.close()
	kinds := sessionKinds(sources, camera)
	crowd, err := gather(ctx, x.url, kinds, setupOpen)
	if err != nil {
		return err
	}
	defer crowd.leave()
	sleep(ctx, 5*time.Second)
	ours, theirs := make([]float64, 0, setupProbes), make([]float64, 0, setupProbes)
	by := map[string][]float64{}
	for i := range setupProbes {
		k := kinds[i%len(kinds)]
		ms, err := probe(ctx, x.url, k)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		ours, by[k.name] = append(ours, ms), append(by[k.name], ms)
		if ms, err = probe(ctx, bare.url, k); err != nil {
			return fmt.Errorf("bare pion: %w", err)
		}
		theirs = append(theirs, ms)
	}
	if n := crowd.lost(); n > 0 {
		return fmt.Errorf("%d of the %d sessions that were open were lost", n, setupOpen)
	}
	for _, k := range kinds {
		b.report("offer to answer, "+k.name+", p95", percentile(by[k.name], 0.95), "ms", told())
	}
	b.report("bare pion, p50", percentile(theirs, 0.5), "ms", told())
	b.report("bare pion, p95", percentile(theirs, 0.95), "ms", told())
	b.report("offer to answer, p50", percentile(ours, 0.5), "ms", told())
	b.report("offer to answer, p95", percentile(ours, 0.95), "ms", atMost(50))
	b.report("offer to answer, max", slices.Max(ours), "ms", told())
	return nil
}

// percentile of values, the smallest that so many are not above.
func percentile(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// sessionKind is a way to use the protocol.
type sessionKind struct {
	name    string
	request client.Request
	options client.WorkerOptions
	// live has it do what such a client does until ctx ends; nil: nothing.
	live func(ctx context.Context, w *client.Worker) error
}

func sessionKinds(h *hanging, camera []client.Unit) []sessionKind {
	base := client.Request{Workflow: client.Detection("motion"), DataOutput: client.Names("*"), Realtime: true}
	rtsp, mjpeg, file, peer := base, base, base, base
	rtsp.RTSPURL, mjpeg.MJPEGURL, file.VideoFileUpload = h.rtsp, h.mjpeg, true
	file.StreamOutput = client.Names()
	return []sessionKind{
		{"rtsp that never answers", rtsp, client.WorkerOptions{Receive: client.Any}, drain},
		{"mjpeg that hangs", mjpeg, client.WorkerOptions{Receive: client.Any}, drain},
		{"file on its way", file, client.WorkerOptions{}, func(ctx context.Context, w *client.Worker) error {
			// As much as a slow line brings; it is never whole.
			noise := &randomFile{block: make([]byte, 1<<20), size: 1 << 30}
			return w.Upload(ctx, client.Film{ReaderAt: noise, Size: noise.size, Before: func(int) error {
				sleep(ctx, 200*time.Millisecond)
				return ctx.Err()
			}})
		}},
		{"camera", peer, client.WorkerOptions{Send: client.H264, Receive: client.H264, Apart: true}, func(ctx context.Context, w *client.Worker) error {
			go drain(ctx, w) // ends with w
			return w.Loop(ctx, camera)
		}},
	}
}

func drain(ctx context.Context, w *client.Worker) error {
	_, err := w.Finish(ctx, true, nil)
	return err
}

// crowd is sessions that live for a while.
type crowd struct {
	all    []*client.Worker
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// gather opens n sessions of the kinds in turns and returns when all are connected.
func gather(ctx context.Context, url string, kinds []sessionKind, n int) (*crowd, error) {
	live, cancel := context.WithCancel(ctx)
	c := &crowd{cancel: cancel}
	ctx, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	for i := range n {
		k := kinds[i%len(kinds)]
		w, err := client.Initialise(ctx, url, k.request, k.options)
		if err == nil {
			c.all = append(c.all, w)
			err = w.Connected(ctx)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", k.name, err), c.leave())
		}
		c.work.Go(func() {
			if err := k.live(live, w); err != nil && live.Err() == nil {
				fmt.Fprintf(os.Stderr, "a session (%s) ended: %v\n", k.name, err)
			}
		})
	}
	return c, nil
}

// lost counts the sessions that are no more.
func (c *crowd) lost() (n int) {
	for _, w := range c.all {
		select {
		case <-w.Lost():
			n++
		default:
		}
	}
	return n
}

func (c *crowd) leave() error {
	c.cancel()
	var errs []error
	for _, w := range c.all {
		errs = append(errs, w.Close())
	}
	c.work.Wait()
	return errors.Join(errs...)
}

// probe opens a session and leaves it as soon as it is connected; it tells how long the
// answer took, in ms.
func probe(ctx context.Context, url string, k sessionKind) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	w, err := client.Initialise(ctx, url, k.request, k.options)
	if err != nil {
		return 0, err
	}
	// Who leaves before is waited for: then there would be more and more sessions open.
	return 1000 * w.Took.Seconds(), errors.Join(w.Connected(ctx), w.Close())
}

// startBarePion runs servePion in a process of its own.
func startBarePion(ctx context.Context) (*box, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), pionEnv+"=yes")
	return started(cmd)
}

// elementary makes access units of an H.264 file: what a camera sends.
func elementary(ctx context.Context, clip string, length time.Duration) ([]client.Unit, error) {
	const fps = 30
	cmd := exec.CommandContext(ctx, "gst-launch-1.0", "-q", "filesrc", "location="+clip, "!", "qtdemux", "!", "h264parse", "config-interval=-1",
		"!", "video/x-h264,stream-format=byte-stream,alignment=au", "!", "fdsink", "fd=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("take a file's pictures out: %w", err)
	}
	units, err := client.ReadAnnexB(out.Bytes(), fps)
	if err != nil {
		return nil, err
	}
	return units[:min(len(units), int(length.Seconds()*fps))], nil
}
