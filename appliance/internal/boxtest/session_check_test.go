package boxtest

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// wellFormed fails the test where documents are not as the protocol has them,
// whatever was asked for.
func wellFormed(t *testing.T, f facts) {
	t.Helper()
	if f.Refused != nil {
		t.Fatalf("the box refuses: %+v", *f.Refused)
	}
	if len(f.Faults) > 0 {
		t.Errorf("what came breaks the protocol: %v", f.Faults)
	}
	if f.AnsweredIn > 20 { // how soon is a measurement's to say
		t.Errorf("the answer took %.1f s", f.AnsweredIn)
	}
	frames := f.frames()
	for i, d := range frames {
		m := d.Metadata
		if m == nil || m.FrameID != d.ID || m.Width <= 0 || m.Height <= 0 || math.Abs(m.TimeBase*90000-1) > 1e-9 {
			t.Fatalf("document %d has the metadata %+v", d.ID, m)
		}
		// Python's isoformat, with an offset and microseconds.
		at, err := time.Parse("2006-01-02T15:04:05.000000-07:00", m.ReceivedAt)
		if err != nil || time.Since(at).Abs() > 10*time.Minute || !strings.HasSuffix(m.ReceivedAt, "+00:00") {
			t.Fatalf("document %d was received at %q: %v", d.ID, m.ReceivedAt, err)
		}
		if i > 0 && (d.ID <= frames[i-1].ID || m.PTS <= frames[i-1].Metadata.PTS) {
			t.Errorf("frame %d at %d comes after frame %d at %d", d.ID, m.PTS, frames[i-1].ID, frames[i-1].Metadata.PTS)
		}
		if d.Errors == nil || d.Reason != nil {
			t.Errorf("document %d has the errors %v and the reason %v", d.ID, d.Errors, d.Reason)
		}
	}
	if len(frames) > 0 && frames[0].ID == 1 && frames[0].Metadata.PTS != 0 {
		t.Errorf("the first frame is at %d", frames[0].Metadata.PTS)
	}
	lastWord(t, f)
}

// lastWord checks that the message that ends a session comes once, and at the end.
func lastWord(t *testing.T, f facts) {
	t.Helper()
	for i, d := range f.Documents {
		if !d.Complete {
			continue
		}
		if i != len(f.Documents)-1 || d.Outputs != nil || d.Metadata != nil || d.ID == 0 {
			t.Errorf("message %d of %d says that processing is complete: %+v", i+1, len(f.Documents), d)
		}
		if frames := f.frames(); len(frames) > 0 && d.ID <= frames[len(frames)-1].ID {
			t.Errorf("the last message is %d, after frame %d", d.ID, frames[len(frames)-1].ID)
		}
	}
}

// everyFrame fails the test unless the documents are those of frames 1, 2, 3 …
func everyFrame(t *testing.T, f facts) {
	t.Helper()
	for i, d := range f.frames() {
		if d.ID != uint32(i+1) {
			t.Fatalf("document %d is of frame %d", i+1, d.ID)
		}
	}
}

