package hw

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeNode answers the kernel's requests by hand, in the kernel's layout.
type fakeNode struct {
	caps, deviceCaps uint32
	name             string
	formats          []string
	sizes            map[string][][]uint32 // 2 numbers: discrete; 6: min, max, step of width, of height
	intervals        [][]uint32            // 2 numbers: discrete; 6: min, max, step
	now              [2]uint32             // the size in force
	endless          bool
	fail             map[uint]error
	closed           *int
}

func (f fakeNode) Close() error { *f.closed++; return nil }

func (f fakeNode) Ioctl(request uint, arg []byte) error {
	if err := f.fail[request]; err != nil {
		return err
	}
	if want := int(request >> 16 & 0x3fff); len(arg) != want {
		return fmt.Errorf("request %#x has %d bytes, not %d", request, len(arg), want)
	}
	index := int(u32(arg, 0))
	switch request {
	case vidiocQueryCap:
		copy(arg, "uvcvideo\x00rubbish")
		copy(arg[16:48], f.name)
		copy(arg[48:80], "usb-0000:01:00.0-1.3")
		put(arg, 84, f.caps)
		put(arg, 88, f.deviceCaps)
		return nil
	case vidiocEnumFmt:
		wantBuffer := uint32(bufCapture)
		if f.deviceCaps&capCaptureMulti != 0 {
			wantBuffer = bufCaptureMulti
		}
		if u32(arg, 4) != wantBuffer {
			return unix.EINVAL
		}
		if f.endless {
			index = 0
		}
		if index >= len(f.formats) {
			return unix.EINVAL
		}
		copy(arg[44:48], f.formats[index])
		return nil
	case vidiocEnumFrameSizes:
		list := f.sizes[fourCC(u32(arg, 4))]
		if f.endless {
			index = 0
		}
		return fill(arg[8:], list, index)
	case vidiocGetFmt:
		put(arg, 8, f.now[0])
		put(arg, 12, f.now[1])
		return nil
	case vidiocEnumFrameIntervals:
		if u32(arg, 8) == 0 || u32(arg, 12) == 0 {
			return unix.EINVAL
		}
		return fill(arg[16:], f.intervals, index)
	}
	return unix.ENOTTY
}

func fill(arg []byte, list [][]uint32, index int) error {
	if index >= len(list) {
		return unix.EINVAL
	}
	put(arg, 0, 1)
	if len(list[index]) == 6 {
		put(arg, 0, 3)
	}
	for i, v := range list[index] {
		put(arg, 4+4*i, v)
	}
	return nil
}

