package media

import (
	"regexp"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// Every frame of a file gets a document with what was found in it, in order, at its
// time, with the tracks' ids beside the detections' own boxes.
func TestSessionTellsOfEveryFrame(t *testing.T) {
	start := sessionStart(t, "video/face_h264.mp4")
	start.Model = yolox(t)
	s := begin(t, start)
	ledger := s.finish(time.Minute)
	docs, want := s.documents(), times(t, start.Source.URL)
	if len(docs) != len(want) || ledger.Inferred != uint64(len(want)) || ledger.Dropped+ledger.Failed != 0 {
		t.Fatalf("%d documents of %d frames, %+v", len(docs), len(want), ledger)
	}
	people, seen := 0, map[string]bool{}
	for i, d := range docs {
		m := d.Meta
		// Ticks are an eighty-ninth of a microsecond.
		at := time.Duration(m.PTS) * time.Second / videoClock
		if off := at - (want[i] - want[0]); m.Frame != uint64(i+1) || off > 12*time.Microsecond || off < -12*time.Microsecond {
			t.Fatalf("document %d is of frame %d at %v, want %v", i, m.Frame, at, want[i]-want[0])
		}
		if m.Width != 1080 || m.Height != 720 || m.Declared < 23 || m.Declared > 31 || i > 0 && m.Measured <= 0 || len(d.Errors) > 0 {
			t.Fatalf("frame %d: %+v, errors %q", m.Frame, m, d.Errors)
		}
		if len(d.Data) != 2 {
			t.Fatalf("frame %d has %d outputs: those that are no pictures are two", m.Frame, len(d.Data))
		}
		found, tracked := d.predictions(t, "found"), d.predictions(t, "tracked")
		if found.Image.Width != m.Width || found.Image.Height != m.Height {
			t.Errorf("frame %d: predictions of %+v", m.Frame, found.Image)
		}
		own := map[string]prediction{}
		for _, p := range found.Predictions {
			if !uuid4.MatchString(p.Detection) || seen[p.Detection] || p.Tracker != nil {
				t.Fatalf("frame %d: %+v", m.Frame, p)
			}
			seen[p.Detection] = true
			if p.X-p.Width/2 < -1 || p.X+p.Width/2 > float64(m.Width)+1 || p.Y-p.Height/2 < -1 || p.Y+p.Height/2 > float64(m.Height)+1 || p.Confidence < 0.2 || p.Confidence > 1 {
				t.Fatalf("frame %d: %+v", m.Frame, p)
			}
			if p.Class == "person" && p.ClassID == 0 {
				people++
			}
			own[p.Detection] = p
		}
		for _, p := range tracked.Predictions {
			o, ok := own[p.Detection]
			if p.Tracker == nil || *p.Tracker < 1 || ok && (p.X != o.X || p.Width != o.Width || p.Class != o.Class) {
				t.Fatalf("frame %d: tracked %+v, found %+v", m.Frame, p, o)
			}
		}
	}
	if people < len(docs)/2 {
		t.Errorf("a person in %d of %d frames", people, len(docs))
	}
}

// some runs a start for its first frames only.
func some(t *testing.T, start link.Start, frames uint64) []message {
	t.Helper()
	start.Session.Credit.Through = frames
	s := begin(t, start)
	s.until("the first frames", 20*time.Second, func() bool { return uint64(len(s.results)) == frames })
	s.send(link.KindStop, nil)
	s.finish(10 * time.Second)
	return s.documents()
}

// Classes, threshold and overlap are those of the workflow, and each track is new
// once, and seen from then on.
func TestSessionHonoursItsModelsSettings(t *testing.T) {
	const frames = 20
	count := func(change func(*link.Start)) (n int, least float64, docs []message) {
		start := sessionStart(t, "video/bikes_bframes.mp4")
		start.Model = yolox(t)
		start.Session.Outputs = append(start.Session.Outputs, link.Output{Name: "new", Of: link.New}, link.Output{Name: "seen", Of: link.Seen})
		change(&start)
		docs, least = some(t, start, frames), 1
		for _, d := range docs {
			for _, p := range d.predictions(t, "found").Predictions {
				n++
				least = min(least, p.Confidence)
			}
			for _, p := range d.predictions(t, "tracked").Predictions {
				least = min(least, p.Confidence)
			}
		}
		return n, least, docs
	}
	all, _, docs := count(func(s *link.Start) { s.Threshold = 0.2 })
	known := map[int]bool{}
	for _, d := range docs {
		fresh, seen := d.predictions(t, "new").Predictions, d.predictions(t, "seen").Predictions
		if len(fresh)+len(seen) != len(d.predictions(t, "tracked").Predictions) {
			t.Fatalf("frame %d: %d new, %d seen, and %d tracked", d.Meta.Frame, len(fresh), len(seen), len(d.predictions(t, "tracked").Predictions))
		}
		for _, p := range seen {
			if !known[*p.Tracker] {
				t.Errorf("frame %d: track %d was never new", d.Meta.Frame, *p.Tracker)
			}
		}
		for _, p := range fresh {
			if known[*p.Tracker] {
				t.Errorf("frame %d: track %d is new again", d.Meta.Frame, *p.Tracker)
			}
			known[*p.Tracker] = true
		}
	}
	if all == 0 || len(known) == 0 {
		t.Fatalf("%d objects, %d tracks", all, len(known))
	}
	if n, least, _ := count(func(s *link.Start) { s.Threshold = 0.5 }); n == 0 || n >= all || least < 0.5 {
		t.Errorf("%d objects of 0.5 and more, the least %v; %d of 0.2 and more", n, least, all)
	}
	if n, _, _ := count(func(s *link.Start) { s.Threshold, s.Session.IoU = 0.2, 0.95 }); n <= all {
		t.Errorf("%d objects with all their doubles, %d without", n, all)
	}
	_, _, docs = count(func(s *link.Start) { s.Threshold, s.Classes = 0.2, []string{"Person"} })
	for _, d := range docs {
		for _, p := range d.predictions(t, "found").Predictions {
			if p.Class != "person" {
				t.Fatalf("%+v, though persons were asked for", p)
			}
		}
	}
}

// A film whose pictures change their size has documents, pictures and video of each
// size.
func TestSessionOfAFilmThatChangesItsSize(t *testing.T) {
	start := sessionStart(t, "video/res_change.h264")
	start.Session.NoModel, start.Session.Video = true, link.H264
	start.Session.Select = link.Select{Stream: "plain", Data: []string{"plain"}}
	s := begin(t, start)
	s.finish(time.Minute)
	docs := s.documents()
	if len(docs) == 0 || len(docs) != s.count() {
		t.Fatalf("%d documents, %d pictures", len(docs), s.count())
	}
	sizes := map[int]int{}
	for i, d := range docs {
		sizes[d.Meta.Width]++
		if sizes[d.Meta.Width] == 1 && !s.units[i].Keyframe {
			t.Errorf("the first picture of %dx%d is no keyframe", d.Meta.Width, d.Meta.Height)
		}
		if i%20 == 0 {
			if p := d.image(t, "plain").Bounds(); p.Dx() != d.Meta.Width || p.Dy() != d.Meta.Height {
				t.Errorf("frame %d: %v, its picture %v", d.Meta.Frame, d.Meta, p)
			}
		}
	}
	if len(sizes) < 2 {
		t.Errorf("sizes %v", sizes)
	}
}
