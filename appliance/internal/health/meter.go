package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what the meter finds too long, and where its traces go. A zero
// value takes the default named.
type Config struct {
	// Warn is the delay past which a loop is called stalled: 50 ms.
	Warn time.Duration
	// Trace is the delay past which an execution trace is written; 0: the
	// flight recorder stays off, and costs nothing.
	Trace time.Duration
	// TraceDir is the folder of the traces; it is made. Needed with Trace;
	// without it there are none by hand either.
	TraceDir string
	// Keep is how many traces are kept of each sort, of stalls and by hand, the newest: 5.
	Keep int
	// TraceEvery is the least time between two traces: 30 s.
	TraceEvery time.Duration
	// Tick is the period of a loop's timer: 20 ms. A block that is shorter
	// may fall between two ticks; Enter sees those.
	Tick time.Duration
	// Limit is how long a loop may be held up before the box counts as
	// unhealthy and systemd's watchdog is no longer fed: 10 s.
	Limit time.Duration
}

// reportEvery bounds how often one loop's stalls are logged, at first, and
// reportSlowest how seldom.
const (
	reportEvery   = time.Second
	reportSlowest = time.Minute
)

// Meter measures the control loops of a process. Its methods may be called
// from any goroutine.
type Meter struct {
	cfg  Config
	log  *slog.Logger
	base time.Time // of the clock
	// runtime is the meter's own loop, which does nothing: it is late when
	// the scheduler or the machine is.
	runtime *Loop
	tracer  *tracer // nil: no traces
	wake    chan struct{}

	mu    sync.Mutex
	loops []*Loop
	gone  []*Loop // stopped before the reporter had told of their stalls; leaky
}

// maxGone bounds gone.
const maxGone = 16

// NewMeter makes a meter and registers its metrics.
func NewMeter(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Meter, error) {
	if cfg.Warn < 0 || cfg.Trace < 0 || cfg.Keep < 0 || cfg.Tick < 0 || cfg.Limit < 0 || cfg.TraceEvery < 0 {
		return nil, errors.New("stall meter: a limit is negative")
	}
	orDefault(&cfg.Warn, 50*time.Millisecond)
	orDefault(&cfg.Keep, 5)
	orDefault(&cfg.TraceEvery, 30*time.Second)
	orDefault(&cfg.Tick, 20*time.Millisecond)
	orDefault(&cfg.Limit, 10*time.Second)
	m := &Meter{cfg: cfg, log: log, base: time.Now(), wake: make(chan struct{}, 1)}
	if cfg.Trace > 0 && cfg.TraceDir == "" {
		return nil, errors.New("stall meter: no folder for traces")
	}
	if cfg.TraceDir != "" {
		if err := os.MkdirAll(cfg.TraceDir, 0o700); err != nil {
			return nil, fmt.Errorf("make folder for traces: %w", err)
		}
		m.tracer = newTracer(cfg, log)
	}
	m.runtime = m.Loop("runtime")
	if err := reg.Register(collector{m}); err != nil {
		return nil, fmt.Errorf("register stall metrics: %w", err)
	}
	return m, nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// now is the meter's clock in nanoseconds; never 0.
func (m *Meter) now() int64 { return int64(time.Since(m.base)) + 1 }

// Loop starts to measure a loop. A name that is in use gets a number added, so
// that metrics stay apart: two loops of one name are a mistake, but not one
// worth a crash.
func (m *Meter) Loop(name string) *Loop {
	m.mu.Lock()
	defer m.mu.Unlock()
	free := name
	for n := 2; slices.ContainsFunc(m.loops, func(l *Loop) bool { return l.name == free }); n++ {
		free = name + "#" + strconv.Itoa(n)
	}
	l := &Loop{name: free, meter: m}
	m.loops = append(m.loops, l)
	return l
}

func (m *Meter) forget(l *Loop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.loops, l); i >= 0 {
		m.loops = slices.Delete(m.loops, i, i+1)
		if l.unsaid.Load() > 0 && len(m.gone) < maxGone {
			m.gone = append(m.gone, l)
		}
	}
}

// untold lists the loops that the reporter is to look at, and clears gone.
func (m *Meter) untold() []*Loop {
	m.mu.Lock()
	defer m.mu.Unlock()
	loops := slices.Concat(m.loops, m.gone)
	m.gone = nil
	return loops
}

func (m *Meter) all() []*Loop {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.loops)
}

// Run measures the runtime's own delay, watches the loops, reports and traces
// until ctx ends. It returns nil.
func (m *Meter) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if m.tracer != nil {
		wg.Go(func() { m.tracer.run(ctx) })
	}
	wg.Go(func() { m.report(ctx) })
	m.watch(ctx)
	wg.Wait()
	return nil
}

