package media

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

func TestUnusableModels(t *testing.T) {
	needRuntime(t)
	bad := filepath.Join(t.TempDir(), "bad.onnx")
	if err := os.WriteFile(bad, []byte("this is no network"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]link.Start{
		"no file":   {Model: filepath.Join(t.TempDir(), "none.onnx")},
		"no model":  {Model: bad},
		"no labels": {Model: yolox(t), Classes: []string{"persn"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fileStart(t, "video/face_h264.mp4")
			f.Model, f.Classes = start.Model, start.Classes
			s := begin(t, f)
			if err := s.wait(10 * time.Second); err == nil || s.fault == nil || s.fault.Kind != link.FaultModel || strings.Contains(s.fault.Message, "\n") {
				t.Fatalf("%v, fault %+v", err, s.fault)
			}
			t.Log(s.fault.Message)
			if left := names(t, f.OutDir); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// brittle fails at every frame from one on.
type brittle struct{ good, seen int }

var errBrittle = errors.New("the accelerator is gone")

func (*brittle) InputSize(int, int) (int, int) { return 64, 64 }
func (*brittle) Close() error                  { return nil }
func (b *brittle) Detect(vision.RGB, int, int) ([]vision.Detection, error) {
	if b.seen++; b.seen > b.good {
		return nil, errBrittle
	}
	return nil, nil
}

// drawn plays n frames of noise-free pictures and counts those that came back.
func drawn(n int) read {
	return func(ctx context.Context, _ plan.Source, h engine.Handlers) error {
		h.Info(engine.Info{Codec: "drawn", Width: 320, Height: 240, FPS: 30})
		for i := range n {
			f, err := engine.NewFrame(plan.I420, 320, 240)
			if err != nil {
				return err
			}
			for p := range f.Planes {
				for k := range f.Planes[p] {
					f.Planes[p][k] = 128
				}
			}
			f.PTS = time.Duration(i) * time.Second / 30
			h.Frame(f)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	}
}

// A model that fails now and then is counted; one that goes on failing ends the
// road, with no frame and no balance lost.
func TestFailingModel(t *testing.T) {
	for _, c := range []struct {
		name         string
		frames, good int
		ends         bool
	}{
		{"at the end of a file", 40, 20, false},
		{"for good", 400, 5, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tracker, err := track.New(track.Config{})
			if err != nil {
				t.Fatal(err)
			}
			lines := 0
			r := &road{
				read: drawn(c.frames), ledger: &ledger{}, limiter: &limiter{}, rate: &rateMeter{},
				analysis: &analysis{detector: &brittle{good: c.good}, scaler: engine.NewScaler(), tracker: tracker},
				analyse:  newQueue(fileDepth, false), log: slog.New(slog.DiscardHandler),
				onInfo:     func(engine.Info) error { return nil },
				onAnalysed: func(*job, int, int, []vision.Track) error { lines++; return nil },
			}
			defer r.analysis.close()
			err = r.run(t.Context())
			l := r.ledger.snapshot()
			balanced(t, l)
			if lines != c.good || l.Inferred != uint64(c.good) {
				t.Errorf("%d frames were told of, %+v", lines, l)
			}
			if !c.ends {
				if err != nil || l.Decoded != uint64(c.frames) || l.Failed != uint64(c.frames-c.good) || !errors.Is(r.failure, errBrittle) {
					t.Errorf("%v, %+v", err, l)
				}
				return
			}
			if f := faultOf(err); f.Kind != link.FaultModel || !strings.Contains(f.Message, errBrittle.Error()) {
				t.Errorf("it ended with %v", err)
			}
			if l.Failed != tooManyFailures || l.Decoded > uint64(c.good+tooManyFailures+2*fileDepth) {
				t.Errorf("it went on: %+v", l)
			}
		})
	}
}

// A file of which no frame could be analysed is no result, however short.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name  string
		fates []fate
		err   error
		want  link.FaultKind // empty: a result
		warns bool
	}{
		{name: "all analysed", fates: []fate{inferred, inferred}},
		{name: "nothing decoded", want: link.FaultDamaged},
		{name: "nothing decoded, for a reason", err: &engine.Error{Kind: engine.NoVideo, Message: "sound only"}, want: link.FaultNoVideo},
		{name: "model failed throughout", fates: []fate{failed, failed}, want: link.FaultModel},
		{name: "some failed", fates: []fate{failed, inferred}},
		{name: "nothing moves", fates: []fate{skippedMotion}},
		{name: "breaks off", fates: []fate{inferred}, err: &engine.Error{Kind: engine.Damaged, Message: "cut"}, warns: true},
		{name: "disk full", fates: []fate{inferred}, err: link.Fault{Kind: link.FaultOutput, Message: "no space"}, want: link.FaultOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &worker{road: &road{failure: errBrittle}}
			for _, f := range c.fates {
				w.ledger.decoded()
				w.ledger.settle(f)
			}
			err := w.verdict(c.err)
			if (err == nil) != (c.want == "") || err != nil && faultOf(err).Kind != c.want {
				t.Errorf("%v, want %q", err, c.want)
			}
			if warned := len(w.warnings.list()) > 0; warned != c.warns {
				t.Errorf("warnings: %v", w.warnings.list())
			}
		})
	}
}
