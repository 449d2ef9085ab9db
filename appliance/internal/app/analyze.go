package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
)

// AnalyzeOptions are what Program.Analyze is asked for.
type AnalyzeOptions struct {
	File, Out string
	// Model is an installed model's name, a path, or "motion"; empty: the
	// default model if it is installed, else motion.
	Model     string
	Threshold float32
	Classes   []string
	Gate      bool
	MaxFPS    float64
	NoVideo   bool
	Threads   int
	DataDir   string
	Quiet     bool
}

// Analyze analyses one file in a media worker, as the box does with a file that
// was pushed to it, and leaves the results in a folder.
func (p Program) Analyze(ctx context.Context, o AnalyzeOptions) error {
	file, out, err := analyzePaths(o)
	if err != nil {
		return err
	}
	data, err := dataDir(o.DataDir)
	if err != nil {
		return err
	}
	model, err := p.findModel(filepath.Join(data, "models"), o.Model)
	if err != nil {
		return err
	}
	start := link.Start{
		Camera: filepath.Base(file), Mode: "file", Source: link.Source{URL: file},
		Model: model.path, Threshold: o.Threshold, Classes: o.Classes, Gate: o.Gate, MaxFPS: o.MaxFPS,
		OutDir: out, NoVideo: o.NoVideo, Threads: o.Threads, Confine: true,
	}
	if model.note != "" && !o.Quiet {
		fmt.Fprintln(os.Stderr, model.note)
	}
	done, err := p.analyzeInWorker(ctx, data, start, newProgress(os.Stderr, o.Quiet))
	if err != nil {
		// A worker that was killed could not clear up after itself.
		return cleared(err, results.Discard(out))
	}
	if !o.Quiet {
		l := done.Ledger
		fmt.Fprintf(os.Stderr, "%s: %d frames: %d analysed, %d skipped, %d failed; results in %s\n",
			filepath.Base(file), l.Decoded, l.Inferred, l.Skipped(), l.Failed+l.Dropped, o.Out)
		for _, w := range done.Warnings {
			fmt.Fprintln(os.Stderr, "warning:", w)
		}
	}
	return nil
}

func analyzePaths(o AnalyzeOptions) (file, out string, err error) {
	// Written so that "not a number" is refused too.
	if !(o.Threshold >= 0 && o.Threshold <= 1 && o.MaxFPS >= 0 && o.MaxFPS <= maxFPS && o.Threads >= 0) {
		return "", "", of(ErrUsage, "--threshold is 0 to 1, --max-fps 0 to %d, and --threads is not negative", maxFPS)
	}
	info, err := os.Stat(o.File)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", "", of(ErrInput, "%s: there is no such file", legible(o.File))
	case err != nil:
		return "", "", of(ErrInput, "open the source: %s: %v", legible(o.File), errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return "", "", of(ErrInput, "%s is not a file", legible(o.File))
	case info.Size() == 0:
		return "", "", of(ErrInput, "%s is empty", legible(o.File))
	}
	if file, err = filepath.Abs(o.File); err != nil {
		return "", "", err
	}
	if out, err = filepath.Abs(o.Out); err != nil {
		return "", "", err
	}
	for _, name := range results.Names() {
		if old, err := os.Stat(filepath.Join(out, name)); err == nil && os.SameFile(info, old) {
			return "", "", of(ErrUsage, "the results would replace %s itself: choose another folder with --out", o.File)
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", "", of(ErrOutput, "make the results folder: %v", err)
	}
	return file, out, nil
}

// legible is a path fit for a line of text: a name may hold a line break.
func legible(path string) string {
	if strings.ContainsFunc(path, unicode.IsControl) {
		return strconv.Quote(path)
	}
	return path
}

// maxFPS is more than any source has.
const maxFPS = 1000

// analyzeInWorker runs start to its end. A worker that dies costs this one
// analysis and is reported in one line.
func (p Program) analyzeInWorker(ctx context.Context, data string, start link.Start, show *progress) (link.Done, error) {
	spawner, err := worker.New(workerConfig(data, 0), p.Log)
	if err != nil {
		return link.Done{}, err
	}
	defer spawner.Close()
	var done atomic.Pointer[link.Done]
	w, err := spawner.Start(ctx, start, func(m link.Message) {
		switch v := m.Value.(type) {
		case link.Beat:
			show.beat(v)
		case link.Done:
			done.Store(&v)
		}
	}, nil)
	if err != nil {
		return link.Done{}, err
	}
	stopped := context.AfterFunc(ctx, w.Stop)
	exit := w.Wait()
	stopped()
	show.end()
	if err := ctx.Err(); err != nil {
		return link.Done{}, err
	}
	if d := done.Load(); d != nil && exit.Fault == nil && exit.Code == 0 {
		return *d, nil
	}
	name := legible(filepath.Base(start.Source.URL))
	if exit.Fault != nil {
		// The engine names the source too.
		why := strings.TrimPrefix(strings.TrimPrefix(exit.Fault.Message, start.Source.URL+": "), filepath.Base(start.Source.URL)+": ")
		return link.Done{}, of(kindOf(exit.Fault.Kind), "%s: %s", name, why)
	}
	text := fmt.Sprintf("%s: the media worker died", name)
	if exit.Err != nil {
		text = fmt.Sprintf("%s: %v", name, exit.Err)
	}
	if last := link.LastWord(exit.Stderr); last != "" {
		text += ": " + strings.TrimSpace(last)
	}
	return link.Done{}, of(ErrInput, "%s", text)
}

// cleared is err, with what went wrong in clearing up after it.
func cleared(err, left error) error {
	if left == nil {
		return err
	}
	return fmt.Errorf("%w; unfinished results are left: %w", err, left)
}

// niceness of the box's media workers: the control process's timers, which keep
// viewers connected, win over decoding and inference on a box that is busy.
const niceness = 5

// workerConfig is how media workers are started.
func workerConfig(data string, nice int) worker.Config {
	return worker.Config{Args: []string{"worker", "--data", data}, Nice: nice}
}

// progress is one line that is written over, on a terminal only.
type progress struct {
	w     io.Writer
	began time.Time
	last  int
}

func newProgress(f *os.File, quiet bool) *progress {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if quiet || err != nil {
		return &progress{}
	}
	return &progress{w: f, began: time.Now()}
}

func (p *progress) beat(b link.Beat) {
	if p.w == nil {
		return
	}
	var s string
	frames := b.Ledger.Decoded
	rate := float64(frames) / time.Since(p.began).Seconds()
	if b.Duration > 0 {
		share := min(1, b.Position.Seconds()/b.Duration.Seconds())
		s = fmt.Sprintf("%3.0f%%  %d frames  %.0f/s", 100*share, frames, rate)
	} else {
		s = fmt.Sprintf("%d frames  %.0f/s", frames, rate)
	}
	fmt.Fprintf(p.w, "\r%-*s", p.last, s)
	p.last = len(s)
}

func (p *progress) end() {
	if p.w != nil && p.last > 0 {
		fmt.Fprintf(p.w, "\r%-*s\r", p.last, "")
	}
}
