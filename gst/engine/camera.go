package engine

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// modes asks an opened camera what it can do.
func modes(source unsafe.Pointer) []plan.Mode {
	c := C.wp_modes(source)
	defer C.g_free(C.gpointer(unsafe.Pointer(c)))
	return parseModes(C.GoString(c))
}

func parseModes(text string) []plan.Mode {
	var list []plan.Mode
	for line := range strings.Lines(text) {
		var m plan.Mode
		var milli int
		if _, err := fmt.Sscan(line, &m.Media, &m.Format, &m.Width, &m.Height, &milli); err != nil {
			continue
		}
		if m.Format == "-" || m.Media != "video/x-raw" {
			m.Format = ""
		}
		m.FPS = float64(milli) / 1000
		list = append(list, m)
	}
	return list
}

// chooseMode sets a camera to the mode nearest to what was asked for. A camera
// that lists none is left to negotiation.
func chooseMode(p *pipe, src plan.Source) {
	if m, ok := plan.Choose(modes(p.el("src")), src.Width, src.Height, src.FPS); ok {
		setProperty(p.elements["want"], "caps", plan.ModeCaps(m, src.FPS))
	}
}
