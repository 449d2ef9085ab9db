package media

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

func ownStart(t *testing.T, file string) link.Start {
	t.Helper()
	return link.Start{
		Mode: "live", Source: link.Source{URL: acceltest.Media(t, file), Loop: true}, Threads: 1,
		Picture: link.Picture{Boxes: link.BoxesClient},
	}
}

// The source's own pictures go out as they are, nothing is encoded, and each
// report of the analysis has the time of the picture that it is of: that is what
// the page finds its boxes by.
func TestOwnPictures(t *testing.T) {
	s := begin(t, ownStart(t, "video/face_h264_nobframes.mp4"))
	s.send(link.KindWant, link.Want{H264: true})
	s.until("own pictures and reports", 10*time.Second, func() bool { return len(s.units) > 40 && len(s.found) > 20 })
	s.mu.Lock()
	times := map[time.Duration]bool{}
	for i, u := range s.units {
		if !u.Own || u.Slate || u.Codec != link.H264 || i > 0 && u.PTS <= s.units[i-1].PTS {
			t.Fatalf("unit %d: own %v, slate %v, codec %v, at %v", i, u.Own, u.Slate, u.Codec, u.PTS)
		}
		times[u.PTS] = true
	}
	if !s.units[0].Keyframe {
		t.Error("the first unit is no keyframe")
	}
	for _, d := range s.found {
		if !times[d.PTS] {
			t.Errorf("frame %d, at %v, is of no picture that went out", d.Frame, d.PTS)
		}
	}
	last := s.status[len(s.status)-1]
	s.mu.Unlock()
	if last.Boxes != link.BoxesClient || last.Encoder != "" {
		t.Errorf("the status is %+v", last)
	}

	// A viewer without H.264 gets pictures with boxes, beside those.
	s.send(link.KindWant, link.Want{H264: true, VP8: true})
	s.until("VP8 beside it", 5*time.Second, func() bool {
		var own, drawn int
		for _, u := range s.units[max(0, len(s.units)-30):] {
			if u.Codec == link.VP8 && !u.Own {
				drawn++
			} else if u.Own {
				own++
			}
		}
		return own > 5 && drawn > 5
	})
	s.send(link.KindStop, nil)
	if err := s.wait(3 * time.Second); err != nil {
		t.Fatal(err)
	}
	balanced(t, s.done.Ledger)
}

// What browsers cannot play, or cannot be had, is drawn on after all, with the reason.
func TestPicturesThatCannotGoOutAsTheyAre(t *testing.T) {
	for _, file := range []string{"video/face_h264.mp4", "video/h265_video.mp4", "video/highway_asp.avi"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := begin(t, ownStart(t, file))
			s.send(link.KindWant, link.Want{H264: true})
			s.until("drawn pictures", 10*time.Second, func() bool {
				n := len(s.units)
				return n > 0 && !s.units[n-1].Own && !s.units[n-1].Slate
			})
			s.mu.Lock()
			defer s.mu.Unlock()
			last := s.status[len(s.status)-1]
			if last.Boxes != link.BoxesBurned || last.BoxesReason == "" || last.Encoder == "" {
				t.Errorf("the status is %+v", last)
			}
			t.Log(last.BoxesReason)
		})
	}
}
