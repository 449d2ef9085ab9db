package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/go-gst/go-glib/glib"
	"github.com/go-gst/go-gst/gst"

	"github.com/watchpost/watchpost/gst/plan"
)

// pipe is a pipeline and the elements in it that somebody names. Its close is
// what releases it: the finalizers of go-gst's wrappers are taken off.
type pipe struct {
	pipeline *gst.Pipeline
	elements map[string]*gst.Element
	closing  sync.Once
}

// build makes a pipeline from its plan, without starting it. names are the
// elements that will be asked for.
func build(p plan.Pipeline, names ...string) (*pipe, error) {
	pl, err := gst.NewPipelineFromString(p.Launch)
	if err != nil {
		return nil, fmt.Errorf("build pipeline: %w", err)
	}
	b := &pipe{pipeline: pl, elements: map[string]*gst.Element{}}
	for _, prop := range p.Props {
		e, err := b.find(prop.Element)
		if err != nil {
			b.close()
			return nil, err
		}
		if !setProperty(e, prop.Name, prop.Value) && !prop.Optional {
			b.close()
			return nil, fmt.Errorf("element %s has no property %s", prop.Element, prop.Name)
		}
	}
	for _, name := range names {
		if _, err := b.find(name); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

func setProperty(e *gst.Element, name, value string) bool {
	n, v := C.CString(name), C.CString(value)
	defer C.free(unsafe.Pointer(n))
	defer C.free(unsafe.Pointer(v))
	return C.wp_set(e.Unsafe(), n, v) != 0
}

func (b *pipe) find(name string) (*gst.Element, error) {
	if e := b.elements[name]; e != nil {
		return e, nil
	}
	e, err := b.pipeline.GetElementByName(name)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	b.elements[name] = e
	return e, nil
}

// el is the C side of an element that build was told of.
func (b *pipe) el(name string) unsafe.Pointer { return b.elements[name].Unsafe() }

func (b *pipe) self() unsafe.Pointer { return b.pipeline.Unsafe() }

// play starts it. What goes wrong in starting is on the bus, in more detail.
func (b *pipe) play() error { return b.pipeline.SetState(gst.StatePlaying) }

// stop ends all streaming; every call that is blocked in the pipeline returns.
// The elements stay valid until close.
func (b *pipe) stop() { _ = b.pipeline.SetState(gst.StateNull) }

// close stops and releases. Nobody may be inside a call on the pipe.
func (b *pipe) close() {
	b.closing.Do(func() {
		b.stop()
		for _, e := range b.elements {
			release(e.Object.Object)
		}
		release(b.pipeline.Object.Object)
	})
}

func release(o *glib.Object) {
	runtime.SetFinalizer(o, nil)
	o.Unref()
}

// message is what a pipeline had to say.
type message struct {
	kind, domain, code  int
	text, debug, source string
	// picture: what is missing would have read pictures, not sound or the data of
	// another track.
	picture bool
}

// The kinds of messages.
const (
	msgError   = C.WP_ERROR
	msgWarning = C.WP_WARNING
	msgEOS     = C.WP_EOS
	msgMissing = C.WP_MISSING
)

// pop returns the next message that is waiting.
func (b *pipe) pop() (message, bool) {
	var m C.wp_message
	if C.wp_bus_pop(b.self(), &m) == 0 {
		return message{}, false
	}
	defer C.wp_message_clear(&m)
	str := func(s *C.char) string {
		if s == nil {
			return ""
		}
		return C.GoString(s)
	}
	return message{
		kind: int(m._type), domain: int(m.domain), code: int(m.code),
		text: str(m.text), debug: str(m.debug), source: str(m.source),
		picture: m.picture != 0,
	}, true
}

// monotonic is CLOCK_MONOTONIC in nanoseconds, the clock of Captured.
func monotonic() int64 { return int64(C.g_get_monotonic_time()) * 1000 }

// pullStep is how long one wait in C lasts at most, and so how soon a
// cancelled context is seen.
const pullStep = 100 * time.Millisecond

// patch has a source of bytes, which must not play yet, give others at some places.
func (b *pipe) patch(name string, list []patch) {
	for _, p := range list {
		C.wp_src_patch(b.el(name), C.guint64(p.at), unsafe.Pointer(&p.data[0]), C.gsize(len(p.data)))
	}
}
