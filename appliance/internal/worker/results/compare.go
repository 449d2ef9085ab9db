package results

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Difference is one thing in which two analyses of a file differ.
type Difference struct {
	Frame uint64 // 0: it is not of one frame
	Field string // "objects[2].x1", "ledger.decoded"
	Was   string
	Is    string
}

func (d Difference) String() string {
	if d.Frame == 0 {
		return fmt.Sprintf("%s was %s and is %s", d.Field, d.Was, d.Is)
	}
	return fmt.Sprintf("frame %d: %s was %s and is %s", d.Frame, d.Field, d.Was, d.Is)
}

// scoreTolerance is how far scores may lie apart where boxes may.
const scoreTolerance = 0.1

// CompareLogs reads two logs side by side up to the first difference; nil: there is
// none. With a tolerance, in pixels, each box of a frame needs a box of the same
// class in the other, no edge of which lies farther from its own than that, and whose
// score is within a tenth; the order and the ids of tracks are passed over then.
func CompareLogs(was, is io.Reader, tolerance float64) (lines uint64, d *Difference, err error) {
	a, b := newCursor(was), newCursor(is)
	for {
		la, errA := a.next()
		lb, errB := b.next()
		if errA != nil || errB != nil {
			return lines, nil, cmp.Or(errA, errB)
		}
		switch {
		case la == nil && lb == nil:
			return lines, nil, nil
		case la == nil:
			return lines, &Difference{lb.Frame, "this line", "missing", "there"}, nil
		case lb == nil:
			return lines, &Difference{la.Frame, "this line", "there", "missing"}, nil
		}
		lines++
		if d := compareLines(*la, *lb, tolerance); d != nil {
			return lines, d, nil
		}
	}
}

func compareLines(a, b Line, tolerance float64) *Difference {
	differ := func(field string, was, is any) *Difference {
		return &Difference{Frame: a.Frame, Field: field, Was: fmt.Sprint(was), Is: fmt.Sprint(is)}
	}
	late := 0.0
	if tolerance > 0 {
		late = 0.002 // demuxers round differently
	}
	switch {
	case a.Frame != b.Frame:
		return differ("frame", a.Frame, b.Frame)
	case math.Abs(a.Seconds-b.Seconds) > late:
		return differ("seconds", a.Seconds, b.Seconds)
	case a.Width != b.Width:
		return differ("width", a.Width, b.Width)
	case a.Height != b.Height:
		return differ("height", a.Height, b.Height)
	case len(a.Objects) != len(b.Objects):
		return differ("the number of objects", len(a.Objects), len(b.Objects))
	}
	if tolerance > 0 {
		return pair(a, b, tolerance)
	}
	for i := range a.Objects {
		if field, was, is := compareObjects(a.Objects[i], b.Objects[i]); field != "" {
			return differ(fmt.Sprintf("objects[%d].%s", i, field), was, is)
		}
	}
	return nil
}

func compareObjects(a, b link.Object) (field string, was, is any) {
	for _, f := range []struct {
		name    string
		was, is any
	}{
		{"id", a.ID, b.ID}, {"class", a.Class, b.Class}, {"label", a.Label, b.Label}, {"score", a.Score, b.Score},
		{"x0", a.X0, b.X0}, {"y0", a.Y0, b.Y0}, {"x1", a.X1, b.X1}, {"y1", a.Y1, b.Y1},
	} {
		if f.was != f.is {
			return f.name, f.was, f.is
		}
	}
	return "", nil, nil
}

// pair looks for a partner for each of a's boxes, the nearest first come.
func pair(a, b Line, tolerance float64) *Difference {
	left := slices.Clone(b.Objects)
	for i, o := range a.Objects {
		best, dist := -1, math.Inf(1)
		for k, c := range left {
			if c.Label == o.Label && math.Abs(float64(c.Score-o.Score)) <= scoreTolerance {
				if d := apart(o, c); d < dist {
					best, dist = k, d
				}
			}
		}
		if best < 0 || dist > tolerance {
			nearest := "without a partner"
			if best >= 0 {
				nearest = fmt.Sprintf("%.1f pixels off", dist)
			}
			return &Difference{a.Frame, fmt.Sprintf("objects[%d]", i),
				fmt.Sprintf("%s at %.0f,%.0f-%.0f,%.0f", o.Label, o.X0, o.Y0, o.X1, o.Y1), nearest}
		}
		left = slices.Delete(left, best, best+1)
	}
	return nil
}

// apart is how far the edges of two boxes that are farthest apart are.
func apart(a, b link.Object) float64 {
	return max(math.Abs(float64(a.X0-b.X0)), math.Abs(float64(a.Y0-b.Y0)), math.Abs(float64(a.X1-b.X1)), math.Abs(float64(a.Y1-b.Y1)))
}

// CompareSummaries lists in what two summaries differ that should be the same of the
// same file: everything but names, timings, and, with a tolerance, what follows from
// another decoder or processor.
func CompareSummaries(was, is Summary, tolerance float64) []Difference {
	var out []Difference
	field := func(name string, a, b any) {
		if a != b {
			out = append(out, Difference{Field: name, Was: fmt.Sprint(a), Is: fmt.Sprint(b)})
		}
	}
	field("source.bytes", was.Source.Bytes, is.Source.Bytes)
	field("source.sha256", was.Source.SHA256, is.Source.SHA256)
	field("source.codec", was.Source.Codec, is.Source.Codec)
	field("source.width", was.Source.Width, is.Source.Width)
	field("source.height", was.Source.Height, is.Source.Height)
	field("source.rotation", was.Source.Rotation, is.Source.Rotation)
	a, b := was.Ledger, is.Ledger
	field("ledger.balanced", a.Balanced && a.Ledger.Balanced(), b.Balanced && b.Ledger.Balanced())
	for _, l := range []struct {
		name string
		a, b uint64
	}{
		{"decoded", a.Decoded, b.Decoded}, {"inferred", a.Inferred, b.Inferred},
		{"skipped_no_motion", a.SkippedMotion, b.SkippedMotion}, {"skipped_rate_limit", a.SkippedRate, b.SkippedRate},
		{"skipped_heat", a.SkippedHeat, b.SkippedHeat}, {"dropped", a.Dropped, b.Dropped}, {"failed", a.Failed, b.Failed},
	} {
		field("ledger."+l.name, l.a, l.b)
	}
	field("results", was.Results, is.Results)
	field("objects", was.Objects, is.Objects)
	if tolerance > 0 {
		return out
	}
	field("source.fps", was.Source.FPS, is.Source.FPS)
	field("source.seconds", was.Source.Seconds, is.Source.Seconds)
	field("source.decoder", was.Source.Decoder, is.Source.Decoder)
	field("encoder", was.Encoder, is.Encoder)
	field("runtime", was.Runtime, is.Runtime)
	return append(out, compareClasses(was.Classes, is.Classes)...)
}

func compareClasses(was, is map[string]*Class) (out []Difference) {
	names := map[string]*Class{}
	maps.Copy(names, was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var a, b Class
		if c := was[name]; c != nil {
			a = *c
		}
		if c := is[name]; c != nil {
			b = *c
		}
		if a != b {
			out = append(out, Difference{Field: "classes." + name, Was: fmt.Sprintf("%d boxes of %d tracks", a.Boxes, a.Tracks), Is: fmt.Sprintf("%d of %d", b.Boxes, b.Tracks)})
		}
	}
	return out
}
