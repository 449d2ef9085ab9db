package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

const (
	sessionRounds = 3
	sessionModel  = "yolox-nano"
)

// session compares a file over the worker protocol, every frame of it, with `analyze`
// of the same file: what the network, the documents and the pacing by acks cost.
func session(ctx context.Context, b *bench) error {
	if err := b.gstreamer(); err != nil {
		return err
	}
	clip, err := b.clip(ctx, "1080p.mp4", 1920, 1080)
	if err != nil {
		return err
	}
	film, err := filmOf(clip)
	if err != nil {
		return err
	}
	x, err := b.startSessionBox(ctx, "")
	if err != nil {
		return err
	}
	defer x.stop()
	sleep(ctx, 3*time.Second)
	var bare, filmed, data, video, pictures []float64
	for round := range sessionRounds {
		for _, s := range []struct {
			name string
			into *[]float64
			run  func() (float64, error)
		}{
			{"analyze --no-video", &bare, func() (float64, error) { return b.analyzeFile(ctx, clip, "--no-video") }},
			{"session, data", &data, func() (float64, error) { return sessionFile(ctx, x.url, film, client.Names("*"), false) }},
			{"analyze", &filmed, func() (float64, error) { return b.analyzeFile(ctx, clip) }},
			{"session, data and video", &video, func() (float64, error) { return sessionFile(ctx, x.url, film, client.Names("*"), true) }},
			{"session, pictures as data", &pictures, func() (float64, error) {
				return sessionFile(ctx, x.url, film, client.Names(client.OutputPredictions, client.OutputPicture), false)
			}},
		} {
			fps, err := s.run()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %s: %.1f frames/s\n", round+1, s.name, fps)
			*s.into = append(*s.into, fps)
		}
	}
	b.report("analyze", median(filmed), "frames/s", told())
	b.report("analyze --no-video", median(bare), "frames/s", told())
	b.report("session, data", median(data), "frames/s", told())
	b.report("session, data and video", median(video), "frames/s", told())
	b.report("session, data with a 1080p picture each", median(pictures), "frames/s", told())
	b.report("session, data / analyze", median(data)/median(filmed), "", atLeast(0.9))
	// The harder ones: neither side has pictures to encode, and both have.
	b.report("session, data / analyze --no-video", median(data)/median(bare), "", atLeast(0.9))
	b.report("session, data and video / analyze", median(video)/median(filmed), "", told())
	return nil
}

// sessionFile sends a film and takes the document of every frame, acking each; the
// rate counts from the first document to the last.
func sessionFile(ctx context.Context, url string, film client.Film, data *[]string, video bool) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	r := client.Request{Workflow: client.Detection(sessionModel), DataOutput: data, StreamOutput: client.Names(), VideoFileUpload: true}
	var o client.WorkerOptions
	if video {
		o.Receive, r.StreamOutput = client.H264, client.Names(client.OutputPicture)
	}
	w, err := client.Initialise(ctx, url, r, o)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	if err := w.Upload(ctx, film); err != nil {
		return 0, err
	}
	n := uint32(0)
	last, err := w.Finish(ctx, true, func(d *client.Document) error {
		if n++; d.Frame != n || len(d.Errors) > 0 {
			return fmt.Errorf("document %d is of frame %d: %q", n, d.Frame, d.Errors)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if n != clipFrames || last.Reason != "" {
		return 0, fmt.Errorf("%d of %d frames, ended by %q: %q", n, clipFrames, last.Reason, last.Errors)
	}
	s := w.Stats()
	if video && s.Video.Units < clipFrames*95/100 {
		return 0, fmt.Errorf("%d pictures of %d frames came", s.Video.Units, clipFrames)
	}
	return float64(n-1) / s.LastDocument.Sub(s.FirstDocument).Seconds(), nil
}
