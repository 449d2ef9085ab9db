package engine

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// show gives a frame its time and passes it on.
func (r *reader) show(p pulled, d *decoder, s stream, known facts) {
	if p.outside {
		p.frame.Release()
		return
	}
	f := p.frame
	f.PTS = r.time(p)
	f.Captured = p.captured
	if f.Captured == 0 {
		f.Captured = monotonic()
	}
	if n := r.dropped.Swap(0); n > 0 {
		r.warnings.add(fmt.Sprintf("decoding does not keep up: %d pictures left out", n))
	}
	r.frames++
	info := r.describe(f, p, d, s, known)
	if !r.told || info != r.info {
		r.told, r.info = true, info
		if r.h.Info != nil {
			r.h.Info(info)
		}
	}
	if r.h.Frame == nil {
		f.Release()
		return
	}
	r.h.Frame(f)
}

// time is the frame's place on the run's time line: later than that of the frame
// before, by whatever the source says. Streams without timestamps, and those whose
// timestamps run backwards, go on at the nominal rate.
func (r *reader) time(p pulled) time.Duration {
	step := time.Second / 30
	if p.fpsN > 0 && p.fpsD > 0 {
		step = max(time.Duration(int64(time.Second)*int64(p.fpsD)/int64(p.fpsN)), nudge)
	}
	t := p.pts
	if t != none {
		t = max(t, 0)
	}
	switch {
	case r.frames == 0 && t == none:
		t = 0
	case r.frames == 0:
	case t == none, t <= r.last-step:
		t = r.last + step
	case t <= r.last:
		// Two that share a time: the second comes right after, so that those
		// behind them can keep theirs.
		t = r.last + max(step/nudges, nudge)
	}
	r.last = t
	return t
}

// Of how a frame is moved that shares its time with the one before: by a small part
// of a frame's duration, and no less than what survives in microseconds.
const (
	nudges = 8
	nudge  = time.Microsecond
)

// maxFPS is the highest nominal rate that is believed.
const maxFPS = 1000

func (r *reader) describe(f *Frame, p pulled, d *decoder, s stream, known facts) Info {
	n, den := s.fpsN, s.fpsD
	if n <= 0 && !s.bare { // libav makes up 25 where nothing is told
		n, den = p.fpsN, p.fpsD
	}
	if n > 0 && den > 0 && n/den > maxFPS && known.frame > 0 {
		// Some files give their clock's rate here.
		n, den = plan.Fraction(float64(time.Second) / float64(known.frame))
	}
	if n <= 0 || den <= 0 {
		n, den = 0, 1
	}
	variable := r.info.VariableRate
	if !r.told {
		variable = n == 0 && s.codec != "jpeg" || known.variable
	}
	return Info{
		Codec: s.human, Width: f.Width, Height: f.Height,
		FPS: float64(n) / float64(den), FPSNum: n, FPSDen: den,
		Rotation: s.orientation.Degrees(), Mirrored: s.orientation.Mirrored(), Decoder: d.element, Container: containerOf(r.in, r.src),
		Duration: known.duration, Live: r.in.Live, VariableRate: variable,
	}
}

func containerOf(in plan.Input, src plan.Source) string {
	if in.Kind != plan.File {
		return in.Kind
	}
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(plan.FilePath(src.URL)), "."))
}

// warnings passes on each text at once, and its repeats counted, at most once a
// second.
type warnings struct {
	emit func(string)

	mu      sync.Mutex // also keeps emit to one call at a time
	since   map[string]time.Time
	repeats map[string]int
}

// kinds bounds how many different texts are told apart.
const kinds = 64

func (w *warnings) add(text string) {
	if w.emit == nil || text == "" {
		return
	}
	w.mu.Lock()
	now := time.Now()
	if w.since == nil {
		w.since, w.repeats = map[string]time.Time{}, map[string]int{}
	}
	at, known := w.since[text]
	if !known && len(w.since) >= kinds {
		w.mu.Unlock()
		return
	}
	if known && now.Sub(at) < time.Second {
		w.repeats[text]++
		w.mu.Unlock()
		return
	}
	n := w.repeats[text]
	delete(w.repeats, text)
	w.since[text] = now
	w.mu.Unlock()
	w.emit(times(text, n))
}

// flush tells the repeats that were not told yet.
func (w *warnings) flush() {
	w.mu.Lock()
	rest := w.repeats
	w.repeats = nil
	w.mu.Unlock()
	for text, n := range rest {
		w.emit(times(text, n))
	}
}

func times(text string, n int) string {
	if n == 0 {
		return text
	}
	return fmt.Sprintf("%s (%d times more)", text, n)
}
