package boxtest

import (
	"math"
	"testing"
)

// fileModes have a file that is uploaded.
var fileModes = []sessionMode{
	{
		name: "file to predictions", model: true,
		play: func(t *testing.T, _ stage) scenario {
			p := dataOnly(fromFile, ask(Model, fields{"stream_output": []string{}, "data_output": []string{"*"}}))
			return uploading(p, media(t, "video/face_h264.mp4"), nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			ended(t, f, "")
			list := f.frames()
			if len(list) != 30 {
				t.Fatalf("%d documents of 30 frames", len(list))
			}
			outputsAre(t, list, outFound, outTracked)
			finds(t, list, outFound, "person", 25)
			finds(t, list, outTracked, "person", 20)
			for _, p := range list[len(list)-1].predictions(t, outTracked).Predictions {
				if p.TrackerID == nil {
					t.Errorf("a tracked prediction without an id: %+v", p)
				}
			}
			ratesAre(t, list, 30000.0/1001)
		},
	}, {
		name: "file to pictures in the data", model: true,
		play: func(t *testing.T, _ stage) scenario {
			p := dataOnly(fromFile, ask(Model, fields{"stream_output": []string{}, "data_output": []string{outFound, outRaw, outBoxed}}))
			p.Acks = "each"
			return uploading(p, media(t, "video/face_h264.mp4"), &sending{Shuffle: true, Repeat: true, Pings: 4})
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			ended(t, f, "")
			list := f.frames()
			if len(list) != 30 || len(f.Echoes) != 4 {
				t.Errorf("%d documents of 30 frames, %d echoes of 4 pings", len(list), len(f.Echoes))
			}
			more := 0
			for _, d := range list {
				raw, boxed := d.image(t, outRaw), d.image(t, outBoxed)
				for _, v := range []imageValue{raw, boxed} {
					if v.Picture.Width != 1080 || v.Picture.Height != 720 || v.Metadata == nil || v.Metadata.FrameID != d.ID || v.Bytes < 10000 {
						t.Fatalf("frame %d has a picture %+v of %d bytes with %+v", d.ID, v.Picture, v.Bytes, v.Metadata)
					}
				}
				if len(d.predictions(t, outFound).Predictions) > 0 && boxed.Picture.Coloured > raw.Picture.Coloured+100 {
					more++
				}
			}
			if more < 25 {
				t.Errorf("boxes can be seen on %d of %d pictures", more, len(list))
			}
		},
	}, {
		name: "file to a video track",
		play: func(t *testing.T, s stage) scenario {
			p := receiving(fromFile, ask("motion", fields{"stream_output": []string{outNamed}, "data_output": []string{outFound}}))
			p.Acks = "each"
			return uploading(p, s.film, nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			ended(t, f, "")
			if len(f.frames()) != clipFrames {
				t.Errorf("%d documents of %d frames", len(f.frames()), clipFrames)
			}
			// aiortc hands out a picture when the next one begins: the last never.
			paired(t, f, clipFrames-10)
			drawn(t, f.Pictures, 30)
		},
	}, {
		name: "file in real time",
		play: func(t *testing.T, _ stage) scenario {
			p := dataOnly(fromFile, ask("motion", fields{"data_output": []string{outFound}, "webrtc_realtime_processing": true}))
			return uploading(p, media(t, "video/bbb_vp9.mp4"), nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			ended(t, f, "")
			// It lasts four seconds, whatever is dropped of it.
			list := f.frames()
			if len(list) < 5 || len(list) > 120 {
				t.Fatalf("%d documents of 120 frames", len(list))
			}
			if took := list[len(list)-1].At - list[0].At; took < 2.5 {
				t.Errorf("a film of 4 s was played in %.1f s", took)
			}
			if last := list[len(list)-1].Metadata.PTS; last < 3*90000 || last > 4*90000 {
				t.Errorf("the last frame is at %d", last)
			}
		},
	}, {
		name: "rotated by 90",
		play: func(t *testing.T, _ stage) scenario {
			p := dataOnly(fromFile, ask("motion", fields{"data_output": []string{outRaw}}))
			return uploading(p, media(t, "video/rot_90.mov"), nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			ended(t, f, "")
			if len(f.frames()) != 3 {
				t.Fatalf("%d documents of 3 frames", len(f.frames()))
			}
			for _, d := range f.frames() {
				if p := d.image(t, outRaw).Picture; p.Width != 320 || p.Height != 568 || d.Metadata.Width != 320 || d.Metadata.Height != 568 {
					t.Errorf("frame %d is %dx%d, and told to be %dx%d", d.ID, p.Width, p.Height, d.Metadata.Width, d.Metadata.Height)
				}
			}
		},
	}, {
		name: "declared rate where the file has none",
		play: func(t *testing.T, s stage) scenario {
			p := dataOnly(fromFile, ask("motion", fields{"data_output": []string{}, "declared_fps": 12.5}))
			return uploading(p, s.film, nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			ended(t, f, "")
			if len(f.frames()) != clipFrames {
				t.Fatalf("%d documents of %d frames", len(f.frames()), clipFrames)
			}
			for _, d := range f.frames() {
				if len(d.Outputs) > 0 {
					t.Fatalf("nothing but metadata was asked for: %s", mustJSON(t, d.Outputs))
				}
				// An encoder may have written its rate into the stream's parameters.
				if fps := d.Metadata.DeclaredFPS; fps == nil || *fps != 12.5 && *fps != clipFPS {
					t.Fatalf("declared: %s", mustJSON(t, d.Metadata))
				}
			}
		},
	}, {
		name: "acks that stop",
		play: func(t *testing.T, s stage) scenario {
			p := dataOnly(fromFile, ask("motion", fields{"data_output": []string{outFound}}))
			p.Acks, p.Hold = "each", &hold{After: 5, Seconds: 2.5}
			return uploading(p, s.film, nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			ended(t, f, "")
			// 20 is sessions.window.
			if len(f.Reached) != 1 || f.Reached[0] < 6 || f.Reached[0] > 25 || len(f.frames()) != clipFrames {
				t.Errorf("without an ack after 5 it went to %v, then there were %d documents", f.Reached, len(f.frames()))
			}
		},
	},
}

// ratesAre fails the test unless the declared rate is this and the measured one some rate.
func ratesAre(t *testing.T, list []document, declared float64) {
	t.Helper()
	for i, d := range list {
		m := d.Metadata
		if m.DeclaredFPS == nil || math.Abs(*m.DeclaredFPS-declared) > 0.01 || i > 10 && (m.MeasuredFPS == nil || *m.MeasuredFPS <= 0 || *m.MeasuredFPS > 10000) {
			t.Fatalf("frame %d: %s", d.ID, mustJSON(t, m))
		}
	}
}
