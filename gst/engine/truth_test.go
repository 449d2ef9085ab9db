package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/watchpost/watchpost/gst/plan"
)

// Another implementation decodes the same JPEG: it must be as bright here, in
// video's range.
func TestJPEGIsAsBrightAsGosDecoderSays(t *testing.T) {
	for _, name := range []string{"rf_crowd.jpg", "yolox_dog.jpg"} {
		file := filepath.Join(media(t), "image", name)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		y, ok := img.(*image.YCbCr)
		if !ok {
			t.Fatalf("%T", img)
		}
		sum, n := 0.0, 0
		for r := range y.Rect.Dy() {
			for _, v := range y.Y[r*y.YStride : r*y.YStride+y.Rect.Dx()] {
				sum += float64(v)
				n++
			}
		}
		want := 16 + sum/float64(n)*219/255
		for _, decoder := range []string{"jpegdec"} {
			if err := Start(Options{}); err != nil || !HasElement(decoder) {
				t.Logf("%s is not installed (%v)", decoder, err)
				continue
			}
			s := readAll(t, plan.Source{URL: file, Decoders: map[string][]string{"jpeg": {decoder}}})
			t.Logf("%s by %s: mean luma %.1f, Go says %.1f; %v", name, decoder, s.luma, want, s.warnings)
			if s.err != nil || s.frames != 1 || math.Abs(s.luma-want) > 1.5 {
				t.Errorf("%s by %s: %d frames, %v, mean luma %.1f, want %.1f", name, decoder, s.frames, s.err, s.luma, want)
			}
		}
	}
}

// write runs a pipeline that ends in a file.
func write(t *testing.T, launch string, props ...plan.Prop) string {
	t.Helper()
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "made")
	p, err := build(plan.Pipeline{Launch: launch + " ! filesink name=file", Props: append(props, plan.Prop{Element: "file", Name: "location", Value: out})})
	if err != nil {
		t.Skip(err)
	}
	defer p.close()
	_ = p.play()
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		if m, ok := p.pop(); ok && m.kind == msgEOS {
			return out
		} else if ok && m.kind == msgError {
			t.Fatal(m.text, m.debug)
		}
	}
	t.Fatal("it does not end")
	return ""
}

func TestMotionJPEGInAVI(t *testing.T) {
	file := write(t, "videotestsrc num-buffers=50 pattern=snow ! video/x-raw,format=I420,width=640,height=480,framerate=25/1 ! jpegenc ! avimux")
	for _, decoder := range []string{"jpegdec"} {
		s := readAll(t, plan.Source{URL: file, Decoders: map[string][]string{"jpeg": {decoder}}})
		if s.err != nil || s.frames != 50 || len(s.warnings) > 0 {
			t.Errorf("%s: %d frames, %v, %v", decoder, s.frames, s.err, s.warnings)
		}
	}
}

