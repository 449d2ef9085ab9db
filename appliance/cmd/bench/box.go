package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// box is a running watchpost.
type box struct {
	cmd *exec.Cmd
	url string
}

// startBox runs the program on one source, with ports of its own.
func (b *bench) startBox(ctx context.Context, source, listen string) (*box, error) {
	cfg := fmt.Sprintf("listen: %q\ndata_dir: %q\nlog: {level: error}\nwebrtc: {listen: \"127.0.0.1:0\"}\nmodels: {dir: %q, default: yolox_nano}\ncameras:\n  - {id: cam, source: %q}\n",
		listen, b.data, filepath.Join(b.media, "models"), source)
	path := filepath.Join(b.tmp, "box.yaml")
	if err := os.WriteFile(path, []byte(cfg), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.binary, "run", "-c", path)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return started(cmd)
}

// started starts a program whose first line is "NAME: URL".
func started(cmd *exec.Cmd) (*box, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, url, found := strings.Cut(strings.TrimSpace(line), ": ")
	if err != nil || !found {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("%s did not print its address but %q: %w", filepath.Base(cmd.Path), line, errorsFirst(err, cmd.Wait()))
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	return &box{cmd: cmd, url: url}, nil
}

// stopTime is what a box may take to end after SIGTERM.
const stopTime = 30 * time.Second

func (x *box) stop() error {
	_ = x.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	late := time.AfterFunc(stopTime, func() {
		fmt.Fprintf(os.Stderr, "bench: the box did not end within %v of SIGTERM, and is killed: what it waits for follows\n", stopTime)
		_ = x.cmd.Process.Signal(syscall.SIGQUIT) // it may end at last
	})
	defer late.Stop()
	return x.cmd.Wait()
}

func (x *box) whep() string { return x.url + "/api/v1/cameras/cam/whep" }

// camera is what the API tells of the one camera.
type camera struct {
	State  string
	Reason string
	Ledger struct {
		Decoded, Inferred, Dropped, Failed uint64
		PicturesSent                       uint64 `json:"pictures_sent"`
		PicturesDropped                    uint64 `json:"pictures_dropped"`
		Balanced                           bool
	}
	Rates struct {
		AnalyseMS float64 `json:"analyse_ms"`
		EncodeMS  float64 `json:"encode_ms"`
		SourceFPS float64 `json:"source_fps"`
	}
	Worker *struct {
		PID        int
		RSS        int64   `json:"rss_bytes"`
		CPUSeconds float64 `json:"cpu_seconds"`
	}
	Analyser string
	Encoder  string
}

func (x *box) camera(ctx context.Context) (camera, error) {
	var c camera
	err := x.get(ctx, "/api/v1/cameras/cam", func(r io.Reader) error { return json.NewDecoder(r).Decode(&c) })
	return c, err
}

// system is the control process's resident memory.
func (x *box) system(ctx context.Context) (rss int64, err error) {
	var s struct {
		RSS int64 `json:"rss_bytes"`
	}
	err = x.get(ctx, "/api/v1/system", func(r io.Reader) error { return json.NewDecoder(r).Decode(&s) })
	return s.RSS, err
}

// histogram reads one histogram without labels.
func (x *box) histogram(ctx context.Context, name string) (*dto.Histogram, error) {
	return x.labelled(ctx, name, nil)
}

// loopHistogram reads the histogram of one control loop.
func (x *box) loopHistogram(ctx context.Context, name, loop string) (*dto.Histogram, error) {
	return x.labelled(ctx, name, func(l []*dto.LabelPair) bool {
		return slices.ContainsFunc(l, func(p *dto.LabelPair) bool { return p.GetName() == "loop" && p.GetValue() == loop })
	})
}

// labelled reads the first histogram of a name whose labels are meant.
func (x *box) labelled(ctx context.Context, name string, meant func([]*dto.LabelPair) bool) (*dto.Histogram, error) {
	var h *dto.Histogram
	err := x.get(ctx, "/metrics", func(r io.Reader) error {
		p := expfmt.NewTextParser(model.UTF8Validation)
		families, err := p.TextToMetricFamilies(r)
		if err != nil {
			return err
		}
		f := families[name]
		for _, m := range f.GetMetric() {
			if m.Histogram != nil && (meant == nil || meant(m.Label)) {
				h = m.Histogram
				return nil
			}
		}
		return fmt.Errorf("no histogram %s", name)
	})
	return h, err
}

func (x *box) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.url+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, res.Status)
	}
	return read(res.Body)
}

// quantile of what was observed between two readings of a histogram, linear
// within a bucket.
func quantile(q float64, before, after *dto.Histogram) float64 {
	total := float64(after.GetSampleCount() - before.GetSampleCount())
	rank := q * total
	low, seen := 0.0, 0.0
	for i, b := range after.Bucket {
		n := float64(b.GetCumulativeCount() - before.Bucket[i].GetCumulativeCount())
		if n >= rank && n > seen {
			if math.IsInf(b.GetUpperBound(), 1) {
				return low // at least
			}
			return low + (b.GetUpperBound()-low)*(rank-seen)/(n-seen)
		}
		low, seen = b.GetUpperBound(), n
	}
	return low
}