// ended fails the test unless the session ended with this reason ("": none), by the
// box, which closed the connection afterwards.
func ended(t *testing.T, f facts, reason string) document {
	t.Helper()
	if f.EndedBy != "complete" {
		t.Fatalf("it ended by %q after %.1f s with %d documents; notices: %s", f.EndedBy, f.EndedAt, len(f.Documents), errorsOf(f.notices()))
	}
	last := f.Documents[len(f.Documents)-1]
	if got := deref(last.Reason); got != reason {
		t.Errorf("the reason is %q (%v), want %q", got, last.Errors, reason)
	}
	if frames := f.frames(); len(frames) > 0 && last.ID != frames[len(frames)-1].ID+1 {
		t.Errorf("the last message has id %d after frame %d", last.ID, frames[len(frames)-1].ID)
	}
	if f.ClosedAt == nil {
		t.Error("the box did not close the connection after its last message")
	} else if *f.ClosedAt < f.EndedAt {
		t.Errorf("the connection was closed at %.2f s, the last message came at %.2f s", *f.ClosedAt, f.EndedAt)
	}
	if len(f.Incomplete) > 0 {
		t.Errorf("documents %v came in part", f.Incomplete)
	}
	return last
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func errorsOf(list []document) string {
	var all []string
	for _, d := range list {
		all = append(all, d.Errors...)
	}
	return strings.Join(all, "; ")
}

// outputsAre fails the test unless every document has just these outputs, and no
// errors.
func outputsAre(t *testing.T, list []document, names ...string) {
	t.Helper()
	slices.Sort(names)
	for _, d := range list {
		var have []string
		for n := range d.Outputs {
			have = append(have, n)
		}
		slices.Sort(have)
		if !slices.Equal(have, names) || len(d.Errors) > 0 {
			t.Fatalf("document %d has the outputs %v and the errors %v, want %v", d.ID, have, d.Errors, names)
		}
	}
}

// paired fails the test unless pictures and documents of the same pts are of the
// same frame, which the block's place tells; at least so many pairs.
func paired(t *testing.T, f facts, least int) {
	t.Helper()
	byPTS := map[int64]document{}
	for _, d := range f.frames() {
		byPTS[d.Metadata.PTS] = d
	}
	pairs, seen, far := 0, 0, 0
	for _, p := range f.Pictures {
		d, ok := byPTS[p.PTS]
		if !ok {
			continue
		}
		pairs++
		if d.Metadata.Width != p.Width || d.Metadata.Height != p.Height {
			t.Fatalf("frame %d is told to be %dx%d, and is %dx%d", d.ID, d.Metadata.Width, d.Metadata.Height, p.Width, p.Height)
		}
		found := d.predictions(t, outFound)
		// At the edges of the picture the block is in part outside.
		if p.Left < p.Width/6 || p.Right > p.Width*5/6 || len(found.Predictions) != 1 {
			continue
		}
		seen++
		box := found.Predictions[0]
		if math.Abs(box.X-float64(p.Left+p.Right)/2) > float64(p.Width)/24 {
			far++
		}
	}
	t.Logf("%d documents, %d pictures, %d pairs; the block is in %d of them, elsewhere in %d", len(f.frames()), len(f.Pictures), pairs, seen, far)
	if pairs < least {
		t.Errorf("%d pictures have a document of their own, want %d: pictures at %v, documents at %v", pairs, least, ptsOf(f.Pictures), keys(byPTS))
	}
	if seen < 3 || far > seen/5 {
		t.Errorf("of %d pairs with a block, %d have it elsewhere than their document says", seen, far)
	}
}

func ptsOf(list []picture) (all []int64) {
	for _, p := range list {
		all = append(all, p.PTS)
	}
	return all
}

func keys(m map[int64]document) (all []int64) {
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// drawn fails the test unless at least so many pictures of the video track have
// something drawn on them; none: no picture has.
func drawn(t *testing.T, list []picture, least int) {
	t.Helper()
	n := 0
	for _, p := range list {
		if p.Coloured > 20 {
			n++
		}
	}
	if n < least || least == 0 && n > 0 {
		t.Errorf("something is drawn on %d of %d pictures, want %d", n, len(list), least)
	}
}

// sees fails the test unless a class was found in at least so many frames, with boxes
// inside the picture.
func finds(t *testing.T, list []document, output, class string, least int) {
	t.Helper()
	n := 0
	for _, d := range list {
		p := d.predictions(t, output)
		if p.Image.Width != d.Metadata.Width || p.Image.Height != d.Metadata.Height {
			t.Fatalf("frame %d: predictions are of %dx%d, the frame is %dx%d", d.ID, p.Image.Width, p.Image.Height, d.Metadata.Width, d.Metadata.Height)
		}
		if slices.ContainsFunc(p.Predictions, func(p prediction) bool { return p.Class == class }) {
			n++
		}
		for _, b := range p.Predictions {
			const slack = 2 // boxes may touch the edge
			if b.X-b.Width/2 < -slack || b.Y-b.Height/2 < -slack || b.X+b.Width/2 > float64(p.Image.Width)+slack || b.Y+b.Height/2 > float64(p.Image.Height)+slack ||
				b.Confidence <= 0 || b.Confidence > 1 || b.ClassID == nil || len(b.DetectionID) != 36 {
				t.Fatalf("frame %d: %+v", d.ID, b)
			}
		}
	}
	if n < least {
		t.Errorf("%s is in %d of %d frames, want %d", class, n, len(list), least)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
