package boxtest

import (
	"slices"
	"strings"
	"testing"
)

// outputModes ask for outputs in every form there is.
var outputModes = []sessionMode{
	streamForm("stream_output absent", nil, 10),
	streamForm("stream_output null", fields{"stream_output": nil}, 10),
	streamForm("stream_output names one", fields{"stream_output": []string{outNamed}}, 10),
	streamForm("stream_output names the frame as it came", fields{"stream_output": []string{outRaw}}, 0),
	streamForm("stream_output empty", fields{"stream_output": []string{}}, -1),
	dataForm("data_output absent", nil),
	dataForm("data_output null", fields{"data_output": nil}),
	dataForm("data_output empty", fields{"data_output": []string{}}),
	dataForm("data_output star", fields{"data_output": []string{"*"}}, outFound, outTracked),
	dataForm("data_output names a picture, too", fields{"data_output": []string{outTracked, outNamed}}, outTracked, outNamed),
	refusedForm("unknown stream_output", fields{"stream_output": []string{"nobody"}}, "stream_output", outBoxed),
	refusedForm("predictions as stream_output", fields{"stream_output": []string{outFound}}, "stream_output", outBoxed),
	refusedForm("unknown data_output", fields{"data_output": []string{"nobody"}}, "data_output", outFound),
	refusedForm("unknown model", fields{"workflow_configuration": workflowOf("yolox-giant")}, "model_id", "motion"),
	refusedForm("two sources", fields{"rtsp_url": "rtsp://127.0.0.1:1/", "mjpeg_url": "http://127.0.0.1:1/"}, "_url", ""),
	{
		name: "changes while it runs",
		play: func(t *testing.T, s stage) scenario {
			p := receiving(fromURL, ask("motion", fields{"rtsp_url": s.rtsp(t), "stream_output": []string{outRaw}, "webrtc_realtime_processing": true}))
			p.Say = []string{"this is not JSON", `[1]`, `{"unknown": true}`}
			p.Changes = []change{
				{15, fields{"data_output": []string{outFound}}}, {45, fields{"stream_output": []string{outNamed}}},
				{50, fields{"data_output": []string{"nobody"}}}, {50, "{"}, {75, fields{"data_output": []string{}}},
			}
			p.Stop = &stop{Documents: 140}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			// How many outputs the documents have, one after the other.
			var have []int
			for _, d := range f.frames() {
				if n := len(d.Outputs); len(have) == 0 || have[len(have)-1] != n {
					have = append(have, n)
					t.Logf("from frame %d on: %d outputs", d.ID, n)
					if n == 1 && d.ID <= 15 || len(have) == 3 && d.ID <= 75 {
						t.Errorf("frame %d has %d outputs before that was asked for", d.ID, n)
					}
				}
			}
			if !slices.Equal(have, []int{0, 1, 0}) {
				t.Errorf("documents have %v outputs; it ended by %s", have, f.EndedBy)
			}
			if said := errorsOf(f.notices()); !strings.Contains(said, "nobody") || !strings.Contains(said, outFound) {
				t.Errorf("what was wrong with a change is told as %q", said)
			}
			raw, boxed := 0, 0
			for _, p := range f.Pictures {
				if p.Coloured > 20 {
					boxed++
				} else if boxed == 0 {
					raw++
				}
			}
			if raw < 20 || boxed < 10 {
				t.Errorf("%d pictures without boxes, then %d with them", raw, boxed)
			}
		},
	},
}

// streamForm asks for video in some way; drawn pictures at least, 0: none of them is
// drawn on, -1: there is no picture.
func streamForm(name string, over fields, coloured int) sessionMode {
	return sessionMode{
		name: name,
		play: func(t *testing.T, s stage) scenario {
			request := ask("motion", fields{"rtsp_url": s.rtsp(t), "webrtc_realtime_processing": true})
			for k, v := range over {
				request[k] = v
			}
			p := receiving(fromURL, request)
			p.Stop = &stop{Documents: 75, Pictures: 65}
			if coloured < 0 {
				p.Stop.Pictures = 0
			}
			return p
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			if coloured >= 0 {
				drawn(t, f.Pictures, coloured)
			}
			if coloured < 0 && len(f.Pictures) > 0 || coloured >= 0 && len(f.Pictures) < 60 || len(f.frames()) < 70 {
				t.Errorf("%d pictures, %d documents", len(f.Pictures), len(f.frames()))
			}
		},
	}
}

func dataForm(name string, over fields, outputs ...string) sessionMode {
	return sessionMode{
		name: name,
		play: func(t *testing.T, s stage) scenario {
			return uploading(dataOnly(fromFile, ask("motion", over)), media(t, "video/h265_video.mp4"), nil)
		},
		check: func(t *testing.T, f facts) {
			wellFormed(t, f)
			everyFrame(t, f)
			ended(t, f, "")
			if len(f.frames()) != 10 {
				t.Errorf("%d documents of 10 frames", len(f.frames()))
			}
			outputsAre(t, f.frames(), outputs...)
		},
	}
}

// refusedForm asks for what is not there: which field, and what there is.
func refusedForm(name string, over fields, field, available string) sessionMode {
	return sessionMode{
		name: name,
		play: func(t *testing.T, s stage) scenario {
			request := ask("motion", fields{"rtsp_url": s.rtsp(t)})
			for k, v := range over {
				request[k] = v
			}
			return receiving(fromURL, request)
		},
		check: func(t *testing.T, f facts) {
			r := f.Refused
			if r == nil || r.Status != 400 && r.Status != 422 {
				t.Fatalf("it is not refused: %+v, answered %v", r, f.Answer)
			}
			if err := oneLine(r.Message); err != nil || !strings.Contains(r.Field, field) || r.Expected == "" && r.Available == nil || available != "" && !strings.Contains(strings.Join(r.Available, " "), available) {
				t.Errorf("%s: %v", mustJSON(t, r), err)
			}
			t.Logf("%s: %s (expected %s; available %v)", r.Field, r.Message, r.Expected, r.Available)
		},
	}
}
