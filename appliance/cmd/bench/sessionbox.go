package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// The loops' histograms, as /metrics has them.
const (
	loopDelay    = "watchpost_loop_delay_seconds"
	loopDelayMax = "watchpost_loop_delay_max_seconds"
	loopCallback = "watchpost_loop_callback_seconds"
)

// startSessionBox runs the program with room for many sessions and a data folder of its
// own; more is added to the configuration's end.
func (b *bench) startSessionBox(ctx context.Context, more string) (*box, error) {
	return b.startPushBox(ctx, "127.0.0.1:0", "sessions: {most: 128}\n"+more)
}

// metrics reads /metrics.
func (x *box) metrics(ctx context.Context) (families map[string]*dto.MetricFamily, err error) {
	err = x.get(ctx, "/metrics", func(r io.Reader) error {
		p := expfmt.NewTextParser(model.UTF8Validation)
		families, err = p.TextToMetricFamilies(r)
		return err
	})
	return families, err
}

// gauge is the value of a metric without labels; 0: there is none.
func gauge(families map[string]*dto.MetricFamily, name string) float64 {
	for _, m := range families[name].GetMetric() {
		switch {
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Untyped != nil:
			return m.Untyped.GetValue()
		}
	}
	return 0
}

// label of a metric.
func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// process is what one process holds at a moment.
type process struct {
	pid     int
	rss     int64
	fds     int
	sockets int
	cpu     time.Duration
	waited  time.Duration // what its children used that have ended
}

func look(pid int) (process, error) {
	p := process{pid: pid, rss: rssOf(pid)}
	p.cpu, p.waited = cpuOf(pid)
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return p, fmt.Errorf("look at the box: %w", err)
	}
	p.fds = len(list)
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			p.sockets++
		}
	}
	return p, nil
}

// cpuOf is the processor time that a process has used, and that of its children which
// have ended.
func cpuOf(pid int) (own, waited time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// "pid (name) state …": utime, stime, cutime and cstime are the 12th to 15th after
	// the name (proc(5)).
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 15 {
		return 0, 0
	}
	var v [4]time.Duration
	for i := range v {
		n, _ := strconv.ParseInt(f[11+i], 10, 64) // the kernel writes numbers
		v[i] = time.Duration(n) * tick
	}
	return v[0] + v[1], v[2] + v[3]
}

// children are the processes that a process has started and that have not been
// waited for.
func children(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is right
	for _, t := range tasks {
		data, err := os.ReadFile(t)
		if err != nil {
			continue // a thread that has ended
		}
		for _, f := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// filesUnder lists the files below a folder with their sizes, links to elsewhere left out.
func filesUnder(dir string) (map[string]int64, error) {
	found := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return nil // what is removed while we look is not left behind
		}
		info, err := d.Info()
		if err == nil {
			found[strings.TrimPrefix(path, dir+"/")] = info.Size()
		}
		return nil
	})
	return found, err
}

// filmOf reads a file to upload.
func filmOf(path string) (client.Film, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return client.Film{}, err
	}
	return client.Film{ReaderAt: bytes.NewReader(data), Size: int64(len(data))}, nil
}

// collect has the box free what nobody holds, so that memory can be compared; a box
// that does not let itself be asked frees it in its own time.
func (x *box) collect(ctx context.Context, data string) {
	unix := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(data, "debug.sock"))
	}}
	defer unix.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://box/heap?gc=1", nil)
	if err != nil {
		return
	}
	res, err := (&http.Client{Transport: unix}).Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, res.Body) // the profile itself is of no interest
	res.Body.Close()
}
