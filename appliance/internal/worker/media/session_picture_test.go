package media

import (
	"context"
	"image"
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// Pictures in the documents are JPEGs of the frame, drawn on where the output says
// so, and of the frame as it came where it does not; and the video has the picture
// of every document at the same time.
func TestSessionPictures(t *testing.T) {
	for _, c := range []struct {
		stream string
		codec  link.Codec
	}{{"drawn", link.H264}, {"plain", link.VP8}, {"", 0}} {
		t.Run("stream "+c.stream, func(t *testing.T) {
			start := sessionStart(t, "video/face_h264.mp4")
			start.Model = yolox(t)
			start.Session.Video = c.codec
			start.Session.Select = link.Select{Stream: c.stream, Data: []string{"drawn", "found", "plain"}}
			s := begin(t, start)
			s.finish(time.Minute)
			docs := s.documents()
			want := times(t, start.Source.URL)
			if len(docs) != len(want) {
				t.Fatalf("%d documents of %d frames", len(docs), len(want))
			}
			for i, d := range docs {
				if len(d.Errors) > 0 || len(d.Data) != 3 {
					t.Fatalf("frame %d: errors %q", d.Meta.Frame, d.Errors)
				}
				if i%10 != 0 {
					continue
				}
				plain, drawn := d.image(t, "plain"), d.image(t, "drawn")
				size := image.Pt(d.Meta.Width, d.Meta.Height)
				if plain.Bounds().Size() != size || drawn.Bounds().Size() != size {
					t.Fatalf("pictures of %v and %v", plain.Bounds(), drawn.Bounds())
				}
				if far := differs(plain, drawn); (far > 0) != (len(d.predictions(t, "found").Predictions) > 0) {
					t.Errorf("frame %d: %d objects, and %d samples differ", d.Meta.Frame, len(d.predictions(t, "found").Predictions), far)
				}
			}
			if c.codec == 0 {
				if n := s.count(); n > 0 {
					t.Errorf("%d units to a peer that takes no video", n)
				}
				return
			}
			units := s.since(0, c.codec)
			if len(units) != len(docs) || !units[0].Keyframe || s.count() != len(units) {
				t.Fatalf("%d units for %d documents", len(units), len(docs))
			}
			for i, u := range units {
				if stampOf(u.PTS) != docs[i].Meta.PTS {
					t.Fatalf("unit %d is at %d, the document at %d", i, stampOf(u.PTS), docs[i].Meta.PTS)
				}
			}
			seen := decode(t, c.codec, units)
			if len(seen) != len(units) {
				t.Fatalf("of %d units %d decode", len(units), len(seen))
			}
			// The video shows what the document's picture of that output does.
			for i := range seen {
				if i%20 == 10 {
					if far := differs(docs[i].image(t, c.stream), seen[i]); far > seen[i].Rect.Dx()*seen[i].Rect.Dy()/50 {
						t.Errorf("frame %d of the video is another picture: %d samples", i+1, far)
					}
				}
			}
		})
	}
}

// differs counts luma samples that differ by more than lossy coding makes them.
func differs(a, b image.Image) (n int) {
	x, y := a.(*image.YCbCr), b.(*image.YCbCr)
	for row := range x.Rect.Dy() {
		for col := range x.Rect.Dx() {
			d := int(x.Y[row*x.YStride+col]) - int(y.Y[row*y.YStride+col])
			if d > 70 || d < -70 {
				n++
			}
		}
	}
	return n
}

// decode plays units as a peer would, each given once the one before was shown.
func decode(t *testing.T, c link.Codec, units []link.AccessUnit) (seen []*image.YCbCr) {
	t.Helper()
	in := make(chan engine.Encoded, len(units))
	for _, u := range units {
		in <- engine.Encoded{Codec: codecName(c), PTS: u.PTS, Keyframe: u.Keyframe, Data: u.Data}
	}
	close(in)
	err := engine.ReadUnits(t.Context(), plan.Source{Threads: 1}, in, engine.Handlers{
		Frame: func(f *engine.Frame) {
			defer f.Release()
			p := image.NewYCbCr(image.Rect(0, 0, f.Width, f.Height), image.YCbCrSubsampleRatio420)
			for y := range f.Height {
				for x, v := range f.Planes[0][y*f.Stride[0]:][:f.Width] {
					// Full range, as in JPEG.
					p.Y[y*p.YStride+x] = uint8(min(max((int(v)-16)*255/219, 0), 255))
				}
			}
			seen = append(seen, p)
		},
		Warning: func(w string) { t.Error(w) },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// What a peer chooses holds from one frame to the next, and a keyframe begins every
// turn of the video.
func TestSessionSelection(t *testing.T) {
	start := sessionStart(t, "video/face_h264.mp4")
	start.Session.NoModel, start.Session.Tracker = true, nil
	start.Session.Outputs = []link.Output{outPlain, {Name: "other"}}
	start.Session.Video = link.H264
	start.Session.Credit = link.Credit{Through: 5}
	start.Session.Select = link.Select{Stream: "plain"}
	s := begin(t, start)
	through := uint64(5)
	turn := func(v link.Select) {
		t.Helper()
		s.until("the last turn's frames", 10*time.Second, func() bool { return uint64(len(s.results)) == through })
		s.send(link.KindSelect, v)
		through += 5
		s.send(link.KindCredit, link.Credit{Through: through})
	}
	turn(link.Select{Data: []string{"other"}})                  // no video
	turn(link.Select{Stream: "other", Data: []string{"plain"}}) // both
	turn(link.Select{Stream: "plain", Data: []string{"gone"}})  // lacking
	turn(link.Select{Stream: "plain", All: true})               // nothing but pictures
	s.until("all frames", 10*time.Second, func() bool { return uint64(len(s.results)) == through })
	s.send(link.KindSelect, link.Select{Stream: "plain", NoDocuments: true})
	s.send(link.KindCredit, link.Credit{Through: unlimited})
	s.finish(30 * time.Second)
	docs := s.documents()
	if len(docs) != 25 {
		t.Fatalf("%d documents", len(docs))
	}
	for i, d := range docs {
		var keys []string
		for k := range d.Data {
			keys = append(keys, k)
		}
		want := [][]string{nil, {"other"}, {"plain"}, nil, nil}[i/5]
		empty := i/5 >= 3 // an object without values
		if !slices.Equal(keys, want) || (d.Data == nil) != (i < 5) && !empty || (len(d.Errors) > 0) != (i/5 == 3) {
			t.Errorf("frame %d: %v (null: %v), errors %q", i+1, keys, d.Data == nil, d.Errors)
		}
	}
	frames := len(times(t, start.Source.URL))
	units := s.since(0, link.H264)
	if len(units) != frames-5 || !units[0].Keyframe || !units[5].Keyframe {
		t.Errorf("%d units of %d frames, of which 5 had no video", len(units), frames)
	}
}

// A rotated film's pictures and boxes are upright.
func TestSessionRotation(t *testing.T) {
	start := sessionStart(t, "video/rot_90.mov")
	start.Session.NoModel = true
	start.Session.Select = link.Select{Data: []string{"plain"}}
	s := begin(t, start)
	s.finish(30 * time.Second)
	var info engine.Info
	if err := engine.Read(context.Background(), plan.Source{URL: start.Source.URL}, engine.Handlers{Info: func(i engine.Info) { info = i }}); err != nil {
		t.Fatal(err)
	}
	if info.Rotation != 90 {
		t.Fatalf("the file is %+v", info)
	}
	for _, d := range s.documents() {
		if p := d.image(t, "plain").Bounds(); d.Meta.Width != info.Width || d.Meta.Height != info.Height || p.Dx() != info.Width || p.Dy() != info.Height {
			t.Fatalf("frame %d is %dx%d, its picture %v, want %dx%d", d.Meta.Frame, d.Meta.Width, d.Meta.Height, p, info.Width, info.Height)
		}
	}
}
