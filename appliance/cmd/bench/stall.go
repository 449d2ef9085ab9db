package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	stallTime    = 60 * time.Second
	stallScrape  = 5 * time.Second
	stallUploads = 2
	stallSize    = 500_000_000
	stallPicture = 4
	stallViewers = 20
	// stallProfileEnv names a folder for a CPU profile of the control process in that minute.
	stallProfileEnv = "WATCHPOST_STALL_PROFILE"
)

// stall measures how late the control process's loops are served while workers keep
// every core busy and peers send and take as much as they can.
func stall(ctx context.Context, b *bench) error {
	if err := b.gstreamer(); err != nil {
		return err
	}
	clip, err := b.clip(ctx, "1080p.mp4", 1920, 1080)
	if err != nil {
		return err
	}
	small, err := b.clip(ctx, "720p.mp4", 1280, 720)
	if err != nil {
		return err
	}
	x, err := b.startBoxWith(ctx, "127.0.0.1:0", fmt.Sprintf("cameras:\n  - {id: cam, source: %q, model: yolox_nano}\n  - {id: yard, source: %q, model: yolox_nano}\n"+
		"jobs: {pause_for_live: false}\nsessions: {most: 16}\n", small, small))
	if err != nil {
		return err
	}
	defer x.stop()
	if err := b.pushClips(ctx, x, clip, 8); err != nil { // more than a minute's work
		return err
	}
	load, err := b.startLoad(ctx, loadOrder{URL: x.url, Clip: clip, Viewers: stallViewers, Pictures: stallPicture, Uploads: stallUploads, Size: stallSize})
	if err != nil {
		return err
	}
	defer load.kill()
	sleep(ctx, 3*time.Second)
	wait, err := b.startWait(ctx)
	if err != nil {
		return err
	}
	defer wait.kill()
	profiled := b.profile(ctx, stallTime)
	w := newWatch(x)
	if err := w.run(ctx, stallTime, stallScrape); err != nil {
		return err
	}
	bare, err := wait.end()
	if err != nil {
		return err
	}
	// The same load goes on while the reference is looked at.
	old, err := b.oldLoop(ctx, clip)
	if err != nil {
		return err
	}
	report, err := load.end()
	if err != nil {
		return err
	}
	profiled()
	w.report(b, bare, old)
	report.report(b, w)
	return nil
}

