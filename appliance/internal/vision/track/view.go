package track

import (
	"slices"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// minVisible is the least side in pixels of a box that is shown.
const minVisible = 1

// shown is what At needs to know of a track.
type shown struct {
	body
	vision.Track // Box unset
}

// view is a copy of the confirmed tracks for At, so that drawing a frame never
// waits for the association of another.
type view struct {
	tracks []shown // in the order of ids
	w, h   float32
	hold   time.Duration
}

func (o *object) shown() shown {
	return shown{o.body, vision.Track{
		Detection: vision.Detection{Class: o.votes.class(), Label: o.votes.label(), Score: o.score},
		ID:        o.id, Since: o.since, Seen: o.seen,
	}}
}

// publish makes the present state the one that At sees. The caller holds mu.
func (t *Tracker) publish() {
	t.show.Lock()
	defer t.show.Unlock()
	v := &t.view
	v.w, v.h, v.hold = t.w, t.h, t.hold()
	v.tracks = v.tracks[:0]
	for i := range t.objects {
		if o := &t.objects[i]; o.id != 0 {
			v.tracks = append(v.tracks, o.shown())
		}
	}
	slices.SortFunc(v.tracks, func(a, b shown) int { return a.ID - b.ID })
}

// At returns the tracks to show on a frame of time pts, in the order of their
// ids: boxes moved there by the filter's velocity and cut at the frame's edges,
// without the tracks that were not supported for longer than Hold or that were
// not there yet. It may be called from any goroutine.
func (t *Tracker) At(pts time.Duration) []vision.Track { return t.AppendAt(nil, pts) }

// AppendAt is At with the memory of an earlier result: it appends to dst.
func (t *Tracker) AppendAt(dst []vision.Track, pts time.Duration) []vision.Track {
	t.show.Lock()
	defer t.show.Unlock()
	for i := range t.view.tracks {
		s := &t.view.tracks[i]
		if pts-s.Seen > t.view.hold || pts < s.Since || s.Seen-pts > t.view.hold {
			continue
		}
		if tr, ok := t.view.frame(*s, pts); ok {
			dst = append(dst, tr)
		}
	}
	return dst
}

// frame places a track on the frame at pts; false if nothing of it is in sight.
func (v *view) frame(s shown, pts time.Duration) (vision.Track, bool) {
	box := s.boxAfter(pts - s.Seen)
	if v.w > 0 && v.h > 0 {
		box = box.Clip(v.w, v.h)
	}
	s.Box = box
	return s.Track, box.Width() >= minVisible && box.Height() >= minVisible
}
