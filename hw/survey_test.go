package hw

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// runners are the implementations of Runner; both have to do the same.
func runners(t *testing.T, b box) map[string]Runner {
	return map[string]Runner{
		"direct":   Direct{b},
		"children": Children{Exe: os.Args[0], Env: env(t, "prove", b), Grace: 300 * time.Millisecond},
	}
}

func outcomes(r Runner, jobs ...Job) []Outcome {
	var got []Outcome
	r.Run(context.Background(), jobs, func(o Outcome) { got = append(got, o) })
	return got
}

func job(element string, kind Kind) Job {
	return Job{Candidate: Candidate{Decode, "h264", element, kind}}
}

func TestWhatIsRefused(t *testing.T) {
	b := box{
		"good": right, "green": green, "bars": bars, "still": still, "swapped": swapped, "short": short,
		"endless": endless, "nothing": nothing, "fails": fails,
	}
	want := map[string]string{
		"good":    "",
		"green":   "decoded a wrong picture (luma of picture 1 differs by 1",
		"bars":    "decoded a wrong picture (luma of picture 1 differs by ",
		"still":   "pictures in the wrong order: the clip's picture 1 came as number 2",
		"swapped": "pictures in the wrong order: the clip's picture 3 came as number 2",
		"short":   "gave only 7 of 9 pictures",
		"endless": "gave more than the clip's 9 pictures",
		"nothing": "no picture came out",
		"fails":   "Could not decode stream. additional debug info: ioctl failed",
		"absent":  "no element absent",
	}
	for name, r := range runners(t, b) {
		t.Run(name, func(t *testing.T) {
			for element, reason := range want {
				got := outcomes(r, job(element, Software))
				if len(got) != 1 {
					t.Fatalf("%s: %d outcomes", element, len(got))
				}
				if o := got[0]; (reason == "") != (o.Reason == "") || !strings.HasPrefix(o.Reason, reason) || o.Took <= 0 {
					t.Errorf("%s: %q after %v, want %q", element, o.Reason, o.Took, reason)
				}
			}
		})
	}
}

func TestHangingHardware(t *testing.T) {
	for name, r := range runners(t, box{"hangs": hangs}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := outcomes(r, job("hangs", Stateful))
			if len(got) != 1 || got[0].Reason != "timed out after 3s" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A candidate that takes its process down, or does not let it go, is settled by
// that, and those after it are proven all the same.
func TestChildrenSurviveCandidates(t *testing.T) {
	b := box{"a": right, "crashes": crashes, "b": right, "exits": exits, "noisy": noisy, "hw": right}
	r := runners(t, b)["children"]
	got := outcomes(r, job("hw", VA), job("a", Software), job("crashes", Software), job("b", Software),
		job("exits", Software), job("noisy", Software))
	var reasons []string
	for _, o := range got {
		reasons = append(reasons, o.Candidate.Element+": "+o.Reason)
	}
	want := []string{
		"hw: ", "a: ", "crashes: crashed: SIGSEGV: segmentation violation", "b: ",
		"exits: the process failed: exit status 3: assertion failed: dev != NULL", "noisy: ",
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(reasons, "\n"), strings.Join(want, "\n"))
	}
}

func TestChildrenKillWhatIsStuck(t *testing.T) {
	t.Parallel()
	r := runners(t, box{"stuck": stuck, "good": right})["children"]
	start := time.Now()
	got := outcomes(r, job("stuck", Stateless), job("good", Software))
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if len(got) != 2 || got[0].Reason != "timed out after 3s" || got[1].Reason != "" {
		t.Errorf("%+v", got)
	}
}

func TestChildrenThatCannotStart(t *testing.T) {
	got := outcomes(Children{Exe: "/nowhere/watchpost"}, job("a", Software), job("b", VA))
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, o := range got {
		if !strings.HasPrefix(o.Reason, "cannot be proven: ") {
			t.Errorf("%+v", o)
		}
	}
}

func TestServeProofsRefusesGarbage(t *testing.T) {
	if err := ServeProofs(context.Background(), box{}, "h264", &strings.Builder{}); err == nil {
		t.Error("no error")
	}
}

// board is a made-up box with hardware of every temper.
var board = box{
	"v4l2slh264dec": bars, "v4l2slvideo3h264dec": right, "v4l2h264dec": hangs, "vah264dec": right, "avdec_h264": right,
	"openh264dec": fails, "v4l2vp8dec": green, "vp8dec": right, "avdec_vp8": right, "mppvideodec": right,
	"v4l2h264enc": green, "openh264enc": right, "x264enc": right, "vp8enc": fails, "identity": right,
	"vaapijpegdec": short,
}

func surveyBoard(t *testing.T) *Report {
	t.Helper()
	present := func(pattern string) []string {
		return map[string][]string{"/dev/video*": {"/dev/video0", "/dev/video3"}, "/dev/mpp_service": {"/dev/mpp_service"}}[pattern]
	}
	acc := []Accelerator{{Name: "CPU", Proven: true}}
	r, err := Survey(context.Background(), board, Options{nodes: present, cameras: noCameras, GStreamer: "1.22.0", Accelerators: acc})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.Accelerators, acc) || r.GStreamer != "1.22.0" || r.Kernel == "" || r.TakenAt.IsZero() || r.Duration <= 0 {
		t.Errorf("%+v", r)
	}
	return r
}

