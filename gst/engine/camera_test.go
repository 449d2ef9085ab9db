package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/gst/plan"
)

func TestModes(t *testing.T) {
	got := parseModes("video/x-raw YUY2 640 480 5/1 30/1\nimage/jpeg - 1280 720 30000/1001 30000/1001\nvideo/x-h264 - 320 240 - -\nrubbish\n")
	want := []plan.Mode{
		{Media: "video/x-raw", Format: "YUY2", Width: 640, Height: 480, Slowest: plan.Rate{Num: 5, Den: 1}, Fastest: plan.Rate{Num: 30, Den: 1}},
		{Media: "image/jpeg", Width: 1280, Height: 720, Slowest: plan.Rate{Num: 30000, Den: 1001}, Fastest: plan.Rate{Num: 30000, Den: 1001}},
		{Media: "video/x-h264", Width: 320, Height: 240},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// The messages are those that v4l2src gave on a board with the kernel's test drivers.
func TestCameraErrors(t *testing.T) {
	here := t.TempDir() // any path that is there
	for _, c := range []struct {
		path string
		code int
		text string
		kind ErrorKind
		want string
	}{
		{here, resourceNotFound, "Device '/dev/video0' is not a capture device.", Unsupported, "is not a camera"},
		{here, resourceRead, "Could not read from resource.", Unreachable, "may have been unplugged"},
		{filepath.Join(here, "gone"), resourceRead, "Could not read from resource.", NotFound, "no such device"},
		{here, resourceSettings, "Failed to allocate required memory.", Unsupported, "does not start"},
		{here, resourceBusy, "Device '/dev/video7' is busy", Unreachable, "in use by another program"},
	} {
		e := classify(plan.Input{Kind: plan.V4L2}, c.path, message{kind: msgError, domain: domainResource, code: c.code, text: c.text})
		if e.Kind != c.kind || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %s: %s", c.text, e.Kind, e.Message)
		}
	}
}
