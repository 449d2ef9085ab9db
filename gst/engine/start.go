package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/go-gst/go-gst/gst"
)

// Options of the process's GStreamer.
type Options struct {
	// Registry is the file that keeps what the plugin scan found; the scan takes
	// seconds, reading the file milliseconds. Empty: GStreamer's default.
	Registry string
	// Log gets what has no other place to go; nil: slog.Default.
	Log *slog.Logger
}

// GStreamer is initialised once for a process, whoever asks: this is the one
// state that the package cannot keep in a value.
var process struct {
	once sync.Once
	log  *slog.Logger
	err  error
}

// Start initialises GStreamer, once; later calls return what the first did. It
// must come before anything else here.
func Start(o Options) error {
	process.once.Do(func() {
		process.log = o.Log
		if o.Registry != "" {
			if err := os.MkdirAll(filepath.Dir(o.Registry), 0o755); err != nil {
				process.err = fmt.Errorf("folder of the GStreamer registry: %w", err)
				return
			}
			if err := os.Setenv("GST_REGISTRY", o.Registry); err != nil {
				process.err = fmt.Errorf("name the GStreamer registry: %w", err)
				return
			}
		}
		gst.Init(nil)
		for _, e := range []string{"parsebin", "appsink", "appsrc", "videoconvert", "filesrc"} {
			if !HasElement(e) {
				process.err = fmt.Errorf("GStreamer has no %s: install gstreamer1.0-plugins-base (and -good, -bad, gstreamer1.0-libav)", e)
				return
			}
		}
	})
	return process.err
}

func logger() *slog.Logger {
	if process.log != nil {
		return process.log
	}
	return slog.Default()
}

// Version is GStreamer's version, as "1.22.0".
func Version() string {
	var major, minor, micro, nano C.guint
	C.gst_version(&major, &minor, &micro, &nano)
	return fmt.Sprintf("%d.%d.%d", major, minor, micro)
}

// HasElement tells whether there is an element factory of that name.
func HasElement(name string) bool {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.wp_factory_exists(c) != 0
}
