package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/hw"
	"github.com/watchpost/watchpost/hw/clips"
)

// TestMain lets the test binary be the processes of a survey, as the program is.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("PROOF_TEST_MODE") {
	case "":
		os.Exit(m.Run())
	case "survey":
		err = Survey(context.Background(), Processes{
			Exe: os.Args[0], Env: append(os.Environ(), "PROOF_TEST_MODE=prove"),
		}, os.Stdout)
	case "prove":
		err = Serve(context.Background(), Processes{}, os.Args[len(os.Args)-1], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func start(t *testing.T) Engine {
	t.Helper()
	if err := engine.Start(engine.Options{}); err != nil {
		t.Fatal(err)
	}
	return Engine{}
}

// software is what Debian's plugins have to bring: the real elements on the real clips.
var software = map[string][]string{
	"h264": {"avdec_h264", "openh264dec"}, "h265": {"avdec_h265", "libde265dec"},
	"vp8": {"vp8dec", "avdec_vp8"}, "vp9": {"vp9dec", "avdec_vp9"}, "av1": {"av1dec", "dav1ddec"},
	"mpeg2": {"avdec_mpeg2video", "mpeg2dec"}, "mpeg4": {"avdec_mpeg4"}, "jpeg": {"jpegdec"},
}

func TestSoftwareDecoders(t *testing.T) {
	p := start(t)
	for _, codec := range clips.Codecs() {
		for _, element := range software[codec] {
			t.Run(codec+"/"+element, func(t *testing.T) {
				if !p.Has(element) {
					t.Skip(element + " is not installed")
				}
				o := hw.Prove(context.Background(), p, hw.Candidate{Role: hw.Decode, Codec: codec, Element: element, Kind: hw.Software}, "")
				if o.Reason != "" || o.Frames != clips.Frames {
					t.Errorf("%+v", o)
				}
				t.Logf("%d pictures in %v", o.Frames, o.Took)
			})
		}
	}
}

func TestSoftwareEncoders(t *testing.T) {
	p := start(t)
	for codec, elements := range map[string][]string{"h264": {"openh264enc", "x264enc"}, "vp8": {"vp8enc"}} {
		judge := software[codec][0]
		for _, element := range elements {
			t.Run(element, func(t *testing.T) {
				if !p.Has(element) {
					t.Skip(element + " is not installed")
				}
				o := hw.Prove(context.Background(), p, hw.Candidate{Role: hw.Encode, Codec: codec, Element: element, Kind: hw.Software}, judge)
				if o.Reason != "" || o.Frames != clips.Frames {
					t.Errorf("%+v", o)
				}
				t.Logf("%d pictures in %v", o.Frames, o.Took)
			})
		}
	}
}

// A real element that decodes, but another clip, has to be caught by the picture.
func TestRealElementsAreRefused(t *testing.T) {
	p := start(t)
	prove := func(element, codec string) string {
		return hw.Prove(context.Background(), p, hw.Candidate{Role: hw.Decode, Codec: codec, Element: element, Kind: hw.Software}, "").Reason
	}
	for _, c := range [][3]string{
		{"avdec_vp9", "h264", ""}, // not a decoder of that
		{"v4l2h264dec", "h264", "cannot be decoded on this box"},
		{"identity", "h264", ""}, // no decoder at all
	} {
		if reason := prove(c[0], c[1]); reason == "" || !strings.Contains(reason, c[2]) || strings.Contains(reason, "/proc") {
			t.Errorf("%s for %s: %q, want %q", c[0], c[1], reason, c[2])
		} else {
			t.Logf("%s for %s: %s", c[0], c[1], reason)
		}
	}
	pix := [][]byte{}
	for range clips.Frames {
		pix = append(pix, make([]byte, clips.Width*clips.Height*3/2))
	}
	clip, err := p.Encode(context.Background(), "vp8enc", "vp8", clips.Width, clips.Height, clips.FPS, pix)
	if err != nil {
		t.Skip(err)
	}
	g := clips.Grid{}
	err = p.Decode(context.Background(), "vp8dec", "vp8", clip, func(luma []byte, w, h, stride int) error {
		g, err = clips.Measure(luma, w, h, stride)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, off := g.Nearest(); off < 25 {
		t.Errorf("black passes: off by %.1f", off)
	}
}

func TestDamagedClip(t *testing.T) {
	p := start(t)
	clip, _ := clips.Clip("h264")
	clip = slices.Clone(clip)
	for i := len(clip) / 2; i < len(clip)-200; i++ {
		clip[i] ^= 0x5a
	}
	n := 0
	err := p.Decode(context.Background(), "avdec_h264", "h264", clip, func(luma []byte, w, h, stride int) error {
		g, err := clips.Measure(luma, w, h, stride)
		if err == nil && g.Misses(n) < 10 {
			n++
		}
		return err
	})
	if n == clips.Frames {
		t.Errorf("a damaged clip passes (%v)", err)
	}
}

// The whole of it: a surveying process, its children, the report, the cache.
func TestSurveyOfThisMachine(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "hardware.json")
	s := hw.Surveyor{Exe: os.Args[0], Env: append(os.Environ(), "PROOF_TEST_MODE=survey"), Cache: cache}
	r, err := hw.RunSurvey(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(r)
	t.Logf("%v: decoders %v, encoders %v; %d bytes", r.Duration, r.Decoders(), r.Encoders(), len(raw))
	for _, e := range r.Elements {
		if e.Present && !e.Proven {
			t.Logf("refused: %s for %s: %s", e.Element, e.Codec, e.Reason)
		}
	}
	if r.GStreamer == "" || len(r.Decoders()["h264"]) == 0 || len(r.Encoders()["h264"]) == 0 {
		t.Errorf("%s", raw)
	}
	if _, ok := s.Cached(); !ok {
		t.Error("the report was not kept")
	}
}
