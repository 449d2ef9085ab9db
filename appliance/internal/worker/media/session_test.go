package media

import (
	"regexp"
	"testing"
	"time"
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