// pushClips has the box analyse a file so many times.
func (b *bench) pushClips(ctx context.Context, x *box, clip string, n int) error {
	for i := range n {
		f, err := os.Open(clip)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			_, err = tusUpload(ctx, x.url, info.Size(), f, map[string]string{"filename": fmt.Sprintf("clip %d.mp4", i), "model": "yolox_nano"})
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// profile takes the control process's CPU profile if somebody asked for it; the
// function returned waits for that.
func (b *bench) profile(ctx context.Context, d time.Duration) (done func()) {
	dir := os.Getenv(stallProfileEnv)
	if dir == "" {
		return func() {}
	}
	cmd := exec.CommandContext(ctx, b.binary, "debug", "cpu", "--seconds", fmt.Sprint(int(d.Seconds())), "--data", b.boxData(), "--out", filepath.Join(dir, "stall.cpu.pprof"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "stall: no profile:", err)
		return func() {}
	}
	return func() {
		if err := cmd.Wait(); err != nil {
			fmt.Fprintln(os.Stderr, "stall: no profile:", err)
		}
	}
}

// stallWatch reads the loops' histograms over a while.
type stallWatch struct {
	x         *box
	delay     *tally
	callback  *tally
	before    process
	after     process
	workers   time.Duration // processor time of the workers
	machine   usage
	scrapes   int
	longest   time.Duration // that one scrape took
	took      time.Duration
	processes int // workers at the end
}

func newWatch(x *box) *stallWatch {
	return &stallWatch{x: x, delay: newTally(loopDelay, loopDelayMax), callback: newTally(loopCallback, "watchpost_loop_callback_max_seconds")}
}

// run watches for so long, with a look every so often: sessions that come and go have
// loops that come and go with them.
func (w *stallWatch) run(ctx context.Context, length, every time.Duration) (err error) {
	if err := w.scrape(ctx); err != nil {
		return err
	}
	pid := w.x.cmd.Process.Pid
	if w.before, err = look(pid); err != nil {
		return err
	}
	workers, machine, began := workersCPU(pid), machineUsage(), time.Now()
	for time.Since(began) < length && ctx.Err() == nil {
		sleep(ctx, min(every, length-time.Since(began)))
		if err := w.scrape(ctx); err != nil {
			return err
		}
	}
	w.took = time.Since(began)
	w.workers, w.machine = workersCPU(pid)-workers, machineUsage().since(machine)
	w.processes = len(children(pid))
	if w.after, err = look(pid); err != nil {
		return err
	}
	return ctx.Err()
}

func (w *stallWatch) scrape(ctx context.Context) error {
	began := time.Now()
	m, err := w.x.metrics(ctx)
	if err != nil {
		return err
	}
	http.DefaultClient.CloseIdleConnections()
	w.longest = max(w.longest, time.Since(began))
	w.scrapes++
	w.delay.add(m)
	w.callback.add(m)
	return nil
}

// workersCPU is the processor time of all workers so far, those that have ended too.
func workersCPU(pid int) (sum time.Duration) {
	_, sum = cpuOf(pid)
	for _, c := range children(pid) {
		own, waited := cpuOf(c)
		sum += own + waited
	}
	return sum
}

func (w *stallWatch) report(b *bench, bare lateness, old oldLoopReport) {
	for _, t := range []*tally{w.delay, w.callback} {
		fmt.Fprintf(os.Stderr, "%s, by loop (ms): times, p50, p99, p99.9, max\n", t.name)
		for _, name := range t.names() {
			l := t.loops[name]
			fmt.Fprintf(os.Stderr, "  %-28s %6d %8.3f %8.3f %8.3f %8.3f\n", name, l.count(), 1000*l.quantile(0.5), 1000*l.quantile(0.99), 1000*l.quantile(0.999), 1000*l.most)
		}
	}
	cores := func(d time.Duration) float64 { return d.Seconds() / w.took.Seconds() }
	b.report("machine busy", w.machine.busy(), "share of all cores", told())
	b.report("machine stolen by its host", w.machine.stolen(), "share of all cores", told())
	b.report("workers", float64(w.processes), "processes", told())
	b.report("workers' cpu", cores(w.workers), "cores", told())
	b.report("control process's cpu", cores(w.after.cpu-w.before.cpu), "cores", told())
	b.report("control process's resident memory grows by", float64(w.after.rss-w.before.rss)/1e6, "MB", told())
	b.report("loops", float64(len(w.delay.loops)), "loops", told())
	all, worst := w.delay.all(), w.delay.worst(0.999)
	b.report("process that only waits for a 1 ms timer, delay p50", bare.P50, "ms", told())
	b.report("process that only waits for a 1 ms timer, delay p99", bare.P99, "ms", told())
	b.report("process that only waits for a 1 ms timer, delay p99.9", bare.P999, "ms", told())
	b.report("process that only waits for a 1 ms timer, delay max", bare.Max, "ms", told())
	b.report("control loops, delay p50", 1000*all.quantile(0.5), "ms", told())
	b.report("control loops, delay p99", 1000*all.quantile(0.99), "ms", told())
	b.report("control loops, delay p99.9", 1000*all.quantile(0.999), "ms", atMost(10))
	b.report("control loops, delay max", 1000*all.most, "ms", atMost(50))
	b.report("worst loop ("+worst+"), delay p99.9", 1000*w.delay.loops[worst].quantile(0.999), "ms", told())
	calls := w.callback.all()
	b.report("callbacks, p99.9", 1000*calls.quantile(0.999), "ms", told())
	b.report("callbacks, max ("+w.callback.longest()+")", 1000*calls.most, "ms", told())
	b.report("predecessor's design: opening and decoding in the loop, longest block", old.Open, "ms", told())
	b.report("predecessor's design: writing a 500 MB upload in the loop, block", old.Write, "ms", told())
	b.report("predecessor's design: memory held for that upload", old.Memory, "MB", told())
}

// usage is the machine's processor time by what it was for, in ticks (proc(5)).
type usage [8]float64

func machineUsage() (u usage) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, f := range strings.Fields(strings.TrimPrefix(line, "cpu ")) {
		if i < len(u) {
			_, _ = fmt.Sscan(f, &u[i]) // the kernel writes numbers
		}
	}
	return u
}

func (u usage) since(o usage) usage {
	for i := range u {
		u[i] -= o[i]
	}
	return u
}

func (u usage) sum() (s float64) {
	for _, v := range u {
		s += v
	}
	return max(s, 1)
}

// The fourth and fifth are idle and waiting for a disk, the eighth is stolen.
func (u usage) busy() float64   { return 1 - (u[3]+u[4]+u[7])/u.sum() }
func (u usage) stolen() float64 { return u[7] / u.sum() }

// sortedKeys of a map of loops.
func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
