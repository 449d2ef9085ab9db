package media

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// BenchmarkSessionAgainstFile analyses the same file in both modes, in turns, and
// reports the frames a second of each and their ratio.
func BenchmarkSessionAgainstFile(b *testing.B) {
	if acceltest.Library() == "" {
		b.Skip("no ONNX Runtime: run scripts/setup")
	}
	source, model := acceltest.Media(b, "video/face_h264.mp4"), acceltest.Media(b, "models/yolox_nano.onnx")
	session := link.Start{Mode: "session", Source: link.Source{URL: source}, Model: model, Session: &link.Session{
		Outputs: []link.Output{{Name: "found", Of: link.Detected}, {Name: "tracked", Of: link.Tracked}}, Tracker: &link.Tracker{},
		Select: link.Select{All: true}, Credit: link.Credit{Through: 1 << 40},
	}}
	file := link.Start{Mode: "file", Source: link.Source{URL: source}, Model: model, NoVideo: true}
	took := map[string]time.Duration{}
	frames := map[string]uint64{}
	for n := range b.N {
		for _, start := range []link.Start{file, session} {
			start.OutDir = filepath.Join(b.TempDir(), fmt.Sprint("out", n))
			began := time.Now()
			s := begin(b, start)
			if err := s.wait(time.Minute); err != nil {
				b.Fatal(err)
			}
			took[start.Mode] += time.Since(began)
			frames[start.Mode] += s.done.Ledger.Inferred
		}
	}
	rate := func(mode string) float64 { return float64(frames[mode]) / took[mode].Seconds() }
	b.ReportMetric(rate("file"), "file-fps")
	b.ReportMetric(rate("session"), "session-fps")
	b.ReportMetric(rate("session")/rate("file"), "ratio")
}