func TestCameras(t *testing.T) {
	closed := 0
	const capture = capCapture | 0x04000000
	nodes := map[string]device{
		"/dev/video0": fakeNode{
			caps: capture | capDeviceCaps | 0x00800000, deviceCaps: capture, name: "HD Webcam: C920", closed: &closed,
			formats: []string{"YUYV", "MJPG", "H264"},
			sizes: map[string][][]uint32{
				"YUYV": {{640, 480}}, "MJPG": {{1920, 1080}, {1280, 720}},
				"H264": {{16, 1920, 2, 16, 1080, 2}},
			},
			intervals: [][]uint32{{1, 15}, {1, 30}, {1001, 30000}, {0, 0}},
		},
		// The same camera's metadata node.
		"/dev/video1": fakeNode{caps: capture | capDeviceCaps | 0x00800000, deviceCaps: 0x00800000, name: "HD Webcam: C920", closed: &closed},
		// An ISP's multi-planar node.
		"/dev/video2": fakeNode{
			caps: capDeviceCaps, deviceCaps: capCaptureMulti, name: "rkisp1_mainpath", closed: &closed,
			formats: []string{"NM12"}, sizes: map[string][][]uint32{"NM12": {{32, 4416, 16, 16, 3312, 1}}},
			intervals: [][]uint32{{1, 60, 1, 1, 0, 0}},
		},
		// A codec.
		"/dev/video10": fakeNode{caps: capDeviceCaps, deviceCaps: capM2MMulti, name: "bcm2835-codec-decode", closed: &closed},
		// Not V4L2 at all; unplugged; broken; one that never ends.
		"/dev/video11": fakeNode{fail: map[uint]error{vidiocQueryCap: unix.ENOTTY}, closed: &closed},
		"/dev/video12": fakeNode{fail: map[uint]error{vidiocQueryCap: unix.ENODEV}, closed: &closed},
		"/dev/video13": fakeNode{deviceCaps: capture, caps: capture, name: "tired", formats: []string{"GREY"}, closed: &closed,
			fail: map[uint]error{vidiocEnumFrameSizes: unix.EIO}},
		"/dev/video14": fakeNode{deviceCaps: capture, caps: capture, name: "endless\x01", formats: []string{"GREY"}, closed: &closed,
			sizes: map[string][][]uint32{"GREY": {{8, 8}}}, endless: true},
		// A receiver that takes what comes in; the end of a pipeline that nobody set up.
		"/dev/video15": fakeNode{deviceCaps: capture, caps: capture, name: "hdmi", formats: []string{"UYVY"}, closed: &closed, now: [2]uint32{1920, 1080}},
		"/dev/video16": fakeNode{caps: capDeviceCaps, deviceCaps: capture | capMediaCentric, name: "unicam", formats: []string{"UYVY"}, closed: &closed,
			sizes: map[string][][]uint32{"UYVY": {{640, 480}}}},
	}
	open := func(path string) (device, error) {
		switch d, ok := nodes[path]; {
		case ok:
			return d, nil
		case path == "/dev/video20":
			return nil, &fs.PathError{Op: "open", Path: path, Err: unix.EACCES}
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: unix.ENODEV}
	}
	got := cameras([]string{"/dev/video10", "/dev/video11", "/dev/video12", "/dev/video13", "/dev/video14", "/dev/video15", "/dev/video16", "/dev/video1", "/dev/video0",
		"/dev/video2", "/dev/video20", "/dev/video21"}, open)
	if closed != len(nodes) {
		t.Errorf("%d of %d nodes were closed", closed, len(nodes))
	}
	if len(got) != 7 {
		t.Fatalf("%d cameras: %+v", len(got), got)
	}
	rates := []float64{30, 30000.0 / 1001, 15}
	want := Camera{
		Path: "/dev/video0", Name: "HD Webcam: C920", Driver: "uvcvideo", Bus: "usb-0000:01:00.0-1.3",
		Modes: []Mode{
			{"YUYV", "video/x-raw", "YUY2", 640, 480, rates},
			{"MJPG", "image/jpeg", "", 1920, 1080, rates},
			{"MJPG", "image/jpeg", "", 1280, 720, rates},
			{"H264", "video/x-h264", "", 1920, 1080, rates},
			{"H264", "video/x-h264", "", 1280, 960, rates},
			{"H264", "video/x-h264", "", 1280, 720, rates},
			{"H264", "video/x-h264", "", 1024, 576, rates},
			{"H264", "video/x-h264", "", 800, 600, rates},
			{"H264", "video/x-h264", "", 640, 480, rates},
			{"H264", "video/x-h264", "", 640, 360, rates},
			{"H264", "video/x-h264", "", 320, 240, rates},
		},
	}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
	if s := got[0].Modes[1].String(); s != "MJPG 1920x1080 30/s" {
		t.Errorf("%q", s)
	}
	isp := got[1]
	if isp.Path != "/dev/video2" || len(isp.Modes) == 0 || isp.Modes[0].String() != "NM12 4416x3312 60/s" || isp.Modes[0].Format != "NV12" {
		t.Errorf("%+v", isp)
	}
	if tired := got[2]; tired.Path != "/dev/video13" || !strings.Contains(tired.Problem, "list its sizes") {
		t.Errorf("%+v", tired)
	}
	if endless := got[3]; endless.Name != "endless" || len(endless.Modes) != maxModes {
		t.Errorf("%s: %d modes", endless.Name, len(endless.Modes))
	}
	if hdmi := got[4]; hdmi.Problem != "" || len(hdmi.Modes) != 1 || hdmi.Modes[0].String() != "UYVY 1920x1080" {
		t.Errorf("%+v", hdmi)
	}
	if unicam := got[5]; unicam.Problem != mediaCentric || len(unicam.Modes) != 1 {
		t.Errorf("%+v", unicam)
	}
	if locked := got[6]; locked.Path != "/dev/video20" || !strings.Contains(locked.Problem, "group video") {
		t.Errorf("%+v", locked)
	}
}

// Whatever cameras this machine has, asking is no error and is JSON.
func TestCamerasHere(t *testing.T) {
	list, err := Cameras()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", raw)
}
