// Package engine runs the pipelines that gst/plan writes: it reads sources into
// frames, scales them, and encodes frames into access units or an MP4.
//
// It is the only importer of go-gst, and of GStreamer at all. go-gst builds and
// steers pipelines; what passes through them for every frame goes through the
// C shim beside this file, which hands out memory and takes it back by explicit
// calls. go-gst's own wrappers are released by finalizers, and a small Go object
// that hides megabytes gives the collector no reason to run.
//
// A source is two pipelines: one that opens and takes apart (file, network,
// camera → encoded units), one that decodes (units → frames). Between them the
// units are Go's: that is where a file is paced, where a unit is stamped with
// the time of its arrival, where a decoder that fails is replaced by the next
// without a unit being lost, and where a file is looped.
//
// No C code calls into Go: pads and queries are answered in C, everything else
// is pulled by goroutines that end before the call that started them returns.
package engine

/*
#cgo pkg-config: gstreamer-1.0 gstreamer-app-1.0 gstreamer-video-1.0
#cgo CFLAGS: -O3 -Wall -Wno-unused-function
#include <stdlib.h>
#include "shim.h"
*/
import "C"
