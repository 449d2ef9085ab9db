package engine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// passed reads a source with its own units.
func passed(t *testing.T, src plan.Source) (units []Unit, frames []time.Duration, reasons []string) {
	t.Helper()
	err := Read(t.Context(), src, Handlers{
		Frame:   func(f *Frame) { frames = append(frames, f.PTS); f.Release() },
		Unit:    func(u Unit) { units = append(units, u) },
		NoUnits: func(s string) { reasons = append(reasons, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return units, frames, reasons
}

// Units that are handed on have the times of the frames that they become, and
// are a stream that can be decoded by itself.
func TestUnitsOfASource(t *testing.T) {
	units, frames, reasons := passed(t, plan.Source{URL: filepath.Join(media(t), "video/face_h264_nobframes.mp4")})
	if len(reasons) > 0 {
		t.Fatalf("refused: %v", reasons)
	}
	var times []time.Duration
	var stream []byte
	keys := 0
	for _, u := range units {
		times, stream = append(times, u.PTS), append(stream, u.Data...)
		if u.Keyframe {
			keys++
		}
		if u.Captured == 0 {
			t.Fatal("a unit without a capture time")
		}
	}
	if !slices.Equal(times, frames) || len(frames) < 20 || keys == 0 || !units[0].Keyframe {
		t.Errorf("%d units at %v…, %d frames at %v…, %d keyframes", len(times), times[:3], len(frames), frames[:3], keys)
	}
	path := filepath.Join(t.TempDir(), "own.h264")
	if err := os.WriteFile(path, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	again := 0
	if err := Read(t.Context(), plan.Source{URL: path}, Handlers{Frame: func(f *Frame) { again++; f.Release() }}); err != nil || again != len(frames) {
		t.Errorf("%d of %d pictures decode again: %v", again, len(frames), err)
	}
}

func TestUnitsThatCannotBeHandedOn(t *testing.T) {
	for name, want := range map[string]string{
		"video/face_h264.mp4":      "it has B-frames, which WebRTC players cannot show",
		"video/h264_10bits.mp4":    "browsers do not play its H.264 profile (110)",
		"video/h265_video.mp4":     "it comes as H.265, not as H.264",
		"video/res_change.h264":    "its pictures carry no times",
		"video/rot_90.mov":         "its pictures have to be turned",
		"video/road_msmpeg4v2.avi": "it comes as MS-MPEG-4, not as H.264",
	} {
		_, frames, reasons := passed(t, plan.Source{URL: filepath.Join(media(t), name)})
		if len(frames) == 0 || len(reasons) != 1 || reasons[0] != want {
			t.Errorf("%s: %d frames, %q, want %q", name, len(frames), reasons, want)
		}
	}
}
