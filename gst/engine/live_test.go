package engine

import (
	"context"
	"errors"
	"hash/crc32"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// hashes reads a file and returns a checksum of the luma of every frame; with
// draw, every frame is then painted over.
func hashes(t *testing.T, file string, draw bool) []uint32 {
	t.Helper()
	var sums []uint32
	err := Read(context.Background(), plan.Source{URL: file, Threads: 2}, Handlers{Frame: func(f *Frame) {
		defer f.Release()
		h := crc32.NewIEEE()
		for y := range f.Height {
			h.Write(f.Planes[0][y*f.Stride[0] : y*f.Stride[0]+f.Width])
		}
		sums = append(sums, h.Sum32())
		if draw {
			if err := f.Writable(); err != nil {
				t.Error(err)
				return
			}
			for p := range f.Planes {
				for i := range f.Planes[p] {
					f.Planes[p][i] = byte(i * 7)
				}
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestDrawingLeavesLaterFramesAlone(t *testing.T) {
	dir := media(t)
	for _, name := range []string{"bikes_bframes.mp4", "face_h264.mp4", "bbb_vp9.mp4", "face_av1.mp4", "highway_asp.avi", "h265_video.mp4", "bbb_vp8_1080p60.webm", "road_msmpeg4v2.avi"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, "video", name)
			clean, drawn := hashes(t, file, false), hashes(t, file, true)
			if len(clean) != len(drawn) {
				t.Fatalf("%d frames, %d when drawn on", len(clean), len(drawn))
			}
			for i := range clean {
				if clean[i] != drawn[i] {
					t.Fatalf("frame %d differs after drawing on those before it", i)
				}
			}
		})
	}
}

func TestLiveFileKeepsTimeAndLoops(t *testing.T) {
	dir := media(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var pts []time.Duration
	var at []time.Time
	var delay time.Duration
	// 0.1 s and 1 s long: looped often, and looped with sound in the file.
	err := Read(ctx, plan.Source{URL: filepath.Join(dir, "video/face_h264.mp4"), Live: true, Loop: true}, Handlers{
		Frame: func(f *Frame) {
			pts, at = append(pts, f.PTS), append(at, time.Now())
			delay += time.Duration(monotonic() - f.Captured)
			f.Release()
			if len(pts) == 75 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
	for i := 1; i < len(pts); i++ {
		if d := pts[i] - pts[i-1]; d < 30*time.Millisecond || d > 110*time.Millisecond {
			t.Errorf("frame %d comes %v after the one before", i, d)
		}
	}
	played, took := pts[len(pts)-1]-pts[0], at[len(at)-1].Sub(at[0])
	t.Logf("%v of video in %v, %v from capture to frame", played, took, delay/time.Duration(len(pts)))
	if took < played*9/10 || took > played*11/10+200*time.Millisecond {
		t.Errorf("%v of video took %v", played, took)
	}
	time.Sleep(50 * time.Millisecond)
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

func TestRecordingReadsBack(t *testing.T) {
	dir := media(t)
	for _, element := range []string{"openh264enc", "x264enc"} {
		t.Run(element, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "annotated.mp4")
			src := plan.Source{URL: filepath.Join(dir, "video/vfr_h264.mp4")}
			encodeAll(t, src, plan.Encode{Codec: "h264", Path: path, Elements: []string{element}})
			want, got := readAll(t, src), readAll(t, plan.Source{URL: path})
			if got.err != nil || got.frames != want.frames {
				t.Fatalf("%d frames went in, %d read back, %v", want.frames, got.frames, got.err)
			}
			for i := range want.pts {
				d := (got.pts[i] - got.pts[0]) - (want.pts[i] - want.pts[0])
				if d.Abs() > 2*time.Millisecond {
					t.Fatalf("frame %d moved by %v", i, d)
				}
			}
			left, _ := filepath.Glob(filepath.Dir(path) + "/*")
			if len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestCancelIsPrompt(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	// 192.0.2.1 is a documentation address: nothing answers there.
	err := Read(ctx, plan.Source{URL: "rtsp://user:secret@192.0.2.1/cam"}, Handlers{})
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
	t.Log(err)
}

func TestProve(t *testing.T) {
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	units, err := ProveEncoder(t.Context(), "openh264enc", "h264")
	if err != nil {
		t.Fatal(err)
	}
	var clip []byte
	for _, u := range units {
		clip = append(clip, u.Data...)
	}
	p, err := Prove(t.Context(), "avdec_h264", "h264", clip)
	if err != nil || p.Frames != len(units) {
		t.Fatal(p.Frames, err)
	}
	t.Log(p.Width, p.Height, p.Luma[4][4], p.Each)
	if _, err := Prove(t.Context(), "vp8dec", "h264", clip); err == nil {
		t.Error("vp8dec was proven for H.264")
	}
}

func TestPatterns(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := Read(ctx, plan.Source{URL: "test:ball", FPS: 60}, Handlers{Frame: func(f *Frame) {
		if n++; n == 20 {
			cancel()
		}
		f.Release()
	}})
	if n < 20 {
		t.Error(n, err)
	}
	err = Read(t.Context(), plan.Source{URL: "test:balls"}, Handlers{})
	t.Log(err)
}
