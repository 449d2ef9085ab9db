package boxtest

import (
	"strings"
	"testing"
)

// endModes end for a reason.
var endModes = []sessionMode{
	{
		name: "processing_timeout",
		play: func(t *testing.T, s stage) scenario {
			return receiving(fromURL, ask("motion", fields{"rtsp_url": s.rtsp(t), "processing_timeout": 3}))
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			last := ended(t, f, "timeout_reached")
			if f.EndedAt < 2.5 || f.EndedAt > 20 || len(last.Errors) == 0 {
				t.Errorf("it ended after %.1f s: %v", f.EndedAt, last.Errors)
			}
		},
	}, {
		name: "rtsp_url where nobody listens",
		play: func(*testing.T, stage) scenario {
			p := receiving(fromURL, ask("motion", fields{"rtsp_url": "rtsp://me:pa55w0rd@127.0.0.1:9/stream"}))
			p.Stop = &stop{Documents: 1}
			return p
		},
		check: func(t *testing.T, f facts) {
			// A camera that starts up: it is told, and tried again.
			wellFormed(t, f)
			if said := errorsOf(f.notices()); !strings.Contains(said, "cannot be connected to") || strings.Contains(said, "pa55w0rd") || f.EndedAt > 15 {
				t.Errorf("after %.1f s it is told that %q", f.EndedAt, said)
			}
		},
	}, {
		name: "rtsp_url with a wrong password",
		play: func(t *testing.T, s stage) scenario {
			return receiving(fromURL, ask("motion", fields{"rtsp_url": strings.Replace(s.rtsp(t), "pa55", "pa55w0rd", 1)}))
		},
		check: sourceFailed("password"),
	}, {
		name: "mjpeg_url with a wrong password",
		play: func(t *testing.T, s stage) scenario {
			return receiving(fromURL, ask("motion", fields{"mjpeg_url": strings.Replace(s.mjpeg(t), "pa55", "pa55w0rd", 1)}))
		},
		check: sourceFailed(""),
	}, {
		name: "file that is no video",
		play: func(t *testing.T, _ stage) scenario {
			return uploading(dataOnly(fromFile, ask("motion", nil)), media(t, "MANIFEST.md"), nil)
		},
		check: sourceFailed(""),
	},
	uploadFault("total"), uploadFault("index"), uploadFault("length"), uploadFault("huge"), uploadFault("none"),
}

func sourceFailed(words string) func(t *testing.T, f facts) {
	return func(t *testing.T, f facts) {
		wellFormed(t, f)
		last := ended(t, f, "source_failed")
		said := strings.Join(last.Errors, "; ")
		if err := oneLine(said); err != nil || !strings.Contains(said, words) || strings.Contains(said, "pa55") {
			t.Errorf("the reason is told as %q: %v", said, err)
		}
		t.Logf("%s", said)
	}
}

// uploadFault breaks the rules of video_upload.
func uploadFault(fault string) sessionMode {
	return sessionMode{
		name: "upload with a wrong " + fault,
		play: func(t *testing.T, _ stage) scenario {
			return uploading(dataOnly(fromFile, ask("motion", nil)), media(t, "video/face_h264.mp4"), &sending{Fault: fault})
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			last := ended(t, f, "upload_failed")
			if err := oneLine(strings.Join(last.Errors, "; ")); err != nil {
				t.Errorf("the reason: %v", err)
			}
			t.Logf("%v", last.Errors)
		},
	}
}
