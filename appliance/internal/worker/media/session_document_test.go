package media

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// momentOf is a frame's, for documents of outputs.
func momentOf(s *sessionRun, found ...finding) *moment {
	return &moment{
		frame: &engine.Frame{Width: 640, Height: 360, Captured: monotonic()}, at: stamp{id: 7, ticks: 21000},
		found: found, declared: 29.97, measured: 12.3456, choice: s.chosen.Load(),
	}
}

func sessionOf(ask link.Session) *sessionRun {
	w := &worker{start: link.Start{Mode: "session", Source: link.Source{URL: "film.mp4"}, Session: &ask}}
	return newSession(w)
}

// Whatever an output and a class are called, and whatever went wrong, the document is
// JSON that says so.
func TestDocumentsOfOddNames(t *testing.T) {
	names := []string{`quo"te\`, "line\nbreak\x00", "日本語", "\xff\xfe", "</script>"}
	ask := link.Session{Select: link.Select{All: true}}
	for _, n := range names {
		ask.Outputs = append(ask.Outputs, link.Output{Name: n, Of: link.Detected})
	}
	s := sessionOf(ask)
	d := newDocument(ask.Outputs)
	for _, label := range names {
		m := momentOf(s, finding{Detection: vision.Detection{Box: vision.Box{X0: 1, Y0: 2, X1: 4, Y1: 8}, Class: 3, Label: label, Score: 0.5}, detected: true, id: [36]byte(bytes.Repeat([]byte{'a'}, 36))})
		m.failed("odd: %s", label)
		d.begin(m)
		for i := range ask.Outputs {
			if err := d.predictions(i, link.Detected, m); err != nil {
				t.Fatal(err)
			}
		}
		doc := read1[message](t, d.end(m))
		if len(doc.Data) != len(names) || len(doc.Errors) != 1 || doc.Meta.PTS != 21000 || doc.Meta.Declared != 29.97 || doc.Meta.Measured != 12.346 {
			t.Fatalf("%+v", doc)
		}
		for _, n := range names {
			p := doc.predictions(t, strings.ToValidUTF8(strings.ReplaceAll(n, "\xff\xfe", "\ufffd\ufffd"), "\ufffd"))
			want := prediction{X: 2.5, Y: 5, Width: 3, Height: 6, Confidence: 0.5, Class: strings.ReplaceAll(label, "\xff\xfe", "\ufffd\ufffd"), ClassID: 3, Detection: p.Predictions[0].Detection}
			if len(p.Predictions) != 1 || p.Predictions[0] != want {
				t.Fatalf("%+v, want %+v", p.Predictions, want)
			}
		}
	}
}

// What JSON cannot hold becomes a word of it, and the other outputs are there.
func TestOutputsThatCannotBeSerialized(t *testing.T) {
	ask := link.Session{Select: link.Select{Data: []string{"found", "tracked", "plain"}}, Outputs: []link.Output{outFound, outTracked, outPlain}}
	s := sessionOf(ask)
	w := newWordSide(s, nil)
	s.w.log = slog.New(slog.DiscardHandler)
	nan := float32(math.NaN())
	m := momentOf(s, finding{Detection: vision.Detection{Box: vision.Box{X0: nan, Y1: 3}, Score: 0.5}, detected: true})
	w.doc.begin(m)
	for i, o := range ask.Outputs[:2] {
		if err := w.doc.predictions(i, o.Of, m); err != nil {
			w.unsaid(m, i, err)
		}
	}
	if err := w.doc.image(2, bytes.Repeat([]byte{1}, maxDocument*3/4)); err == nil {
		t.Fatal("a document of any size was written")
	} else {
		w.unsaid(m, 2, err)
	}
	doc := read1[message](t, w.doc.end(m))
	if n := len(doc.predictions(t, "tracked").Predictions); n != 0 || len(doc.Data) != 3 || len(doc.Errors) != 2 {
		t.Fatalf("%s, errors %q", doc.Data, doc.Errors)
	}
	for _, name := range []string{"found", "plain"} {
		var v map[string]string
		if err := json.Unmarshal(doc.Data[name], &v); err != nil || v["__serialization_error__"] == "" || len(v) != 1 {
			t.Errorf("%s is %s", name, doc.Data[name])
		}
	}
}

// Two frames never share a tick, time is kept to the tick over hours, and whoever
// counts ticks of the time on the link gets those of the document.
func TestSessionClock(t *testing.T) {
	var c sessionClock
	rng := rand.New(rand.NewPCG(1, 2))
	at := 5 * time.Hour
	first, last := at, stamp{}
	for n := range 200000 {
		s := c.next(at)
		if s.id != uint64(n+1) || n > 0 && s.ticks <= last.ticks || n == 0 && s.ticks != 0 {
			t.Fatalf("%+v after %+v", s, last)
		}
		cut, rounded := stampOf(s.time()), uint64(math.Round(s.time().Seconds()*videoClock))
		if cut != s.ticks || rounded != s.ticks {
			t.Fatalf("%+v is %v, from which one gets %d or %d", s, s.time(), cut, rounded)
		}
		exact := float64(at-first) / 1e9 * videoClock
		if off := float64(s.ticks) - exact; (off > 1 || off < -1) && s.ticks != last.ticks+1 {
			t.Fatalf("frame %d at %v is tick %d, want %.1f", n, at-first, s.ticks, exact)
		}
		last = s
		at += time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
	}
}

func TestPaceIsThatOfTheLastSeconds(t *testing.T) {
	var p pace
	now := time.Now()
	if got := p.frame(now); got != 0 {
		t.Errorf("the first frame: %v", got)
	}
	feed := func(fps float64, n int) (got float64) {
		for range n {
			now = now.Add(time.Duration(float64(time.Second) / fps))
			got = p.frame(now)
		}
		return got
	}
	for _, fps := range []float64{25, 100, 5, 0.25, 60} {
		if got := feed(fps, 200); got < fps*0.99 || got > fps*1.01 {
			t.Errorf("%v frames a second are taken for %v", fps, got)
		}
	}
}

// What a client's tracker is told becomes the box's tracker's own settings.
func TestSightFollowsWithTheClientsTracker(t *testing.T) {
	see := func(ask *link.Tracker, frames int, score func(int) float32, step float32) (first int, ids map[int]bool) {
		t.Helper()
		g := &sight{analysis: &analysis{}}
		if err := g.follow(ask, 0.4, 0.2); err != nil {
			t.Fatal(err)
		}
		ids = map[int]bool{}
		for n := range frames {
			at := time.Duration(n) * time.Second / 30
			var dets []vision.Detection
			if s := score(n); s > 0 {
				x := float32(n) * step
				dets = append(dets, vision.Detection{Box: vision.Box{X0: x, Y0: 0, X1: x + 100, Y1: 100}, Label: "a", Score: s})
			}
			for _, m := range g.tracker.Follow(at, dets) {
				if m.Found != dets[0] {
					t.Fatalf("frame %d: a track of %+v, found was %+v", n, m.Found, dets[0])
				}
				if len(ids) == 0 {
					first = n
				}
				ids[m.ID] = true
			}
		}
		return first, ids
	}
	late := func(n int) float32 { // nothing in the first frame, where tracks begin at once
		if n == 0 {
			return 0
		}
		return 0.5
	}
	if first, _ := see(&link.Tracker{FirstFrames: 5}, 20, late, 0); first != 5 {
		t.Errorf("with 5 frames to begin it began at frame %d", first)
	}
	if _, ids := see(&link.Tracker{Activation: 0.7}, 20, late, 0); len(ids) != 0 {
		t.Errorf("a score of 0.5 began tracks that take 0.7: %v", ids)
	}
	gap := func(n int) float32 {
		if n > 20 && n < 65 { // 1.5 s
			return 0
		}
		return 0.5
	}
	if _, ids := see(&link.Tracker{LostFrames: 90}, 100, gap, 0); len(ids) != 1 {
		t.Errorf("a track that may be lost for 3 s became %v after 1.5 s", ids)
	}
	if _, ids := see(&link.Tracker{LostFrames: 30}, 100, gap, 0); len(ids) != 2 {
		t.Errorf("a track that may be lost for 1 s is %v after 1.5 s", ids)
	}
	if _, ids := see(&link.Tracker{}, 10, late, 25); len(ids) != 1 {
		t.Errorf("a thing that moves by a quarter of its size is %v", ids)
	}
	if _, ids := see(&link.Tracker{Matching: 0.05}, 10, late, 25); len(ids) != 0 {
		t.Errorf("boxes with less in common than asked for are tracks %v", ids)
	}
}

// A document whose pictures leave no room for what comes behind them goes without
// outputs: the link would refuse it, and the session end.
func TestDocumentThatIsTooLarge(t *testing.T) {
	ask := link.Session{Select: link.Select{Data: []string{"plain", "found"}}, Outputs: []link.Output{outPlain, outFound}}
	s := sessionOf(ask)
	d := newDocument(ask.Outputs)
	var found []finding
	for range 100 {
		found = append(found, finding{Detection: vision.Detection{Label: "car", Score: 0.5}, detected: true, id: [36]byte(bytes.Repeat([]byte{'a'}, 36))})
	}
	m := momentOf(s, found...)
	d.begin(m)
	if err := d.image(0, make([]byte, (maxDocument-1000)/4*3)); err != nil {
		t.Fatal(err)
	}
	if err := d.predictions(1, link.Detected, m); err != nil {
		t.Fatal(err)
	}
	text := d.whole(m)
	doc := read1[message](t, text)
	if len(text) > maxDocument || doc.Data != nil || len(doc.Errors) != 1 || !strings.Contains(doc.Errors[0], "left out") || doc.Meta.PTS != 21000 {
		t.Errorf("%d bytes: %.300s", len(text), text)
	}
}
