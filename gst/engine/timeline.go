package engine

/*
#include "shim.h"
*/
import "C"

import (
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// place puts a unit on the run's time line.
func (d *demuxer) place(u *unit) {
	if d.pulled == 0 {
		d.learn(u)
	}
	if u.torn = d.in.Kind == plan.RTSP && d.pulled > 0 && u.c.discont != 0; u.torn {
		d.warn("packets were lost on the way from the camera")
	}
	d.pulled++
	u.captured = monotonic()
	u.keyframe = u.c.keyframe != 0
	u.outside = u.c.outside != 0
	d.seq++
	u.seq = d.seq
	u.pts, u.dts, u.duration = time.Duration(u.c.pts), time.Duration(u.c.dts), time.Duration(u.c.duration)
	if d.in.Kind == plan.RTSP {
		d.date(u, time.Now())
	}
	d.edit(u)
	if u.duration != none && u.duration > 0 && u.duration < 10*time.Second {
		if d.shortest == 0 || u.duration < d.shortest {
			d.shortest = u.duration
		}
		d.longest = max(d.longest, u.duration)
		d.facts.variable = d.facts.variable || d.longest > d.shortest+d.shortest/2
	}
	u.facts = d.facts
	at := u.pts
	if at == none {
		at = u.dts
	}
	if at == none {
		if d.end == none {
			d.begin, d.end = 0, 0
		}
		d.end += d.step(u)
	} else if !u.outside {
		if d.begin == none {
			d.begin, d.end = at, at
		}
		d.begin, d.end = min(d.begin, at), max(d.end, at+d.step(u))
	}
	if u.pts != none {
		u.pts += d.offset
	}
	if u.dts != none {
		u.dts += d.offset
	}
}

// date gives a camera's unit a time if it has none. When a network stood still
// for longer than packets may wait, the jitter buffer puts several pictures of what
// comes then at one time, which the parser leaves to the first of them: the others
// follow it as closely as times can, so that they are in front of what has a time
// again. A camera that sends no times at all gets none here.
func (d *demuxer) date(u *unit, now time.Time) {
	switch {
	case u.pts != none:
		d.dated, d.datedAt = u.pts, now
	case !d.datedAt.IsZero() && now.Sub(d.datedAt) < d.quiet():
		d.dated++
		u.pts = d.dated
	}
}

// step is how long a unit is shown.
func (d *demuxer) step(u *unit) time.Duration {
	if u.duration != none && u.duration > 0 && u.duration < 10*time.Second {
		return u.duration
	}
	return d.facts.frame
}

// learn takes what the first unit of a pass tells of the whole.
func (d *demuxer) learn(u *unit) {
	var w, h, n, den C.int
	C.wp_caps_video(u.c.caps, &w, &h, &n, &den)
	if n > 0 && den > 0 && n/den <= maxFPS {
		d.facts.frame = time.Duration(int64(time.Second) * int64(den) / int64(n))
	}
	var tag [32]C.char
	C.wp_sink_orientation(d.pipe.el("units"), &tag[0], C.gsize(len(tag)))
	if n > 0 && den > 0 && n/den > maxFPS {
		d.facts.variable = true
	}
	d.facts.orientation = plan.Orientation(C.GoString(&tag[0]))
	if d.movie != nil {
		if o, ok := d.movie.orientation(d.src.Track); ok {
			d.facts.orientation = o
		}
		d.spans = d.movie.spans(d.src.Track)
	}
	if !d.facts.orientation.Known() {
		d.warn("unknown orientation " + string(d.facts.orientation))
		d.facts.orientation = ""
	}
	if d.in.Kind == plan.File && d.facts.duration == 0 {
		d.facts.duration = time.Duration(C.wp_duration(d.pipe.self()))
		if d.movie != nil && d.movie.duration() > 0 {
			d.facts.duration = d.movie.duration()
		}
		// A kilobit a second is no video: some files state nonsense.
		if d.size > 0 && d.facts.duration.Seconds() > float64(d.size*8)/1000 || d.facts.duration > 1000*time.Hour {
			d.facts.duration = 0
		}
	}
}

// again starts the next pass where this one ended.
func (d *demuxer) again() error {
	length := d.end - d.begin
	if length <= 0 {
		length = d.facts.frame
	}
	d.offset += length
	d.close()
	return d.open()
}
