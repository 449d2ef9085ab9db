package livebench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live"
)

// Options of a run; zero values mean the figures in the comments.
type Options struct {
	Viewers int           // 50
	Bitrate int           // bits a second: 2,000,000
	FPS     int           // 30
	GOP     int           // frames between keyframes: 60
	Measure time.Duration // how long each state is measured: 10 s
	// TCP has the viewers connect by ICE-TCP.
	TCP bool
	Log *slog.Logger
}

// Result of a run. Per-viewer figures are the difference to no viewers,
// divided by their number.
type Result struct {
	Viewers int
	// BaseCPU and CPU are the process's CPU time per second, without and with the viewers.
	BaseCPU, CPU time.Duration
	// CPUPerViewer is per second and viewer.
	CPUPerViewer time.Duration
	// BaseRSS and RSS in bytes, after a garbage collection whose pages went back
	// to the system; PeakRSS is the most seen while measuring, without that.
	BaseRSS, RSS, PeakRSS int64
	MemoryPerViewer       int64
	// PeakMemoryPerViewer is the same of PeakRSS.
	PeakMemoryPerViewer int64
	// HeapPerViewer and GoroutinesPerViewer, of the Go runtime.
	HeapPerViewer       int64
	GoroutinesPerViewer float64
	// Received is what the viewers together got, in bits a second, and Lost
	// the packets missing in their sequence numbers, less those that came again
	// for nothing.
	ReceivedBitrate float64
	ReceivedUnits   uint64
	Lost            int64
	// Setup is the time from the first offer until the last viewer had a keyframe.
	Setup time.Duration
	// DatagramsPerCall shows how well sending is gathered.
	DatagramsPerCall float64
	Stats            live.Stats
}

func (o *Options) defaults() {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.Viewers, 50)
	set(&o.Bitrate, 2_000_000)
	set(&o.FPS, 30)
	set(&o.GOP, 60)
	if o.Measure <= 0 {
		o.Measure = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Run measures. It takes about twice Options.Measure, and 3 s.
func Run(ctx context.Context, o Options) (res Result, err error) {
	o.defaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := live.New(live.Deps{Log: o.Log}, live.Config{
		UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", MaxViewers: o.Viewers + 1})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return res, fmt.Errorf("listen: %w", err)
	}
	web := &http.Server{Handler: server.Handler()}
	served := make(chan struct{})
	go func() { defer close(served); _ = web.Serve(l) }()
	defer func() { _ = web.Close(); <-served }()

	source := newSource(o)
	stream := server.Stream("bench", source)
	published := make(chan struct{})
	go func() { defer close(published); source.run(ctx, stream) }()
	defer func() { cancel(); <-published }()

	// Without viewers, but with the source running, after a first viewer has
	// come and gone: code pages and pools that one viewer needs are the
	// program's, not the viewers'.
	if err = warm(ctx, l.Addr().String(), o); err != nil {
		return res, err
	}
	base, err := sample(ctx, o.Measure, nil)
	if err != nil {
		return res, err
	}
	clients, err := startClients(ctx, l.Addr().String(), o, o.Viewers)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, clients.stop()) }()
	before := server.Stats()
	with, err := sample(ctx, o.Measure, clients)
	if err != nil {
		return res, err
	}
	res = compare(o, base, with)
	res.Setup = clients.setup
	res.Stats = server.Stats()
	if calls := res.Stats.SendCalls - before.SendCalls; calls > 0 {
		res.DatagramsPerCall = float64(res.Stats.Datagrams-before.Datagrams) / float64(calls)
	}
	return res, nil
}

func warm(ctx context.Context, address string, o Options) error {
	c, err := startClients(ctx, address, o, 1)
	if err != nil {
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}

// state of the process over a while.
type state struct {
	cpu, wall  time.Duration
	rss, peak  int64
	heap       int64
	goroutines int
	report     report
}

func sample(ctx context.Context, d time.Duration, c *clients) (s state, err error) {
	var first report
	if c != nil {
		if first, err = c.report(); err != nil {
			return s, err
		}
	}
	start, cpu := time.Now(), cpuTime()
	for end := start.Add(d); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(min(time.Second, time.Until(end))):
		}
		s.peak = max(s.peak, rss())
	}
	s.cpu, s.wall = cpuTime()-cpu, time.Since(start)
	if c != nil {
		last, err := c.report()
		if err != nil {
			return s, err
		}
		s.report = report{Bytes: last.Bytes - first.Bytes, Units: last.Units - first.Units, Lost: last.Lost - first.Lost}
	}
	s.goroutines = runtime.NumGoroutine()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.heap, s.rss = int64(m.HeapAlloc), rss()
	return s, nil
}

func compare(o Options, base, with state) Result {
	n := o.Viewers
	perSecond := func(s state) time.Duration { return time.Duration(float64(s.cpu) / s.wall.Seconds()) }
	return Result{
		Viewers: n, BaseCPU: perSecond(base), CPU: perSecond(with),
		CPUPerViewer: (perSecond(with) - perSecond(base)) / time.Duration(n),
		BaseRSS:      base.rss, RSS: with.rss, PeakRSS: with.peak,
		MemoryPerViewer:     (with.rss - base.rss) / int64(n),
		PeakMemoryPerViewer: (with.peak - base.rss) / int64(n),
		HeapPerViewer:       (with.heap - base.heap) / int64(n),
		GoroutinesPerViewer: float64(with.goroutines-base.goroutines) / float64(n),
		ReceivedBitrate:     float64(with.report.Bytes) * 8 / with.wall.Seconds(),
		ReceivedUnits:       with.report.Units, Lost: with.report.Lost,
	}
}

// cpuTime is the process's, user and system.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// rss reads the resident memory, in bytes.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// clients is the process with the viewers. It answers each line on its standard
// input with a report, and ends when that is closed.
type clients struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	setup time.Duration
}

// report is what the viewers got so far, all together.
type report struct {
	Bytes, Units uint64
	Lost         int64
	Error        string `json:",omitempty"`
}

func startClients(ctx context.Context, address string, o Options, n int) (*clients, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), clientEnv+"="+strings.Join([]string{address, strconv.Itoa(n), strconv.FormatBool(o.TCP)}, ","))
	cmd.Stderr = os.Stderr
	c := &clients{cmd: cmd}
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start viewers: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start viewers: %w", err)
	}
	c.out = bufio.NewScanner(out)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start viewers: %w", err)
	}
	if _, err := c.read(); err != nil { // the first report: all are connected
		return nil, errors.Join(err, c.stop())
	}
	c.setup = time.Since(start)
	return c, nil
}

func (c *clients) report() (report, error) {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		return report{}, fmt.Errorf("ask viewers for a report: %w", err)
	}
	return c.read()
}

func (c *clients) read() (r report, err error) {
	if !c.out.Scan() {
		return r, fmt.Errorf("viewers ended early: %w", errors.Join(c.out.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("read viewers' report: %w", err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("viewers: %s", r.Error)
	}
	return r, nil
}

func (c *clients) stop() error {
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("viewers: %w", err)
	}
	return nil
}
