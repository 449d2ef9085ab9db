package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/watchpost/watchpost/gst/plan"
)

// none is the time that is not known.
const none = time.Duration(C.WP_NONE)

// unit is one encoded access unit (or raw frame) on its way to the decoder. It
// is owned by whoever holds it and must be freed.
type unit struct {
	c        C.wp_unit
	pts, dts time.Duration // on the run's time line, or none
	duration time.Duration // or none
	seq      uint64
	captured int64 // when it reached the box
	keyframe bool
	outside  bool // decoded for the others' sake, never shown
	torn     bool // packets of it, or of those before it, were lost
	facts    facts
}

// facts is what is known of the source when a unit leaves it.
type facts struct {
	orientation plan.Orientation
	frame       time.Duration // one frame at the nominal rate
	duration    time.Duration // of the file, 0: unknown
	variable    bool          // units seen so far last differently long
}

func (u *unit) free() { C.wp_unit_clear(&u.c) }

// demuxer opens a source and hands out its units in order.
type demuxer struct {
	in    plan.Input
	src   plan.Source
	name  string // of the source, as plan.Name has it
	loop  bool
	size  int64  // of the file, 0: unknown
	movie *movie // what its index says, nil: nothing is known
	spans []span // what its edits show, nil: all of it
	inlet *inlet // where its bytes come from, nil: the file itself
	warn  func(string)

	pipe    *pipe
	watch   *C.wp_input
	seq     uint64
	pulled  int       // units of this pass
	stopped time.Time // since when the demuxer was seen to have stopped; zero: it works
	last    time.Time
	facts   facts

	// The time line: a pass over a file starts where the one before ended.
	offset, begin, end time.Duration
	dated              time.Duration // PTS of the last unit of a camera that had one, or was given one
	datedAt            time.Time     // when a unit of it came that had one

	shortest, longest time.Duration // of a unit
}

func newDemuxer(in plan.Input, bytes *inlet, src plan.Source, name string, warn func(string)) (*demuxer, error) {
	d := &demuxer{in: in, inlet: bytes, src: src, name: name, loop: src.Loop && src.Live && in.Kind == plan.File, warn: warn, facts: facts{frame: time.Second / 30}}
	switch in.Kind {
	case plan.File:
		if bytes != nil {
			d.loop, d.size = false, src.Size
			return d, nil
		}
		path := plan.FilePath(src.URL)
		st, err := os.Stat(path)
		switch {
		case os.IsNotExist(err):
			return nil, fail(NotFound, "%s: there is no such file", name)
		case os.IsPermission(err):
			return nil, fail(NotFound, "%s: may not be read by this user", name)
		case err != nil:
			return nil, fail(NotFound, "%s: cannot be opened", name)
		case st.IsDir():
			return nil, fail(NotFound, "%s: is a folder, not a video", name)
		case st.Mode().IsRegular() && st.Size() == 0:
			return nil, fail(Damaged, "%s: is empty", name)
		}
		d.size = st.Size()
	case plan.V4L2:
		if _, err := os.Stat(src.URL); err != nil {
			return nil, fail(NotFound, "%s: there is no such device", name)
		}
	}
	return d, nil
}

// open starts a pass over the source.
func (d *demuxer) open() error {
	names := []string{"units"}
	for _, n := range []string{d.in.Parse, d.in.Net} {
		if n != "" {
			names = append(names, n)
		}
	}
	if d.in.Kind == plan.V4L2 {
		names = append(names, "src", "want")
	}
	patches := d.inlet == nil && d.movie != nil && len(d.movie.patches) > 0
	if d.inlet != nil || patches {
		names = append(names, "src")
	}
	p, err := build(d.in.Pipeline, names...)
	if err != nil {
		return fail(Internal, "%s: %s", d.name, err)
	}
	var net, parse unsafe.Pointer
	if d.in.Net != "" {
		net = p.el(d.in.Net)
	}
	if d.in.Parse != "" {
		parse = p.el(d.in.Parse)
	}
	d.pipe = p
	d.watch = C.wp_input_watch(p.self(), net, parse, p.el("units"), C.int(d.src.Track))
	d.pulled, d.last, d.stopped = 0, time.Now(), time.Time{}
	d.begin, d.end = none, none
	if d.in.Kind == plan.V4L2 {
		chooseMode(p, d.src)
	}
	if patches {
		d.pipe.patch("src", d.movie.patches)
	}
	// A failure to start is told, with its reason, by the bus.
	_ = p.play()
	if d.inlet != nil {
		d.inlet.start(p.el("src"))
	}
	return nil
}

// close ends the pass. Nobody may be in next.
func (d *demuxer) close() {
	if d.pipe == nil {
		return
	}
	if d.inlet != nil {
		d.pipe.stop()
		d.inlet.close()
	}
	d.pipe.close()
	C.wp_input_unref(d.watch)
	d.pipe, d.watch = nil, nil
}

// quiet is how long a source may say nothing before it counts as dead.
func (d *demuxer) quiet() time.Duration {
	if d.in.Kind == plan.File {
		return 20 * time.Second
	}
	return 10 * time.Second
}

