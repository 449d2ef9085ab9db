package boxtest

import (
	"fmt"
	"testing"
	"time"
)

// sessionMode is one way of using a session. Both clients play its scenario, and the same
// must come of it.
type sessionMode struct {
	name  string
	model bool // it needs the default model
	play  func(t *testing.T, s stage) scenario
	check func(t *testing.T, f facts)
}

// stage is what the modes of one run share.
type stage struct {
	// rtsp and mjpeg begin a camera of one session's own, and tell its URL.
	rtsp, mjpeg func(t *testing.T) string
	film        string // the film of the tests as H.264 without times
}

// receiving is a scenario with a channel and the box's video track.
func receiving(source string, request map[string]any) scenario {
	return scenario{Source: source, Request: request, Receive: true, Label: "inference", Within: 120}
}

// dataOnly is one without a video track.
func dataOnly(source string, request map[string]any) scenario {
	s := receiving(source, request)
	s.Receive = false
	return s
}

// uploading is a scenario that uploads a file and takes what comes to the end.
func uploading(s scenario, file string, how *sending) scenario {
	s.File, s.Upload = file, how
	s.Request["video_file_upload"] = true
	return s
}

type fields = map[string]any

// TestSessionModes plays every mode of the protocol with a client on aiortc, which
// nobody here wrote, and with one on pion.
func TestSessionModes(t *testing.T) {
	python(t)
	h264, jpegs := clip(t, 320, 240), jpegClip(t, 320, 240)
	s := stage{
		rtsp: func(t *testing.T) string {
			return rtspCamera(t, h264, RTSPConfig{User: "me", Password: "pa55"}).URL("me", "pa55")
		},
		mjpeg: func(t *testing.T) string {
			return mjpegCamera(t, jpegs, MJPEGConfig{User: "me", Password: "pa55"}).URL("me", "pa55")
		},
		film: film(t, 320, 240),
	}
	b := start(t, "models: {default: motion}\nsessions: {most: 16}\n"+quietCamera)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	before := footprintOf(t, b)
	modes := append(append(append(liveModes, fileModes...), outputModes...), endModes...)
	t.Run("modes", func(t *testing.T) {
		for _, m := range modes {
			for name, play := range bothClients {
				t.Run(m.name+"/"+name, func(t *testing.T) {
					t.Parallel()
					if m.model {
						needModel(t)
					}
					f := play(t, b, m.play(t, s))
					m.check(t, f)
					t.Logf("%d documents, %d pictures, %d notices, ended by %s after %.1f s", len(f.frames()), len(f.Pictures), len(f.notices()), f.EndedBy, f.EndedAt)
				})
			}
		}
	})
	before.again(t, b)
}

// quietCamera is a camera that costs nothing; a box has at least one.
const quietCamera = "cameras:\n  - {id: cam, source: \"test:black\", model: motion, capture: {width: 64, height: 64, fps: 1}}\n"

// liveModes have frames that come at a rate of their own, or one by one.
var liveModes = []sessionMode{
	{
		name: "camera in, annotated track and data out",
		play: func(*testing.T, stage) scenario {
			p := receiving(fromCamera, ask("motion", fields{"stream_output": []string{outNamed}, "data_output": []string{"*"}, "webrtc_realtime_processing": true}))
			p.Frames, p.Stop = 120, &stop{Documents: 60, Pictures: 40}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			outputsAre(t, f.frames(), outFound, outTracked)
			paired(t, f, 20)
			drawn(t, f.Pictures, 5)
		},
	}, {
		name: "camera in as H.264",
		play: func(*testing.T, stage) scenario {
			p := receiving(fromCamera, ask("motion", fields{"stream_output": []string{outNamed}, "data_output": []string{outFound}}))
			p.Codec, p.Frames, p.Stop = "H264", 90, &stop{Documents: 60, Pictures: 40}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			if fmt.Sprint(f.Codecs) != "[H264]" {
				t.Errorf("the answer has the codecs %v", f.Codecs)
			}
			paired(t, f, 30)
			drawn(t, f.Pictures, 5)
		},
	}, {
		name: "camera in, data out, nothing received",
		play: func(*testing.T, stage) scenario {
			p := dataOnly(fromCamera, ask("motion", fields{"stream_output": []string{}, "data_output": []string{outFound}, "webrtc_realtime_processing": true}))
			p.Frames, p.Stop = 90, &stop{Documents: 50}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			outputsAre(t, f.frames(), outFound)
			finds(t, f.frames(), outFound, "motion", 5)
		},
	}, {
		name: "frames by hand",
		play: func(*testing.T, stage) scenario {
			p := dataOnly(fromHand, ask("motion", fields{"stream_output": []string{}, "data_output": []string{outFound, outRaw}, "manual_mode": true}))
			p.Frames, p.Stop = 36, &stop{Documents: 36}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			if len(f.frames()) != 36 {
				t.Fatalf("%d documents of 36 frames; notices: %s", len(f.frames()), errorsOf(f.notices()))
			}
			for i, d := range f.frames() {
				// The client's own times, 15 frames a second.
				if want := int64(i) * 6000; d.Metadata.PTS < want-2 || d.Metadata.PTS > want+2 {
					t.Errorf("frame %d is at %d, want %d", d.ID, d.Metadata.PTS, want)
				}
				// The block shows which frame it is; 320 pixels wide, it is 53.
				x0, _, x1, _ := block(320, 240, 2*i)
				if p := d.image(t, outRaw).Picture; x0 > 20 && (p.Left < x0-8 || p.Right > x1+8) {
					t.Errorf("in frame %d the block is at %d to %d, want %d to %d", d.ID, p.Left, p.Right, x0, x1)
				}
			}
		},
	}, {
		name: "rtsp_url, track and data",
		play: func(t *testing.T, s stage) scenario {
			p := receiving(fromURL, ask("motion", fields{"rtsp_url": s.rtsp(t), "stream_output": []string{outNamed}, "data_output": []string{outFound}, "webrtc_realtime_processing": true}))
			p.Stop = &stop{Documents: 90, Pictures: 80}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			outputsAre(t, f.frames(), outFound)
			paired(t, f, 40)
			drawn(t, f.Pictures, 10)
		},
	}, {
		name: "mjpeg_url, track and data",
		play: func(t *testing.T, s stage) scenario {
			p := receiving(fromURL, ask("motion", fields{"mjpeg_url": s.mjpeg(t), "stream_output": []string{outNamed}, "data_output": []string{outFound}, "webrtc_realtime_processing": true}))
			p.Stop = &stop{Documents: 90, Pictures: 80}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			paired(t, f, 40)
			drawn(t, f.Pictures, 10)
		},
	}, {
		name: "video only, without a channel",
		play: func(t *testing.T, s stage) scenario {
			p := receiving(fromURL, ask("motion", fields{"rtsp_url": s.rtsp(t), "stream_output": []string{outRaw}, "webrtc_realtime_processing": true}))
			p.Label, p.Stop = "", &stop{Pictures: 40}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			if len(f.Pictures) < 40 {
				t.Errorf("%d pictures came; it ended by %s", len(f.Pictures), f.EndedBy)
			}
			drawn(t, f.Pictures, 0)
		},
	},
}
