package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// lacksTrack tells that all tracks are known and the one that is wanted is not
// among them. parsebin shows all tracks of a file at once, and does not always say
// that there are no more: some time without the one that is wanted tells as much.
func (d *demuxer) lacksTrack() bool {
	n := int(C.wp_input_video(d.watch))
	return d.src.Track > 0 && d.pulled == 0 && n > 0 && n <= d.src.Track &&
		(C.wp_input_done(d.watch) != 0 || time.Since(d.last) > time.Second)
}

// tracks lists the video tracks that there are, for people.
func (d *demuxer) tracks() string {
	c := C.wp_input_tracks(d.watch)
	defer C.g_free(C.gpointer(unsafe.Pointer(c)))
	var list []string
	for line := range strings.Lines(C.GoString(c)) {
		var w, h int
		var caps string
		if n, _ := fmt.Sscan(line, &w, &h); n != 2 {
			continue
		}
		if f := strings.SplitN(strings.TrimSpace(line), " ", 3); len(f) == 3 {
			caps = f[2]
		}
		_, human, _ := plan.Codec(caps)
		text := fmt.Sprintf("%d is %s", len(list), human)
		if w > 0 && h > 0 {
			text += fmt.Sprintf(" %dx%d", w, h)
		}
		list = append(list, text)
	}
	switch len(list) {
	case 0:
		return "it has none"
	case 1:
		return "it has one: " + list[0]
	}
	return fmt.Sprintf("it has %d, counted from 0: %s", len(list), strings.Join(list, ", "))
}