// next returns the next unit, or nil at the end of the source.
func (d *demuxer) next(ctx context.Context) (*unit, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		u := &unit{}
		switch C.wp_pull_unit(d.pipe.el("units"), C.guint64(pullStep), &u.c) {
		case 1:
			d.last = time.Now()
			d.place(u)
			return u, nil
		case -1:
			return nil, d.ended()
		}
		err := d.complaints()
		if errors.Is(err, errTransport) {
			if err := d.overUDP(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := d.stuck(); err != nil {
			return nil, err
		}
	}
}

// ended says what an end of stream means.
func (d *demuxer) ended() error {
	if err := d.complaints(); err != nil {
		return err
	}
	if d.in.Kind != plan.File {
		return fail(Unreachable, "%s: the camera closed the connection", d.name)
	}
	if d.pulled == 0 {
		return d.nothing()
	}
	return nil
}

func (d *demuxer) nothing() error {
	if d.inlet != nil && d.inlet.movie.isLate() {
		return fail(Unsupported, "%s: has its index at the end: it cannot be read before all of it is there", d.name)
	}
	if d.lacksTrack() {
		return fail(NoVideo, "%s: has no video track %d; %s", d.name, d.src.Track, d.tracks())
	}
	if d.in.Parse != "" && C.wp_input_video(d.watch) == 0 && C.wp_input_other(d.watch) > 0 {
		return fail(NoVideo, "%s: there is no video in it", d.name)
	}
	return fail(Damaged, "%s: is damaged: there is no picture in it", d.name)
}

// complaints reads the bus. What ends a source that already gave units is told
// as a warning for a file: what was read stays read.
func (d *demuxer) complaints() error {
	for {
		m, ok := d.pipe.pop()
		if !ok {
			return nil
		}
		if d.in.Kind == plan.File {
			// GStreamer quotes the whole path.
			m.text = strings.ReplaceAll(m.text, plan.FilePath(d.src.URL), d.name)
		}
		switch m.kind {
		case msgError:
			if d.inlet != nil && d.inlet.movie.isLate() {
				return d.nothing()
			}
			if d.refusesTransport(m) {
				return errTransport
			}
			err := classify(d.in, d.name, m)
			if d.pulled > 0 && d.in.Kind == plan.RTSP && err.Kind != Refused {
				return fail(Unreachable, "%s: the camera closed the connection", d.name)
			}
			if C.wp_input_video(d.watch) == 0 && C.wp_input_other(d.watch) > 0 && d.pulled == 0 && d.in.Kind == plan.File {
				return fail(NoVideo, "%s: there is no video in it", d.name)
			}
			return err
		case msgMissing:
			if m.picture {
				d.warn(m.text + " is missing")
			}
		case msgWarning:
			d.warn(m.text)
		case msgEOS:
			// No sink of the video's: every pad there is has ended.
			if d.pulled == 0 {
				return d.nothing()
			}
		}
	}
}

// errTransport: the camera does not send over TCP, and UDP was not tried yet.
var errTransport = errors.New("the camera refuses the transport")

// refusesTransport tells of an error that a camera with video gave it over
// another transport than was asked for, while there is another to ask for.
func (d *demuxer) refusesTransport(m message) bool {
	return d.in.Kind == plan.RTSP && d.src.Transport == "" && d.pulled == 0 &&
		m.domain == domainStream && m.code == streamCodecNotFound && C.wp_input_selected(d.watch) > 0
}

// overUDP opens the camera again, over UDP.
func (d *demuxer) overUDP() error {
	d.src.Transport = "udp"
	in, err := plan.Open(d.src)
	if err != nil {
		return fail(Unsupported, "%s", err)
	}
	d.warn("the camera refuses TCP: over UDP now")
	d.close()
	d.in = in
	return d.open()
}

// stuck notices a source that has no video, or does nothing.
func (d *demuxer) stuck() error {
	if d.pulled == 0 && d.in.Parse != "" {
		if C.wp_input_done(d.watch) != 0 && C.wp_input_video(d.watch) == 0 || d.lacksTrack() {
			return d.nothing()
		}
		if d.in.Net != "" && C.wp_input_streams(d.watch) > 0 && C.wp_input_selected(d.watch) == 0 && time.Since(d.last) > time.Second {
			return fail(NoVideo, "%s: the camera offers no video", d.name)
		}
	}
	if d.gaveUp() {
		return d.nothing()
	}
	if d.inlet != nil && d.inlet.waiting.Load() {
		// Whoever feeds the pipe is waited for, not the demuxer.
		d.last = time.Now()
		return nil
	}
	quiet := d.quiet()
	if time.Since(d.last) < quiet {
		return nil
	}
	if d.in.Kind == plan.File {
		return fail(Damaged, "%s: is damaged: reading it makes no progress", d.name)
	}
	return fail(Unreachable, "%s: the camera has sent no picture for %d s", d.name, int(d.quiet().Seconds()))
}

// gaveUp tells, when asked twice, of a file that was read to its end, or to where
// its demuxer stopped, without a picture's track in it. parsebin drops the error of
// an element that it is just plugging in, and of a file with nothing but sound it
// never says that there are no more tracks to come; the pipeline does not end
// either, as the units' sink gets nothing that could end.
func (d *demuxer) gaveUp() bool {
	if d.in.Kind != plan.File || d.pulled > 0 || C.wp_input_video(d.watch) > 0 && !d.lacksTrack() {
		return false
	}
	// Files with many tracks may tell of the video's late: only the end counts.
	if C.wp_gave_up(d.pipe.self()) == 0 && C.wp_input_ended(d.watch) == 0 {
		d.stopped = time.Time{}
		return false
	}
	if d.stopped.IsZero() {
		d.stopped = time.Now()
		return false
	}
	// The one who finds out a file's type stops too, before the demuxer is plugged in,
	// and on a busy machine that takes its time.
	return C.wp_input_other(d.watch) > 0 || time.Since(d.stopped) > pluggingTime
}

// pluggingTime is more than it takes to plug in a demuxer.
const pluggingTime = 4 * time.Second
