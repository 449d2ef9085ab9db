package hw

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Camera is a V4L2 capture device.
type Camera struct {
	// Path is the device node ("/dev/video0"); Stable is a link to it that stays the
	// same over restarts and replugging, where udev made one.
	Path   string `json:"path"`
	Stable string `json:"stable,omitempty"`
	// Name, Driver and Bus are what the driver says of itself.
	Name   string `json:"name"`
	Driver string `json:"driver,omitempty"`
	Bus    string `json:"bus,omitempty"`
	// Modes are what it can deliver, the driver's favourite format first.
	Modes []Mode `json:"modes"`
	// Problem is why a device that is there cannot be used ("permission denied …").
	Problem string `json:"problem,omitempty"`
}

// Mode is one format and size.
type Mode struct {
	// FourCC is V4L2's name of the format ("YUYV"), Media and Format GStreamer's
	// ("video/x-raw" and "YUY2"), both empty where GStreamer has none.
	FourCC string `json:"fourcc"`
	Media  string `json:"media,omitempty"`
	Format string `json:"format,omitempty"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	// FPS are the frame rates at this size, highest first; empty: not told.
	FPS []float64 `json:"fps,omitempty"`
}

// String is for people: "MJPG 1920x1080 30/s".
func (m Mode) String() string {
	s := fmt.Sprintf("%s %dx%d", m.FourCC, m.Width, m.Height)
	if len(m.FPS) > 0 {
		s += " " + strconv.FormatFloat(m.FPS[0], 'g', 4, 64) + "/s"
	}
	return s
}

// Cameras returns the capture devices of this box in the order of their numbers. It
// opens each video node for a moment and starts nothing. A machine without any has
// no error. Nodes that are no cameras (codecs, converters, metadata) are left out.
//
// github.com/pion/mediadevices, which does this too, opens all nodes when it is
// imported, knows neither multi-planar devices (the camera interfaces of most ARM
// boards) nor H.264 and H.265 formats, and does not tell why a device is left out.
func Cameras() ([]Camera, error) {
	paths, err := filepath.Glob("/dev/video*")
	if err != nil {
		return nil, fmt.Errorf("look for cameras: %w", err)
	}
	return cameras(paths, openV4L2), nil
}

// cameras asks each node; open is the kernel's, or a test's.
func cameras(paths []string, open func(path string) (device, error)) []Camera {
	slices.SortFunc(paths, func(a, b string) int { return nodeNumber(a) - nodeNumber(b) })
	var list []Camera
	for _, path := range paths {
		d, err := open(path)
		if err != nil {
			if !gone(err) {
				list = append(list, Camera{Path: path, Name: nodeName(path), Modes: []Mode{}, Problem: openProblem(err)})
			}
			continue
		}
		c, ok, err := describe(d)
		closeErr := d.Close()
		if err == nil {
			err = closeErr
		}
		if !ok && err == nil {
			continue
		}
		c.Path, c.Stable = path, stableName(path)
		if c.Name == "" {
			c.Name = nodeName(path)
		}
		if err != nil {
			c.Problem = oneLine(err.Error())
		}
		list = append(list, c)
	}
	return list
}

func nodeNumber(path string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "video"))
	if err != nil {
		return 1 << 30
	}
	return n
}

// nodeName is the kernel's name of a node, which needs no permission.
func nodeName(path string) string {
	name, _ := os.ReadFile("/sys/class/video4linux/" + filepath.Base(path) + "/name")
	return strings.TrimSpace(string(name))
}

// stableName finds udev's link to a node.
func stableName(path string) string {
	for _, dir := range []string{"/dev/v4l/by-id", "/dev/v4l/by-path"} {
		links, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, l := range links {
			link := filepath.Join(dir, l.Name())
			if to, err := filepath.EvalSymlinks(link); err == nil && to == path {
				return link
			}
		}
	}
	return ""
}

func openProblem(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "permission denied: add the user that runs Watchpost to the group video"
	}
	return oneLine(err.Error())
}

// media is GStreamer's caps for a V4L2 format.
func media(fourcc string) (media, format string) {
	if f, ok := map[string]string{
		"YU12": "I420", "YM12": "I420", "YV12": "YV12", "YM21": "YV12",
		"NV12": "NV12", "NM12": "NV12", "NV21": "NV21", "NM21": "NV21", "NV16": "NV16", "NM16": "NV16", "NV61": "NV61", "NM61": "NV61",
		"YUYV": "YUY2", "UYVY": "UYVY", "YVYU": "YVYU", "VYUY": "VYUY", "422P": "Y42B",
		"RGB3": "RGB", "BGR3": "BGR", "XR24": "BGRx", "BX24": "xRGB", "GREY": "GRAY8", "Y16": "GRAY16_LE",
	}[fourcc]; ok {
		return "video/x-raw", f
	}
	switch fourcc {
	case "MJPG", "JPEG":
		return "image/jpeg", ""
	case "H264", "AVC1":
		return "video/x-h264", ""
	case "HEVC":
		return "video/x-h265", ""
	case "VP80":
		return "video/x-vp8", ""
	case "VP90":
		return "video/x-vp9", ""
	}
	return "", ""
}