func TestSurvey(t *testing.T) {
	r := surveyBoard(t)
	wantDecoders := map[string][]string{
		"h264": {"v4l2slvideo3h264dec", "mppvideodec", "vah264dec", "avdec_h264"},
		"h265": {"mppvideodec"}, "vp9": {"mppvideodec"},
		"vp8": {"mppvideodec", "vp8dec", "avdec_vp8"},
	}
	if got := r.Decoders(); !reflect.DeepEqual(got, wantDecoders) {
		t.Errorf("decoders: %v, want %v", got, wantDecoders)
	}
	if got, want := r.Encoders(), map[string][]string{"h264": {"openh264enc", "x264enc"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("encoders: %v, want %v", got, want)
	}
	refused := r.Refused()
	slices.Sort(refused)
	if want := []string{"openh264dec", "v4l2h264dec", "v4l2h264enc", "v4l2slh264dec", "v4l2vp8dec", "vaapijpegdec", "vp8enc"}; !slices.Equal(refused, want) {
		t.Errorf("refused: %v, want %v", refused, want)
	}
	reasons := map[string]string{}
	chosen := map[string]string{}
	for _, e := range r.Elements {
		reasons[e.Codec+" "+e.Element] = e.Reason
		if e.Chosen {
			chosen[string(e.Role)+" "+e.Codec] = e.Element
		}
		if e.Proven == (e.Reason != "") {
			t.Errorf("%+v: neither proven nor refused", e)
		}
	}
	for element, reason := range map[string]string{
		"h264 v4l2slh264dec": "decoded a wrong picture (luma of picture 1 differs by ",
		"h264 v4l2h264dec":   "timed out after 3s",
		"h264 nvh264dec":     "no device (/dev/nvidia[0-9]*)",
		"h264 vaapih264dec":  "no device (/dev/dri/renderD*)",
		"vp9 v4l2slvp9dec":   "not offered by any device (/dev/video*) for vp9",
		"av1 dav1ddec":       "element not installed",
		"h264 v4l2h264enc":   "what it encoded, looked at through avdec_h264: decoded a wrong picture",
		"vp8 vp8enc":         "no such profile",
	} {
		if got, ok := reasons[element]; !ok || !strings.HasPrefix(got, reason) {
			t.Errorf("%s: %q, want %q", element, got, reason)
		}
	}
	if want := map[string]string{
		"decode h264": "v4l2slvideo3h264dec", "decode h265": "mppvideodec", "decode vp8": "mppvideodec",
		"decode vp9": "mppvideodec", "encode h264": "openh264enc",
	}; !reflect.DeepEqual(chosen, want) {
		t.Errorf("chosen: %v", chosen)
	}
}

func TestSurveyInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("going down")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	r, err := Survey(ctx, box{"v4l2h264dec": hangs}, Options{cameras: noCameras})
	if r != nil || !errors.Is(err, why) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestEncoderWithoutAJudge(t *testing.T) {
	o := Prove(context.Background(), board, Candidate{Encode, "h264", "x264enc", Software}, "")
	if !strings.Contains(o.Reason, "no proven decoder") {
		t.Errorf("%+v", o)
	}
}

func TestProvisional(t *testing.T) {
	r := Provisional()
	if got := r.Decoders()["h264"]; !slices.Equal(got, []string{"avdec_h264", "openh264dec"}) {
		t.Errorf("h264: %v", got)
	}
	if got := r.Encoders()["h264"]; !slices.Equal(got, []string{"openh264enc", "x264enc"}) {
		t.Errorf("h264: %v", got)
	}
	if len(r.Decoders()) != len(codecOrder) || len(r.Refused()) != 0 {
		t.Errorf("%v, refused %v", r.Decoders(), r.Refused())
	}
	for _, e := range r.Elements {
		if e.Proven || e.Kind.Hardware() {
			t.Errorf("%+v", e)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine(" a\n\tb  c "); got != "a b c" {
		t.Errorf("%q", got)
	}
	if got := oneLine(strings.Repeat("é", 300)); len(got) > 210 || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
}
