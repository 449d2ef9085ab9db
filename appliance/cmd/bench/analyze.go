package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

const (
	clipFrames    = 480
	stageThreads  = 1
	analyzeRounds = 3
)

// analyze compares the whole road with its slowest stage alone: a road whose
// stages overlap well costs little more than that.
func analyze(ctx context.Context, b *bench) error {
	if err := b.gstreamer(); err != nil {
		return err
	}
	clip, err := b.clip(ctx, "1080p.mp4", 1920, 1080)
	if err != nil {
		return err
	}
	var decode, infer, encode, whole []float64
	for range analyzeRounds {
		stages := []struct {
			into *[]float64
			run  func(context.Context, string) (float64, error)
		}{{&decode, b.decodeAlone}, {&infer, b.modelAlone}, {&encode, b.encodeAlone}, {&whole, b.analyzeWhole}}
		for _, s := range stages {
			fps, err := s.run(ctx, clip)
			if err != nil {
				return err
			}
			*s.into = append(*s.into, fps)
		}
	}
	d, m, e, w := median(decode), median(infer), median(encode), median(whole)
	b.report("decode alone", d, "frames/s", told())
	b.report("model alone", m, "frames/s", told())
	b.report("encode alone", e, "frames/s", told())
	b.report("whole road", w, "frames/s", told())
	slowest := min(d, m, e)
	b.report("whole road / slowest stage", w/slowest, "", atLeast(0.9))
	// All stages share two cores: their times added up, divided by two, are the
	// bound that no pipeline can beat.
	bound := 2 / (1/d + 1/m + 1/e)
	b.report("whole road / what two cores allow", w/bound, "", told())
	return nil
}

// clip makes an H.264 file of the size from the people video.
func (b *bench) clip(ctx context.Context, name string, w, h int) (string, error) {
	path := filepath.Join(b.tmp, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	enc, err := engine.NewEncoder(plan.Encode{
		Codec: "h264", Width: w, Height: h, FPSNum: 30, FPSDen: 1, GOP: 60, Threads: 2,
		Bitrate: 6_000_000 * h / 1080, Path: path,
	}, nil)
	if err != nil {
		return "", err
	}
	n := 0
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	err = engine.Read(ctx, plan.Source{URL: b.video("one-by-one-person-detection.mp4")}, engine.Handlers{
		Info: func(engine.Info) {}, Warning: func(string) {},
		Frame: func(f *engine.Frame) {
			if n >= clipFrames || failed != nil {
				f.Release()
				stop()
				return
			}
			f.PTS = time.Duration(n) * time.Second / 30
			n++
			failed = enc.Push(f)
		},
	})
	if cerr := enc.Close(); failed == nil {
		failed = cerr
	}
	if failed != nil || n < clipFrames {
		return "", fmt.Errorf("make %s: %d frames: %w", name, n, errorsFirst(failed, err))
	}
	return path, nil
}

func (b *bench) video(name string) string { return filepath.Join(b.media, "video", name) }

func (b *bench) decodeAlone(ctx context.Context, clip string) (float64, error) {
	n := 0
	began := time.Now()
	err := engine.Read(ctx, plan.Source{URL: clip, Threads: stageThreads}, engine.Handlers{
		Info: func(engine.Info) {}, Warning: func(string) {},
		Frame: func(f *engine.Frame) { f.Release(); n++ },
	})
	return float64(n) / time.Since(began).Seconds(), err
}

func (b *bench) modelAlone(context.Context, string) (float64, error) {
	d, err := b.detector(model.Options{Threads: stageThreads})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	w, h := d.InputSize(1920, 1080)
	img := vision.RGB{Width: w, Height: h, Stride: 3 * w, Pix: make([]byte, 3*w*h)}
	for i := range img.Pix {
		img.Pix[i] = byte(i * 7)
	}
	const runs = clipFrames
	began := time.Now()
	for range runs {
		if _, err := d.Detect(img, 1920, 1080); err != nil {
			return 0, err
		}
	}
	return runs / time.Since(began).Seconds(), nil
}

// encodeAlone encodes real frames, decoded before the clock runs.
func (b *bench) encodeAlone(ctx context.Context, clip string) (float64, error) {
	const kept = 16
	var frames []*engine.Frame
	defer func() {
		for _, f := range frames {
			f.Release()
		}
	}()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := engine.Read(ctx, plan.Source{URL: clip}, engine.Handlers{
		Info: func(engine.Info) {}, Warning: func(string) {},
		Frame: func(f *engine.Frame) {
			if len(frames) >= kept {
				f.Release()
				stop()
				return
			}
			if c, err := f.Copy(); err == nil {
				frames = append(frames, c)
			}
			f.Release()
		},
	})
	if len(frames) < kept {
		return 0, fmt.Errorf("frames to encode: %w", err)
	}
	enc, err := engine.NewEncoder(plan.Encode{
		Codec: "h264", Width: 1920, Height: 1080, FPSNum: 30, FPSDen: 1, Threads: stageThreads,
		Path: filepath.Join(b.tmp, "encode.mp4"),
	}, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for n := range clipFrames {
		// There and back, so that one picture differs little from the next.
		i := n % (2 * kept)
		if i >= kept {
			i = 2*kept - 1 - i
		}
		f := frames[i]
		f.PTS = time.Duration(n) * time.Second / 30
		f.Retain()
		if err := enc.Push(f); err != nil {
			return 0, err
		}
	}
	if err := enc.Close(); err != nil {
		return 0, err
	}
	return clipFrames / time.Since(began).Seconds(), nil
}

// analyzeWhole is the whole road with as many threads a stage as the stages alone have.
func (b *bench) analyzeWhole(ctx context.Context, clip string) (float64, error) {
	return b.analyzeFile(ctx, clip, "--threads", strconv.Itoa(stageThreads))
}

// analyzeFile runs `analyze` as a user does; its frames a second are from the file's
// opening to its end.
func (b *bench) analyzeFile(ctx context.Context, clip string, more ...string) (float64, error) {
	out := filepath.Join(b.tmp, "out")
	args := append([]string{"analyze", clip, "--out", out, "--model", b.modelPath(), "--data", b.data, "--quiet"}, more...)
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("analyze: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil {
		return 0, err
	}
	var s struct {
		Ledger struct{ Inferred int }
		Timing struct{ FPS float64 }
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, err
	}
	if s.Ledger.Inferred != clipFrames {
		return 0, fmt.Errorf("%d of %d frames were analysed", s.Ledger.Inferred, clipFrames)
	}
	return s.Timing.FPS, nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
