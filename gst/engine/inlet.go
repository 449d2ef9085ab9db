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
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inlet brings the bytes of a pipe into a pipeline, in order, and as slowly as
// they come.
type inlet struct {
	file    *os.File
	src     unsafe.Pointer
	fix     movieFix
	waiting atomic.Bool // for bytes
	broken  atomic.Bool // the pipe failed before its end
	done    chan struct{}
}

// inletChunk is as much as a pipe holds.
const inletChunk = 64 << 10

// newInlet takes the descriptor over: it is closed with the inlet.
func newInlet(fd int) *inlet {
	// Without this a read that waits for bytes could not be ended. What cannot be
	// made so (a file) never waits.
	_ = unix.SetNonblock(fd, true)
	return &inlet{file: os.NewFile(uintptr(fd), "pipe")}
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
	buf := make([]byte, inletChunk)
	for {
		in.waiting.Store(true)
		n, err := in.file.Read(buf)
		in.waiting.Store(false)
		out := in.fix.pass(buf[:n], err != nil)
		if in.fix.late.Load() {
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

// duration is that of the movie, as its header has it; 0: not known.
func (in *inlet) duration() time.Duration { return time.Duration(in.fix.duration.Load()) }
