package engine

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// modes asks an opened camera what it can do; of a range of sizes it names the one
// nearest to width and height.
func modes(source unsafe.Pointer, width, height int) []plan.Mode {
	c := C.wp_modes(source, C.int(width), C.int(height))
	defer C.g_free(C.gpointer(unsafe.Pointer(c)))
	return parseModes(C.GoString(c))
}

func parseModes(text string) []plan.Mode {
	var list []plan.Mode
	for line := range strings.Lines(text) {
		var m plan.Mode
		var slowest, fastest string
		if _, err := fmt.Sscan(line, &m.Media, &m.Format, &m.Width, &m.Height, &slowest, &fastest); err != nil {
			continue
		}
		if m.Format == "-" || m.Media != "video/x-raw" {
			m.Format = ""
		}
		m.Slowest, m.Fastest = parseRate(slowest), parseRate(fastest)
		list = append(list, m)
	}
	return list
}

// parseRate reads "30/1"; what is no rate is one that is not known.
func parseRate(text string) (r plan.Rate) {
	if _, err := fmt.Sscanf(text, "%d/%d", &r.Num, &r.Den); err != nil {
		return plan.Rate{}
	}
	return r
}

// chooseMode sets a camera to the mode nearest to what was asked for. A camera
// that lists none is left to negotiation.
func chooseMode(p *pipe, src plan.Source) {
	width, height := plan.CaptureSize(src)
	if m, ok := plan.Choose(modes(p.el("src"), width, height), width, height, src.FPS); ok {
		setProperty(p.elements["want"], "caps", plan.ModeCaps(m, src.FPS))
	}
}

// classifyV4L2 makes an Error of what a camera's driver reported, as v4l2src puts it;
// nil where it is as with any source.
func classifyV4L2(path string, m message, text string) *Error {
	_, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return fail(NotFound, "%s: there is no such device (any more): is the camera plugged in?", path)
	case m.code == resourceNotFound && strings.Contains(m.text, "not a capture device"):
		return fail(Unsupported, "%s: is not a camera but another kind of video device", path)
	case m.code == resourceNotFound, m.code == resourceBusy, m.code == resourceNotAuthorized:
		return nil
	case m.code == resourceOpenRead, m.code == resourceOpenReadWrite:
		if strings.Contains(m.debug, "Permission denied") {
			return fail(Refused, "%s: permission denied: add the user that runs Watchpost to the group video", path)
		}
		return nil
	case m.code == resourceSettings:
		// What is said when the buffers or the stream cannot be had, whatever the cause.
		return fail(Unsupported, "%s: the camera does not start (%s): it may need a smaller picture, another USB port, or its media pipeline set up", path, text)
	}
	return fail(Unreachable, "%s: the camera stopped: it may have been unplugged (%s)", path, text)
}
