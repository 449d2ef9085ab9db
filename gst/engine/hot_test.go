package engine

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

func TestWhoMayWrite(t *testing.T) {
	dir := media(t)
	for _, file := range []string{"face_h264.mp4", "bbb_vp9.mp4", "face_av1.mp4", "bbb_vp8_1080p60.webm", "h265_video.mp4", "h264_10bits.mp4","highway_asp.avi"} {
		var n, inPlace int
		err := Read(context.Background(), plan.Source{URL: filepath.Join(dir, "video", file), Live: false, Threads: 1}, Handlers{Frame: func(f *Frame) {
			n++
			before := f.mem
			if err := f.Writable(); err != nil {
				t.Fatal(err)
			}
			if f.mem == before {
				inPlace++
			}
			f.Release()
		}})
		t.Log(file, n, inPlace, err)
	}
	_ = time.Now
}
