package engine

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// encodeAll puts a source through an encoder and returns the units.
func encodeAll(t *testing.T, src plan.Source, e plan.Encode) ([]Unit, string) {
	t.Helper()
	var units []Unit
	var x *Encoder
	err := Read(context.Background(), src, Handlers{
		Frame: func(f *Frame) {
			if x == nil {
				var err error
				if e.Width == 0 {
					e.Width, e.Height = f.Width, f.Height
				}
				if x, err = NewEncoder(e, func(u Unit) { units = append(units, u) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.Push(f); err != nil {
				t.Fatal(err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return units, x.Name()
}

func TestEncoderRoundTrip(t *testing.T) {
	dir := media(t)
	for _, c := range []struct{ file, codec, element string }{
		{"video/face_h264.mp4", "h264", "openh264enc"},
		{"video/face_h264.mp4", "h264", "x264enc"},
		{"video/face_h264.mp4", "vp8", "vp8enc"},
		{"video/bear_vp9_161x121.webm", "h264", "openh264enc"},
	} {
		t.Run(c.element+" "+filepath.Base(c.file), func(t *testing.T) {
			start := time.Now()
			units, name := encodeAll(t, plan.Source{URL: filepath.Join(dir, c.file)}, plan.Encode{Codec: c.codec, Elements: []string{c.element}, Live: true, GOP: 10})
			var enc time.Duration
			for _, u := range units {
				enc += u.Encode
			}
			t.Logf("%s: %d units in %v, encode %v each", name, len(units), time.Since(start), enc/time.Duration(len(units)))
			if len(units) != 30 {
				t.Errorf("%d units of 30 frames", len(units))
			}
			for i, u := range units {
				if i > 0 && u.PTS <= units[i-1].PTS {
					t.Errorf("unit %d: PTS %v after %v", i, u.PTS, units[i-1].PTS)
				}
				if u.Keyframe != (i%10 == 0) {
					t.Errorf("unit %d: keyframe %t", i, u.Keyframe)
				}
				if u.Captured == 0 {
					t.Errorf("unit %d has no capture time", i)
				}
			}
		})
	}
}
