package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func text(p Pipeline) string {
	var b strings.Builder
	fmt.Fprintln(&b, p.Launch)
	for _, prop := range p.Props {
		fmt.Fprintf(&b, "  %s.%s = %s\n", prop.Element, prop.Name, prop.Value)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestDescriptions(t *testing.T) {
	for name, s := range map[string]Source{
		"file": {URL: "/videos/a b.mp4"},
		"rtsp": {URL: "rtsp://user:p%40ss@cam.local:554/live?channel=1", Transport: "udp"},
		"v4l2": {URL: "/dev/video2"},
		"test": {URL: "test:ball", FPS: 29.97},
	} {
		in, err := Open(s)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "open-"+name, text(in.Pipeline))
		if strings.Contains(in.Launch, "user") || strings.Contains(in.Launch, "a b") {
			t.Errorf("%s: what a user typed is in the text: %s", name, in.Launch)
		}
	}
	golden(t, "frames-live", text(Frames(Decode{Element: "avdec_h264", Orientation: "rotate-90", Live: true, Threads: 2})))
	golden(t, "frames-file", text(Frames(Decode{Element: "avdec_h264", Parser: "h264parse"})))
	for _, e := range []Encode{
		{Codec: "h264", Width: 1280, Height: 720, Live: true},
		{Codec: "h264", Width: 161, Height: 121, Path: "/out/annotated.mp4", Threads: 2},
		{Codec: "vp8", Width: 640, Height: 360, FPSNum: 15, FPSDen: 1},
	} {
		e = e.Defaulted()
		for _, element := range e.Elements {
			p, err := Encoder(element, e)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, fmt.Sprintf("%s-%d", element, e.Height), text(p))
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://user:secret@host/path":        "rtsp://***@host/path",
		"rtsp://user:s/ec@ret@host/path":      "rtsp://***@host/path",
		"rtsp://u:hun?ter2@h/s":               "rtsp://***@h/s",
		"rtsp://host/path?user=a&pw=secret":   "rtsp://host/path***",
		"rtsp://h/user=admin&password=secret": "rtsp://h/***",
		"admin:secret@h/s":                    "***@h/s",
		"/videos/a@b.mp4":                     "/videos/a@b.mp4",
		"/videos/12:30@home.mp4":              "/videos/12:30@home.mp4",
		"test:ball":                           "test:ball",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
	const text = "rtsp://u:secret@h/a?b=c: no connection; is it on? (key=value) see a@b"
	if got, want := RedactText(text), "rtsp://***@h/a*** no connection; is it on? (key=value) see a@b"; got != want {
		t.Errorf("RedactText gave %q, want %q", got, want)
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"/home/me/films/yard.mp4":      "yard.mp4",
		"yard.mp4":                     "yard.mp4",
		"file:///home/me/the%20yard":   "the yard",
		"/films/a\nb.mp4":              "a?b.mp4",
		"/home/me@work/yard.mp4":       "yard.mp4",
		"rtsp://u:p@10.0.0.2/a/b":      "rtsp://***@10.0.0.2/a/b",
		"http://u:p@10.0.0.2/yard.mp4": "http://***@10.0.0.2/yard.mp4",
		"admin:secret@camera/stream":   "stream",
		"/dev/video0":                  "/dev/video0",
		"test:ball":                    "test:ball",
	} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("cam", "user", "secret")
	f.Fuzz(func(t *testing.T, host, user, password string) {
		if len(password) < 6 || strings.Contains(password, "*") || strings.ContainsAny(host, "@?#/") || strings.Contains(host, password) || strings.Contains("rtsp://***@"+host+"/x", password) {
			t.Skip()
		}
		if got := Redact("rtsp://" + user + ":" + password + "@" + host + "/x"); strings.Contains(got, password) {
			t.Errorf("the password is in %q", got)
		}
	})
}

func TestFraction(t *testing.T) {
	for fps, want := range map[float64][2]int{25: {25, 1}, 29.97: {30000, 1001}, 12.5: {25, 2}, 0: {0, 1}, 59.94: {60000, 1001}} {
		if n, d := Fraction(fps); n != want[0] || d != want[1] {
			t.Errorf("Fraction(%v) = %d/%d, want %v", fps, n, d, want)
		}
	}
}

func TestChoose(t *testing.T) {
	one, ten, thirty, ntsc := Rate{1, 1}, Rate{10, 1}, Rate{30, 1}, Rate{30000, 1001}
	modes := []Mode{
		{"video/x-raw", "YUY2", 640, 480, one, thirty}, {"video/x-raw", "YUY2", 1280, 720, ten, ten},
		{"image/jpeg", "", 1280, 720, thirty, thirty}, {"image/jpeg", "", 1920, 1080, thirty, thirty},
		{"video/x-bayer", "", 1280, 720, Rate{60, 1}, Rate{60, 1}},
		// One camera has fixed rates, another does not tell.
		{"video/x-raw", "NV12", 320, 240, Rate{60, 1}, Rate{60, 1}}, {"video/x-raw", "NV12", 320, 240, ntsc, ntsc},
		{"video/x-raw", "NV12", 320, 240, Rate{15, 2}, Rate{15, 2}}, {"video/x-raw", "UYVY", 720, 576, Rate{}, Rate{}},
	}
	for _, c := range []struct {
		w, h int
		fps  float64
		want string
	}{
		{0, 0, 0, "image/jpeg,width=1280,height=720,framerate=30/1"},
		{640, 480, 15, "video/x-raw,format=YUY2,width=640,height=480,framerate=15/1"},
		{1280, 720, 10, "video/x-raw,format=YUY2,width=1280,height=720,framerate=10/1"},
		{1920, 1080, 30, "image/jpeg,width=1920,height=1080,framerate=30/1"},
		{640, 480, 12.5, "video/x-raw,format=YUY2,width=640,height=480,framerate=25/2"},
		{640, 480, 0.5, "video/x-raw,format=YUY2,width=640,height=480,framerate=1/1"},
		// Never a rate that the camera does not have: that starts nothing.
		{320, 240, 25, "video/x-raw,format=NV12,width=320,height=240,framerate=30000/1001"},
		{320, 240, 7, "video/x-raw,format=NV12,width=320,height=240,framerate=15/2"},
		{320, 240, 100, "video/x-raw,format=NV12,width=320,height=240,framerate=60/1"},
		{720, 576, 25, "video/x-raw,format=UYVY,width=720,height=576"},
	} {
		m, ok := Choose(modes, c.w, c.h, c.fps)
		if got := ModeCaps(m, c.fps); !ok || got != c.want {
			t.Errorf("%dx%d@%v: %s, want %s", c.w, c.h, c.fps, got, c.want)
		}
	}
}

func TestCodec(t *testing.T) {
	for caps, want := range map[string]string{
		"video/x-h264, stream-format=(string)avc":     "h264",
		"video/mpeg, mpegversion=(int)4":              "mpeg4",
		"video/mpeg, mpegversion=(int)2, parsed=true": "mpeg2",
		"video/x-gst-fourcc-vvc1, width=(int)320":     "h266",
		"video/x-gst-fourcc-abcd":                     "abcd",
	} {
		if got, _, _ := Codec(caps); got != want {
			t.Errorf("Codec(%q) = %s, want %s", caps, got, want)
		}
	}
}