// watch looks at every loop each tick, so that a loop that hangs is traced
// while it hangs. It is itself a measured loop: it neither logs nor writes.
func (m *Meter) watch(ctx context.Context) {
	defer func() {
		m.runtime.due.Store(0)
		m.runtime.timer.Stop()
		m.runtime.timer = nil
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.runtime.Tick():
			m.runtime.Ticked()
		}
		m.mu.Lock()
		now := m.now()
		for _, l := range m.loops {
			if l.held(now) <= m.cfg.Warn {
				continue
			}
			m.wakeReporter()
			d, since := l.inside(now)
			m.trace(l, d, since)
			d, since = l.late(now)
			m.trace(l, d, since)
		}
		m.mu.Unlock()
	}
}

// trace asks for a trace of a stall that began at since, if it is long enough
// and no trace was asked for in its course: a hanging callback is seen by the
// watcher, again when it ends, and once more by the timer behind it. It does
// not block.
func (m *Meter) trace(l *Loop, d time.Duration, since int64) {
	if m.cfg.Trace == 0 || d <= m.cfg.Trace {
		return
	}
	asked := l.traced.Load()
	if since > asked && l.traced.CompareAndSwap(asked, m.now()) {
		m.tracer.ask(l.name, d)
	}
}

func (m *Meter) wakeReporter() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// report logs stalls: the first at once, more of them with their number, first once a
// second, then the less often the longer it goes on: a machine that is busy for
// hours is told of once a minute. A quiet minute begins it anew.
func (m *Meter) report(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	pace, last := reportEvery, m.now()
	for {
		select { // once in a while at most …
		case <-ctx.Done():
			return
		case <-next.C:
		}
		select { // … and only when there is something
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		now := m.now()
		if time.Duration(now-last) > pace+reportSlowest {
			pace = reportEvery
		}
		last = now
		m.reportAll()
		next.Reset(pace)
		pace = min(2*pace, reportSlowest)
	}
}

// reportAll says of the whole process once how late it was, as its own loop
// met it, and of the other loops what goes beyond that: on a machine without a
// free processor every loop is late by the same.
func (m *Meter) reportAll() {
	whole := max(time.Duration(m.runtime.unsaidDelay.Load()), m.runtime.held(m.now()))
	m.reportLoop(m.runtime, "control process held up", 0)
	for _, l := range m.untold() {
		if l != m.runtime {
			m.reportLoop(l, "control loop stalled", whole)
		}
	}
}

// reportLoop logs what the loop has yet to tell, where it exceeds excused by
// more than the threshold.
func (m *Meter) reportLoop(l *Loop, message string, excused time.Duration) {
	var attrs []any
	tell := func(key string, d time.Duration) {
		if d > excused+m.cfg.Warn {
			attrs = append(attrs, key, d)
		}
	}
	times := l.unsaid.Swap(0)
	tell("late", time.Duration(l.unsaidDelay.Swap(0)))
	tell("callback", time.Duration(l.unsaidCall.Swap(0)))
	tell("held_up_for", l.held(m.now()))
	if len(attrs) == 0 {
		return
	}
	if times > 0 {
		attrs = append(attrs, "times", times)
	}
	m.log.Warn(message, append([]any{"loop", l.name}, attrs...)...)
}

// Held is a loop that makes no progress, and for how long.
type Held struct {
	Loop string
	For  time.Duration
}

func (h Held) String() string {
	return fmt.Sprintf("control loop %s has made no progress for %s", h.Loop, h.For.Round(10*time.Millisecond))
}

// Held lists the loops that have been held up for longer than Config.Limit,
// the longest first. None: all is well.
func (m *Meter) Held() []Held { return m.heldFor(m.cfg.Limit) }

func (m *Meter) heldFor(limit time.Duration) []Held {
	var held []Held
	now := m.now()
	for _, l := range m.all() {
		if d := l.held(now); d > limit {
			held = append(held, Held{Loop: l.name, For: d})
		}
	}
	slices.SortFunc(held, func(a, b Held) int { return int(b.For - a.For) })
	return held
}

// Figures are a loop's measurements at one moment.
type Figures struct {
	Loop                      string
	Ticks, Callbacks          uint64
	P50, P99, P999, Max       time.Duration // how late the timer was served
	CallbackP999, CallbackMax time.Duration
	Stalls                    uint64
	LastStall                 time.Time // zero: none
}

// Figures lists the measurements of every loop, by name.
func (m *Meter) Figures() []Figures {
	var all []Figures
	for _, l := range m.all() {
		ticks, _, _ := l.delay.export()
		calls, _, _ := l.calls.export()
		var last time.Time
		if ns := l.lastStall.Load(); ns > 0 {
			last = time.Unix(0, ns)
		}
		all = append(all, Figures{
			Loop: l.name, Ticks: ticks, Callbacks: calls,
			P50: l.Quantile(0.5), P99: l.Quantile(0.99), P999: l.Quantile(0.999), Max: l.Max(),
			CallbackP999: l.CallbackQuantile(0.999), CallbackMax: l.CallbackMax(),
			Stalls: l.Stalls(), LastStall: last,
		})
	}
	slices.SortFunc(all, func(a, b Figures) int { return strings.Compare(a.Loop, b.Loop) })
	return all
}