// A picture whose file says that it is to be turned is turned the right way.
func TestRotationByItsPixels(t *testing.T) {
	const w, h = 320, 240
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	e := plan.Encode{Codec: "h264", Width: w, Height: h, Path: filepath.Join(t.TempDir(), "corner.mp4")}
	x, err := NewEncoder(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		f, err := NewFrame(plan.I420, w, h)
		if err != nil {
			t.Fatal(err)
		}
		ramp(f, 0)
		for y := range h {
			for xx := range w {
				v := byte(40)
				if xx < w/2 && y < h/2 {
					v = 200 // top left
				}
				f.Planes[0][y*f.Stride[0]+xx] = v
			}
		}
		f.PTS = time.Duration(i) * time.Second / 30
		if err := x.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	// Where the bright corner is after the turn, clockwise: x, y in halves.
	for tag, corner := range map[string][2]int{
		"rotate-0": {0, 0}, "rotate-90": {1, 0}, "rotate-180": {1, 1}, "rotate-270": {0, 1},
	} {
		file := filepath.Join(t.TempDir(), "turned.mp4")
		if err := os.WriteFile(file, turned(t, e.Path, matrices[tag]), 0o600); err != nil {
			t.Fatal(err)
		}
		var where [2][2]float64
		var info Info
		err := Read(t.Context(), plan.Source{URL: file}, Handlers{Info: func(i Info) { info = i }, Frame: func(f *Frame) {
			g := grid(f)
			where = [2][2]float64{{g[1][3], g[1][12]}, {g[7][3], g[7][12]}}
			f.Release()
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %dx%d turned by %d, corners %.0f", tag, info.Width, info.Height, info.Rotation, where)
		if portrait := tag == "rotate-90" || tag == "rotate-270"; portrait != (info.Height > info.Width) {
			t.Errorf("%s: it is %dx%d", tag, info.Width, info.Height)
		}
		for y := range 2 {
			for x := range 2 {
				if bright := where[y][x] > 120; bright != (corner == [2]int{x, y}) {
					t.Errorf("%s: the corners are %.0f", tag, where)
				}
			}
		}
	}
}

// matrices are a, b, c, d of a track's header (ISO/IEC 14496-12, 8.3.2).
var matrices = map[string][4]int32{
	"rotate-0": {1, 0, 0, 1}, "rotate-90": {0, 1, -1, 0}, "rotate-180": {-1, 0, 0, -1}, "rotate-270": {0, -1, 1, 0},
}

// turned is an MP4 with another matrix in its track's header.
func turned(t *testing.T, file string, m [4]int32) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("tkhd"))
	if at < 0 {
		t.Fatal("no track's header")
	}
	at += 4 + 40
	for i, off := range []int{0, 4, 12, 16} {
		binary.BigEndian.PutUint32(data[at+off:], uint32(m[i]<<16))
	}
	return data
}

// What phones film upright must be upright.
func TestPhoneFilesArePortrait(t *testing.T) {
	for _, name := range []string{"phone_hevc10_portrait_editlist.mp4", "phone_4k60_portrait.mp4", "rot_90.mov", "rot_270.mov"} {
		var info Info
		ctx, cancel := context.WithCancel(t.Context())
		_ = Read(ctx, plan.Source{URL: filepath.Join(media(t), "video", name)}, Handlers{Info: func(i Info) { info = i }, Frame: func(f *Frame) { f.Release(); cancel() }})
		cancel()
		if info.Rotation%180 == 0 || info.Height <= info.Width {
			t.Errorf("%s: %dx%d, turned by %d", name, info.Width, info.Height, info.Rotation)
		}
	}
}

// A viewer that joins asks for a keyframe: the next unit is one, with all that a
// decoder needs.
func TestKeyframeOnDemand(t *testing.T) {
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ element, codec string }{{"openh264enc", "h264"}, {"x264enc", "h264"}, {"vp8enc", "vp8"}} {
		t.Run(c.element, func(t *testing.T) {
			if !HasElement(c.element) {
				t.Skipf("%s is not installed", c.element)
			}
			var units []Unit
			x, err := NewEncoder(plan.Encode{Codec: c.codec, Width: 320, Height: 240, GOP: 1000, Live: true, Elements: []string{c.element}}, func(u Unit) { units = append(units, u) })
			if err != nil {
				t.Fatal(err)
			}
			for i := range 40 {
				if i == 13 || i == 27 {
					for x.Pending() > 0 {
						time.Sleep(time.Millisecond)
					}
					x.Keyframe()
				}
				f, err := NewFrame(plan.I420, 320, 240)
				if err != nil {
					t.Fatal(err)
				}
				ramp(f, i)
				if err := x.Push(f); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			for i, u := range units {
				if want := i == 0 || i == 13 || i == 27; u.Keyframe != want || key(c.codec, u.Data) != want {
					t.Errorf("unit %d: keyframe %t, its data say %t, want %t", i, u.Keyframe, key(c.codec, u.Data), want)
				}
			}
		})
	}
}

// key tells whether a unit can be decoded without another one.
func key(codec string, data []byte) bool {
	if codec == "vp8" {
		return len(data) > 0 && data[0]&1 == 0 // RFC 6386, section 9.1
	}
	var nals h264.AnnexB
	if nals.Unmarshal(data) != nil {
		return false
	}
	var types strings.Builder
	for _, n := range nals {
		fmt.Fprintf(&types, "%d ", n[0]&0x1f)
	}
	all := " " + types.String()
	return strings.Contains(all, " 7 ") && strings.Contains(all, " 8 ") && strings.Contains(all, " 5 ")
}

// A decoder that cannot is replaced by the next, and no frame is lost by it.
func TestNextDecoderTakesOver(t *testing.T) {
	for _, first := range []string{"vp8dec", "jpegdec", "theoradec"} {
		s := readAll(t, plan.Source{URL: filepath.Join(media(t), "video/face_h264.mp4"), Decoders: map[string][]string{"h264": {first, "avdec_h264"}}})
		if s.err != nil || s.frames != 30 || s.infos[0].Decoder != "avdec_h264" || s.pts[0] != 0 {
			t.Errorf("after %s: %d frames, %v, %+v", first, s.frames, s.err, s.infos)
		}
		if !strings.Contains(strings.Join(s.warnings, " "), "trying avdec_h264") {
			t.Errorf("after %s: %q", first, s.warnings)
		}
	}
}

// Counts and rates as the files themselves tell them.
func TestCountsAndRates(t *testing.T) {
	s := readAll(t, plan.Source{URL: filepath.Join(media(t), "video/highway_asp.avi")})
	if s.err != nil || s.frames != 748 || math.Abs(s.infos[0].FPS-25) > 0.01 {
		t.Errorf("highway_asp: %d frames, %v, %+v", s.frames, s.err, s.infos)
	}
	s = readAll(t, plan.Source{URL: filepath.Join(media(t), "video/vfr_h264.mp4")})
	if s.err != nil {
		t.Fatal(s.err)
	}
	mean := float64(s.frames-1) / (s.pts[len(s.pts)-1] - s.pts[0]).Seconds()
	t.Logf("vfr_h264: %d frames, %.2f a second by their times; %+v", s.frames, mean, s.infos[0])
	if last := s.infos[len(s.infos)-1]; !last.VariableRate || last.FPS < mean/2 || last.FPS > mean*2 {
		t.Errorf("it says %.2f, variable %t; it has %.2f", last.FPS, last.VariableRate, mean)
	}
}
