package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// A file with nothing but sound is told for what it is, and at once.
func TestSoundOnly(t *testing.T) {
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, launch string
		needs        []string
	}{
		{"wav", "wavenc", []string{"wavenc"}},
		{"ogg", "vorbisenc ! oggmux", []string{"vorbisenc", "oggmux"}},
		{"opus", "opusenc ! oggmux", []string{"opusenc", "oggmux"}},
		{"m4a", "avenc_aac ! mp4mux", []string{"avenc_aac", "mp4mux"}},
		{"flac", "flacenc", []string{"flacenc"}},
		{"mp3", "lamemp3enc", []string{"lamemp3enc"}},
		{"mka", "vorbisenc ! matroskamux", []string{"vorbisenc", "matroskamux"}},
		{"ts", "avenc_aac ! aacparse ! mpegtsmux", []string{"avenc_aac", "aacparse", "mpegtsmux"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, e := range c.needs {
				if !HasElement(e) {
					t.Skipf("%s is not installed", e)
				}
			}
			file := write(t, "audiotestsrc num-buffers=1000 ! audioconvert ! audioresample ! audio/x-raw,rate=48000 ! audioconvert ! "+c.launch)
			for range 3 {
				s := readAll(t, plan.Source{URL: file})
				var e *Error
				if !errors.As(s.err, &e) || e.Kind != NoVideo || !strings.Contains(e.Message, "there is no video in it") {
					t.Errorf("%v, %q", s.err, s.warnings)
				}
				t.Logf("after %v: %v %q", s.took, s.err, s.warnings)
				if s.took > 2*time.Second {
					t.Errorf("it took %v", s.took)
				}
			}
		})
	}
}
