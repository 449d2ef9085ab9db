package media

import (
	"context"
	"fmt"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// showAll lets frames pass as far as there is credit, decides what is made of each,
// and sends the video.
func (s *sessionRun) showAll(ctx context.Context) {
	defer close(s.shown.jobs)
	defer func() {
		if err := s.w.out.close(); err != nil {
			s.w.log.Warn("an encoder did not end well", "error", err)
		}
	}()
	for m := range s.looked.jobs {
		if ctx.Err() != nil || !s.ask.Realtime && !s.credit.wait(ctx, m.at.id) {
			m.release()
			continue
		}
		m.choice = s.chosen.Load()
		m.declared, m.measured = s.declaredFPS(), s.pace.frame(time.Now())
		m.frame.PTS = m.at.time()
		s.video.show(m)
		// Video goes on where nobody takes documents, and documents end where the
		// peer of a realtime session does not keep up.
		if m.choice.documents && (!s.ask.Realtime || s.credit.covers(m.at.id)) {
			if out := s.shown.put(ctx, m); out != nil {
				out.release()
			}
			continue
		}
		m.release()
	}
}

// videoSide makes the picture that goes out as video.
type videoSide struct {
	s       *sessionRun
	artist  *draw.Artist
	marks   []draw.Mark
	wanted  link.Want
	reports repeats
}

// show sends a moment's picture, if one was chosen.
func (v *videoSide) show(m *moment) {
	s := v.s
	want := link.Want{}
	if m.choice.stream >= 0 {
		want = link.Want{H264: s.ask.Video == link.H264, VP8: s.ask.Video == link.VP8}
	}
	if want != v.wanted {
		v.wanted = want
		s.w.out.want(want)
		s.w.out.idle()
	}
	if m.choice.stream < 0 {
		return
	}
	err := v.push(m)
	if err == nil {
		s.w.ledger.pictureSent()
		return
	}
	s.w.ledger.pictureLate()
	m.failed("The video has no picture of this frame: %v", err)
	if n, ok := v.reports.due(time.Now()); ok {
		s.w.log.Warn("a picture was not sent", "frame", m.at.id, "error", err, "times", n)
	}
}

func (v *videoSide) push(m *moment) error {
	s := v.s
	shared := m.choice.documents && m.choice.pictures >= 0
	pic, err := paint(v.artist, &v.marks, m, s.looks[m.choice.stream], !shared)
	if err != nil {
		return err
	}
	if shared && s.alsoData(m.choice) {
		pic.Retain()
		m.sent = pic
	}
	form := shape{width: pic.Width, height: pic.Height, fps: m.fps}
	if s.ask.Realtime {
		return s.w.out.push(pic, form)
	}
	// An encoder that gives up is replaced at once: every frame counts here.
	pic.Retain()
	if err = s.w.out.push(pic, form); err != nil {
		return s.w.out.push(pic, form)
	}
	pic.Release()
	return nil
}

// alsoData tells whether the video's output is in the documents, too.
func (s *sessionRun) alsoData(c *choice) bool {
	for _, i := range c.data {
		if i == c.stream {
			return true
		}
	}
	return false
}

// paint draws a moment's picture as l says. The result is the caller's to release,
// and may be the moment's own frame, retained. last: nobody else will want that
// frame as it came, so that it may be drawn on.
func paint(artist *draw.Artist, marks *[]draw.Mark, m *moment, l look, last bool) (*engine.Frame, error) {
	f := m.frame
	if !l.changes(m) {
		f.Retain()
		return f, nil
	}
	if last {
		if err := f.Writable(); err != nil {
			last = false
		}
	}
	if last {
		f.Retain()
	} else {
		var err error
		if f, err = f.Copy(); err != nil {
			return nil, fmt.Errorf("draw on a frame: %w", err)
		}
	}
	pic := picture(f)
	for _, a := range l {
		*marks = a.marks((*marks)[:0], m)
		if a.labels {
			artist.Labels(&pic, *marks, a.label)
		} else {
			artist.Boxes(&pic, *marks, a.boxes)
		}
	}
	artist.Message(&pic, m.blind)
	return f, nil
}

// marks appends what a layer is drawn of.
func (a *layer) marks(dst []draw.Mark, m *moment) []draw.Mark {
	for i := range m.found {
		f := &m.found[i]
		if !f.in(a.of) {
			continue
		}
		k := draw.Mark{Box: f.Box, Class: f.Class, Label: f.Label, Score: f.Score, Index: len(dst)}
		if a.of != link.Detected {
			k.Track = f.track
		}
		dst = append(dst, k)
	}
	return dst
}
