package config

import (
	"strings"
	"testing"

	"github.com/watchpost/watchpost/gst/plan"
)

func TestKindOf(t *testing.T) {
	for source, want := range map[string]Kind{
		"rtsp://h/s": KindRTSP, "RTSP://h/s": KindRTSP, "/dev/video0": KindDevice, "/dev/video12": KindDevice,
		"test:smpte": KindPattern, "demo:": KindDemo, "clip.mp4": KindFile, "/a/b c.mp4": KindFile,
		"http://h/s": KindMJPEG, "HTTPS://h/s": KindMJPEG, "whip:": KindWHIP, "whip:x": KindWHIP, "whip://h": KindUnknown, "srt://h/s": KindUnknown, "rtsps://h": KindRTSP, "test:": KindPattern, "/dev/null": KindFile, "./odd/x://y": KindFile,
	} {
		if got := KindOf(source); got != want {
			t.Errorf("%q is %q, want %q", source, got, want)
		}
	}
}

func TestRedactLeavesNoSecret(t *testing.T) {
	for source, want := range map[string]string{
		"rtsp://host/stream":                                      "rtsp://host/stream",
		"rtsp://u:hunter2@host:554/s":                             "rtsp://***@host:554/s",
		"rtsp://u:hun@ter2@host/s":                                "rtsp://***@host/s",
		"rtsp://u:hun/ter2@host/s":                                "rtsp://***@host/s",
		"rtsp://u:hun?ter2@host/s":                                "rtsp://***@host/s",
		"rtsp://host/s?password=hunter2":                          "rtsp://host/s***",
		"rtsp://host/user=admin&password=hunter2&channel=1.sdp?x": "rtsp://host/***",
		"admin:hunter2@host/s":                                    "***@host/s",
		"http://a:hunter2@h":                                      "http://***@h",
		"/videos/a.mp4":                                           "/videos/a.mp4",
		"test:smpte":                                              "test:smpte",
		"rtsp://h/a;pw=hunter2":                                   "rtsp://h/***",
	} {
		got := plan.Redact(source)
		if got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
		if strings.Contains(got, "hun") || strings.Contains(got, "ter2") {
			t.Errorf("%s: the password is in %s", source, got)
		}
	}
}

func TestFromSource(t *testing.T) {
	var cams []Camera
	for _, tt := range []struct{ source, id string }{
		{"demo:", "demo"},
		{"demo:", "demo-2"},
		{"test:smpte", "test-smpte"},
		{"test:", "test"},
		{"rtsps://a:hunter2@[fd00::1]:322/s", "fd00-1-322-s"},
		{"/dev/video0", "video0"},
		{"/videos/one-by-one person_DETECTION.mp4", "one-by-one-person_detection"},
		{"clip.mp4", "clip"},
		{"other/clip.mkv", "clip-2"},
		{"third/clip.avi", "clip-3"},
		{"rtsp://admin:hunter2@Cam-1.lan:554/live/main?token=hunter2", "cam-1-lan-live-main"},
		{"rtsp://192.168.1.9", "192-168-1-9"},
		{"http://user:hunter2@cam.lan:8080/video?action=stream", "cam-lan-video"},
		{"whip:", "whip"},
		{"rtsp://h/user=admin&password=hunter2", "h"},
		{"/видео/камера.mp4", "camera"},
		{strings.Repeat("x", 100) + ".mp4", strings.Repeat("x", 64)},
		{strings.Repeat("x", 100) + ".avi", strings.Repeat("x", 62) + "-2"},
	} {
		cam := FromSource(tt.source, cams...)
		if cam.ID != tt.id {
			t.Errorf("%s: id %q, want %q", tt.source, cam.ID, tt.id)
		}
		if strings.Contains(cam.ID+cam.Name, "hunter2") {
			t.Errorf("%s: the password is in %s, %s", tt.source, cam.ID, cam.Name)
		}
		cams = append(cams, cam)
	}
	c := Default()
	c.Cameras = cams
	if err := c.Validate(); err != nil {
		t.Errorf("cameras made from sources are not valid: %v", err)
	}
}
