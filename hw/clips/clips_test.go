package clips

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "encode the clips anew (needs gst-launch-1.0 and the encoders)")

// encoders that the clips come from. B-frames where the codec has them: cameras
// use them, and a decoder that gives frames out in the wrong order must not pass.
var encoders = map[string]string{
	"h264":  "x264enc speed-preset=slower pass=quant quantizer=24 bframes=2 b-adapt=false key-int-max=9 ! h264parse",
	"h265":  "x265enc speed-preset=medium option-string=qp=26:keyint=9:bframes=2:log-level=none:info=0 ! h265parse",
	"vp8":   "vp8enc end-usage=cq cq-level=16 min-quantizer=8 max-quantizer=24 keyframe-max-dist=9 deadline=0",
	"vp9":   "vp9enc end-usage=cq cq-level=24 min-quantizer=8 max-quantizer=32 keyframe-max-dist=9 deadline=0",
	"av1":   "av1enc end-usage=cq target-bitrate=0 min-quantizer=8 max-quantizer=32 cpu-used=6 ! av1parse",
	"mpeg2": "mpeg2enc format=3 quantisation=12 b-per-refframe=2 ! mpegvideoparse",
	"mpeg4": "avenc_mpeg4 pass=quant quantizer=4 gop-size=9 max-bframes=2 ! mpeg4videoparse",
	"jpeg":  "jpegenc quality=15",
}

func TestClips(t *testing.T) {
	if *update {
		encode(t)
		return // what is embedded in this very test is still the old
	}
	for _, codec := range Codecs() {
		data, ok := Clip(codec)
		if !ok {
			t.Errorf("no clip for %s", codec)
			continue
		}
		if !bytes.HasPrefix(data, []byte{0x1a, 0x45, 0xdf, 0xa3}) {
			t.Errorf("%s: not Matroska", codec)
		}
		if len(data) > 64<<10 {
			t.Errorf("%s: %d bytes is more than a clip in every binary should be", codec, len(data))
		}
	}
	if _, ok := Clip("h266"); ok {
		t.Error("a clip for h266, which there is none of")
	}
}

func encode(t *testing.T) {
	format := fmt.Sprintf("rawvideoparse width=%d height=%d format=i420 framerate=%d/1", Width, Height, FPS)
	var raw bytes.Buffer
	for n := range Frames {
		raw.Write(Picture(n))
	}
	for codec, encoder := range encoders {
		out := codec + ".mkv"
		if codec == "mpeg4" {
			// avenc_mpeg4 of GStreamer 1.22 gives every frame the same impossible
			// time; AVI forgets the times and counts the frames instead.
			avi := filepath.Join(t.TempDir(), "clip.avi")
			launch(t, raw.Bytes(), "fdsrc fd=0 ! "+format+" ! "+encoder+" ! avimux ! filesink location="+avi)
			launch(t, nil, "filesrc location="+avi+" ! avidemux ! mpeg4videoparse ! matroskamux ! filesink location="+out)
		} else {
			launch(t, raw.Bytes(), "fdsrc fd=0 ! "+format+" ! "+encoder+" ! matroskamux ! filesink location="+out)
		}
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", out, info.Size())
	}
}

// launch runs a pipeline in GStreamer's own tool.
func launch(t *testing.T, stdin []byte, pipeline string) {
	t.Helper()
	cmd := exec.Command("gst-launch-1.0", strings.Fields("-q "+pipeline)...)
	cmd.Stdin = bytes.NewReader(stdin)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", pipeline, err, said)
	}
}

func TestMeasureSeesWhatPictureDraws(t *testing.T) {
	for n := range Frames {
		g, err := Measure(Picture(n), Width, Height, Width)
		if err != nil {
			t.Fatal(err)
		}
		frame, differs := g.Nearest()
		if frame != n || differs != 0 {
			t.Errorf("frame %d is seen as frame %d, off by %.2f", n, frame, differs)
		}
	}
}

// Whatever a driver that does not decode may give out has to be far away.
func TestOtherPicturesAreFarAway(t *testing.T) {
	bars := [...]byte{180, 162, 131, 112, 84, 65, 35, 16} // 75 % colour bars
	pictures := map[string]func(x, y int) byte{
		"black":      func(x, y int) byte { return 16 },
		"grey":       func(x, y int) byte { return 128 },
		"green":      func(x, y int) byte { return 0 },
		"white":      func(x, y int) byte { return 235 },
		"bars":       func(x, y int) byte { return bars[x*8/Width] },
		"ramp":       func(x, y int) byte { return byte(16 + x*219/Width) },
		"upside":     func(x, y int) byte { return block(x*Columns/Width, (Height-1-y)*Rows/Height) },
		"other rows": func(x, y int) byte { return block(x*Columns/Width, y*Rows/Height+1) },
	}
	for name, at := range pictures {
		luma := make([]byte, Width*Height)
		for i := range luma {
			luma[i] = at(i%Width, i/Width)
		}
		g, err := Measure(luma, Width, Height, Width)
		if err != nil {
			t.Fatal(err)
		}
		if frame, differs := g.Nearest(); differs < 25 {
			t.Errorf("%s passes for frame %d: off by only %.1f", name, frame, differs)
		}
	}
	for a := range Frames {
		for b := range a {
			if d := min(Expected(a).Misses(b), Expected(b).Misses(a)); d < 25 {
				t.Errorf("frames %d and %d are alike: off by only %.1f", a, b, d)
			}
		}
	}
}

func TestMeasureOfOtherSizes(t *testing.T) {
	const stride = Width + 64
	padded := bytes.Repeat([]byte{255}, stride*Height)
	for y := range Height {
		copy(padded[y*stride:], Picture(3)[y*Width:(y+1)*Width])
	}
	g, err := Measure(padded, Width, Height, stride)
	if err != nil {
		t.Fatal(err)
	}
	if n, d := g.Nearest(); n != 3 || d != 0 {
		t.Errorf("with a stride: frame %d, off by %.2f", n, d)
	}
	for _, bad := range [][3]int{{0, 0, 0}, {Width, Height, Width - 1}, {Width, Height + 1, stride}, {8, 8, 8}} {
		if _, err := Measure(padded, bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	if d := Expected(0).Differs(Grid{}); math.IsNaN(d) || d < 100 {
		t.Errorf("nothing differs from a picture by %v", d)
	}
}
