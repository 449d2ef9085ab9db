package draw

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

var update = flag.Bool("update", false, "write the golden pictures anew")

// TestGoldens compares crops of drawn pictures with those in testdata. Look at
// a new one before you commit it.
func TestGoldens(t *testing.T) {
	now := time.Date(2024, 5, 17, 14, 5, 33, 0, time.UTC)
	for _, c := range []struct {
		name string
		f    vision.Format
		w, h int
		crop image.Rectangle
		draw func(*Artist, *sheet)
	}{
		{"tracks-360p", vision.I420, 640, 360, image.Rect(0, 60, 300, 240), drawStreet},
		{"tracks-720p", vision.NV12, 1280, 720, image.Rect(880, 80, 1280, 360), drawStreet},
		{"tracks-161x121", vision.I420, 161, 121, image.Rect(0, 0, 161, 121), drawStreet},
		{"tracks-2160p", vision.I420, 3840, 2160, image.Rect(1500, 960, 2000, 1160), drawStreet},
		{"styles-360p", vision.NV12, 640, 360, image.Rect(0, 0, 640, 360), drawStyles},
		{"slate-360p", vision.NV12, 640, 360, image.Rect(120, 60, 520, 300), func(a *Artist, s *sheet) {
			a.Slate(&s.Picture, "Front door", "The camera does not answer: is it switched on?", now.Add(-141*time.Second), now)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSheet(c.f, c.w, c.h, 5)
			c.draw(newArtist(t), s)
			s.intact(t)
			got := s.rgb().SubImage(c.crop).(*image.RGBA)
			file := filepath.Join("testdata", c.name+".png")
			if *update {
				var out bytes.Buffer
				if err := png.Encode(&out, got); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, file, got)
		})
	}
}

func drawStreet(a *Artist, s *sheet) {
	s.backdrop()
	a.Tracks(&s.Picture, street(s.Width, s.Height))
}

// drawStyles is a picture as a session's client may have asked for it.
func drawStyles(a *Artist, s *sheet) {
	s.backdrop()
	var marks []Mark
	for i, k := range street(s.Width, s.Height) {
		marks = append(marks, Mark{Box: k.Box, Class: k.Class, Label: k.Label, Score: k.Score, Track: k.ID, Index: i})
	}
	a.Boxes(&s.Picture, marks, BoxStyle{Paint: Paint{By: ByIndex}, Thickness: 5, Roundness: 0.6})
	a.Labels(&s.Picture, marks, LabelStyle{
		Paint: Paint{By: ByIndex}, Caption: CaptionClassConfidence, Position: BottomCentre, Scale: 1.25, Padding: 4, Text: Colour{255, 255, 255, 255},
	})
	a.Message(&s.Picture, "The model failed on this frame: input \"images\" has the shape 1x3x416x416, and the model takes 1x3x640x640. Install the model again, or name another one.")
}

// compare allows two levels of difference: processors round floating point
// glyph outlines differently.
func compare(t *testing.T, file string, got *image.RGBA) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	want, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	g, w := got.Bounds(), want.Bounds()
	if g.Dx() != w.Dx() || g.Dy() != w.Dy() {
		t.Fatalf("%v, golden is %v", g, w)
	}
	bad := 0
	for y := range g.Dy() {
		for x := range g.Dx() {
			r0, g0, b0, _ := got.At(g.Min.X+x, g.Min.Y+y).RGBA()
			r1, g1, b1, _ := want.At(w.Min.X+x, w.Min.Y+y).RGBA()
			if differ(r0, r1) || differ(g0, g1) || differ(b0, b1) {
				bad++
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d pixels differ from %s", bad, file)
	}
}

func differ(a, b uint32) bool { return max(a, b)>>8-min(a, b)>>8 > 3 }

// TestLook renders pictures for people, into the folder WATCHPOST_LOOK.
func TestLook(t *testing.T) {
	if os.Getenv("WATCHPOST_LOOK") == "" {
		t.Skip("WATCHPOST_LOOK names no folder for pictures")
	}
	now := time.Date(2024, 5, 17, 14, 5, 33, 4e8, time.UTC)
	for _, c := range []struct {
		name string
		w, h int
	}{{"360p", 640, 360}, {"720p", 1280, 720}, {"2160p", 3840, 2160}, {"small", 161, 121}} {
		a := newArtist(t)
		s := newSheet(vision.I420, c.w, c.h, 0)
		if !s.photo(t, "image/rf_crowd.jpg") {
			s.backdrop()
		}
		a.Tracks(&s.Picture, street(c.w, c.h))
		s.save(t, "tracks-"+c.name+".png")
		a.Slate(&s.Picture, "Front door", "The camera at 192.0.2.7 does not answer. Is it switched on and on the same network? The next attempt follows in 8 s.", now.Add(-141*time.Second), now)
		s.save(t, "slate-"+c.name+".png")
	}
}
