package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// seen is what one Read gave.
type seen struct {
	frames    int
	infos     []Info
	warnings  []string
	pts       []time.Duration
	backwards int     // frames that are not later than the one before
	luma      float64 // mean of the last frame
	err       error
	took      time.Duration
}

// readAll reads a source to its end, and looks at every frame.
func readAll(t testing.TB, src plan.Source) seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var s seen
	start := time.Now()
	last := time.Duration(-1)
	s.err = Read(ctx, src, Handlers{
		Info:    func(i Info) { s.infos = append(s.infos, i) },
		Warning: func(w string) { s.warnings = append(s.warnings, w) },
		Frame: func(f *Frame) {
			s.frames++
			s.pts = append(s.pts, f.PTS)
			if f.PTS <= last {
				s.backwards++
			}
			last = f.PTS
			s.luma = meanLuma(f)
			f.Release()
		},
	})
	s.took = time.Since(start)
	return s
}

func meanLuma(f *Frame) float64 {
	sum, n := 0, 0
	for y := 0; y < f.Height; y += 4 {
		row := f.Planes[0][y*f.Stride[0] : y*f.Stride[0]+f.Width]
		for x := 0; x < len(row); x += 4 {
			sum += int(row[x])
			n++
		}
	}
	return float64(sum) / float64(n)
}

func TestEveryFile(t *testing.T) {
	dir := media(t)
	for _, pattern := range []string{"video/*", "broken/*", "image/*"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				s := readAll(t, plan.Source{URL: file})
				var e *Error
				if s.err != nil && !errors.As(s.err, &e) {
					t.Fatalf("error is no *Error: %v", s.err)
				}
				if s.backwards > 0 {
					t.Errorf("%d frames are not later than the frame before", s.backwards)
				}
				for _, text := range append(s.warnings, fmt.Sprint(s.err)) {
					// Tracks of data are nobody's business, and so are the user's folders.
					if strings.Contains(text, "meta/") || strings.Contains(text, dir) {
						t.Errorf("it says %q", text)
					}
				}
				line := fmt.Sprintf("%d frames, luma %.0f, in %d ms", s.frames, s.luma, s.took.Milliseconds())
				for _, i := range s.infos {
					line += fmt.Sprintf("\n  %s %dx%d %.2f fps rot %d dec %s in %s dur %v vfr %t", i.Codec, i.Width, i.Height, i.FPS, i.Rotation, i.Decoder, i.Container, i.Duration, i.VariableRate)
				}
				if n := len(s.pts); n > 0 {
					line += fmt.Sprintf("\n  pts %v … %v", s.pts[0], s.pts[n-1])
				}
				for _, w := range s.warnings {
					line += "\n  warning: " + w
				}
				if s.err != nil {
					line += fmt.Sprintf("\n  error %s: %v", e.Kind, e)
				}
				t.Log(line)
			})
		}
	}
}

// GStreamer loses the error of a demuxer that is quicker to fail than to be
// plugged in, in one run of a few of one process.
func TestFileWithoutTracksFailsSoon(t *testing.T) {
	file := filepath.Join(media(t), "broken/chunk_out_of_range.mp4")
	runs := 12
	var worst time.Duration
	for range runs {
		s := readAll(t, plan.Source{URL: file})
		var e *Error
		if !errors.As(s.err, &e) || e.Kind != Damaged {
			t.Fatal(s.err)
		}
		worst = max(worst, s.took)
	}
	t.Logf("%d runs, the longest %v", runs, worst)
	// A demuxer that is only slow is waited for so long.
	if worst > pluggingTime+3*time.Second {
		t.Errorf("one took %v", worst)
	}
}
