package engine

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/gst/container"
	"github.com/watchpost/watchpost/gst/plan"
)

// inlet brings the bytes of a pipe into a pipeline, in order, and as slowly as
// they come.
type inlet struct {
	file    *os.File
	src     unsafe.Pointer
	movie   *movie
	waiting atomic.Bool // for bytes
	broken  atomic.Bool // the pipe failed before its end
	done    chan struct{}
}

// Bytes go on in pieces that grow with what there was before: GStreamer's AVI
// demuxer looks at what it has once for each piece that it is given, headers first,
// and at its end not at all. inletMost is as much as a pipe holds.
const (
	inletLeast = 512
	inletMost  = 64 << 10
)

// newInlet takes the descriptor over: it is closed with the inlet.
func newInlet(fd int) *inlet {
	// Without this a read that waits for bytes could not be ended. What cannot be
	// made so (a file) never waits.
	_ = unix.SetNonblock(fd, true)
	return &inlet{file: os.NewFile(uintptr(fd), "pipe"), movie: &movie{}}
}

// start feeds the source element of a pipeline, from a goroutine that ends with
// close.
func (in *inlet) start(src unsafe.Pointer) {
	in.src, in.done = src, make(chan struct{})
	C.wp_src_untimed(src)
	go func() {
		defer close(in.done)
		in.pump()
	}()
}

func (in *inlet) pump() {
	buf := make([]byte, inletMost)
	for total := 0; ; {
		in.waiting.Store(true)
		n, err := in.file.Read(buf[:min(max(inletLeast, total/8), inletMost)])
		in.waiting.Store(false)
		total = min(total+n, 8*inletMost)
		out := in.movie.pass(buf[:n], err != nil)
		if in.movie.isLate() {
			C.wp_src_eos(in.src)
			return
		}
		if len(out) > 0 &&
			C.wp_push_bytes(in.src, unsafe.Pointer(&out[0]), C.gsize(len(out))) != 0 {
			return // the pipeline stopped
		}
		if err != nil {
			in.broken.Store(!errors.Is(err, io.EOF))
			C.wp_src_eos(in.src)
			return
		}
	}
}

// close ends the feeding; the pipeline must have been stopped. It may be called
// again.
func (in *inlet) close() {
	in.file.Close()
	if in.done != nil {
		<-in.done
	}
}

// look learns of a file on disk what GStreamer will not tell, and has it read as a
// stream where GStreamer's demuxers, when they can seek, give less of it.
func (d *demuxer) look() error {
	if d.in.Kind != plan.File {
		return nil
	}
	if d.inlet != nil {
		d.movie = d.inlet.movie
		return nil
	}
	f, err := os.Open(plan.FilePath(d.src.URL))
	if err != nil {
		return fail(NotFound, "%s: cannot be opened", d.name)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return f.Close()
	}
	d.movie = scanMovie(f)
	layout, err := container.Sniff(f, d.size, d.size)
	if err != nil || !layout.Forward || d.loop {
		return f.Close()
	}
	d.inlet, d.in = &inlet{file: f, movie: &movie{}}, plan.OpenStream(d.src)
	return nil
}
