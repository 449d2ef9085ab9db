package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/health"
	"github.com/watchpost/watchpost/appliance/internal/live"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/web"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/hw"
	"github.com/watchpost/watchpost/state"
)

// RunOptions are what Program.Run is asked for; what is set wins over the
// configuration file.
type RunOptions struct {
	Config  string
	Sources []string
	Listen  string
	Media   string
	Model   string
	DataDir string
}

// Run is the box: it returns when ctx ends, or when something that it cannot do
// without fails.
func (p Program) Run(ctx context.Context, o RunOptions) error {
	cfg, err := p.configure(o)
	if err != nil {
		return err
	}
	queues := new(queue.Registry)
	road := newLogRoad(os.Stderr, cmp.Or(p.format, cfg.Log.Format), queues)
	defer road.Close()
	b := p.logging(cfg.Log.Level, cfg.Log.Format, road).emptyBox(cfg)
	b.queues = queues
	wakeSooner(b.p.Log) // before any other thread is there
	defer b.expectSignals()()
	if err := b.make(); err != nil {
		return err
	}
	return b.run(ctx)
}

// configure reads the configuration and applies the command line to it.
func (p Program) configure(o RunOptions) (*config.Config, error) {
	cfg := config.Default()
	if o.Config != "" {
		var err error
		if cfg, err = LoadConfig(o.Config); err != nil {
			return nil, err
		}
	}
	if o.Config == "" {
		cfg.DataDir = usualData()
	}
	if o.DataDir != "" {
		if o.Config != "" && filepath.Clean(o.DataDir) != filepath.Clean(cfg.DataDir) {
			p.Log.Info("another data folder than the configuration's, as --data or WATCHPOST_DATA says", "used", o.DataDir, "configured", cfg.DataDir)
		}
		cfg.DataDir = o.DataDir
	}
	if o.Listen != "" {
		cfg.Listen = o.Listen
	}
	if o.Media != "" {
		cfg.WebRTC.Listen = o.Media
	}
	if o.Model != "" {
		cfg.Models.Default = o.Model
	}
	sources := o.Sources
	if len(sources) == 0 && len(cfg.Cameras) == 0 {
		sources = []string{firstSource()}
	}
	if len(sources) > 0 {
		cfg.Cameras = nil
		for _, s := range sources {
			c := config.FromSource(s, cfg.Cameras...)
			if config.KindOf(s) == config.KindFile {
				abs, err := filepath.Abs(s)
				if err != nil {
					return nil, err
				}
				if _, err := os.Stat(abs); err != nil {
					return nil, of(ErrInput, "--source %s: %v", s, errors.Unwrap(err))
				}
				c.Source = abs
			}
			cfg.Cameras = append(cfg.Cameras, c)
		}
	}
	if err := cfg.Validate(); err != nil {
		return nil, of(ErrConfig, "%w", err)
	}
	dir, err := dataDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	cfg.DataDir = dir
	return cfg, nil
}

// LoadConfig reads a configuration file; its errors are ErrConfig.
func LoadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, of(ErrConfig, "%w", err)
	}
	return cfg, nil
}

// firstSource is the first camera that is attached, or else the demo scene.
func firstSource() string {
	list, err := hw.Cameras()
	if err != nil {
		return "demo:"
	}
	i := slices.IndexFunc(list, func(c hw.Camera) bool { return c.Problem == "" && len(c.Modes) > 0 })
	if i < 0 {
		return "demo:"
	}
	return list[i].Path
}

// box is the control process, put together.
type box struct {
	p         Program
	cfg       *config.Config
	began     time.Time
	listener  net.Listener
	registry  *prometheus.Registry
	meter     *health.Meter
	queues    *queue.Registry
	ready     *health.Readiness
	notifier  *health.Notifier
	spawner   *worker.Spawner
	server    *live.Server
	cameras   *cameras
	have      *hardware
	push      *pushRoad       // nil until it is opened
	workflows *workflow.Store // by name
	sessions  *peerSessions   // nil until they are
	debug     *debugSocket
	signals   chan os.Signal // what an operator wants; nil: nobody listens
	handler   http.Handler
}

// newBox is a box that is ready to run.
func (p Program) newBox(cfg *config.Config) (*box, error) {
	b := p.emptyBox(cfg)
	if err := b.make(); err != nil {
		return nil, err
	}
	return b, nil
}

func (p Program) emptyBox(cfg *config.Config) *box {
	return &box{p: p, cfg: cfg, began: time.Now(), registry: prometheus.NewRegistry(), queues: new(queue.Registry)}
}

// make opens the ports and builds everything, in the order in which it
// depends on each other; nothing runs yet.
func (b *box) make() error {
	err := b.build()
	if err == nil {
		return nil
	}
	b.abandon()
	if errors.Is(err, state.ErrInUse) {
		return of(ErrState, "another box runs with the data folder %s: %w; end that one, or name another folder with --data", b.cfg.DataDir, err)
	}
	return err
}

func (b *box) build() (err error) {
	p, cfg := b.p, b.cfg
	b.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), b.queues)
	if b.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return fmt.Errorf("listen for browsers: %w (choose another address with --listen)", err)
	}
	b.meter, err = health.NewMeter(health.Config{
		Warn: cfg.Health.StallWarn, Trace: cfg.Health.StallTrace, TraceDir: cfg.TraceDir(),
	}, p.Log, b.registry)
	if err != nil {
		return err
	}
	b.ready = health.NewReadiness("http")
	if b.notifier, err = health.NewNotifier(b.meter, b.ready, p.Log); err != nil {
		return err
	}
	cameraWorkers := workerConfig(cfg.DataDir, niceness)
	cameraWorkers.Queues = b.queues
	if b.spawner, err = worker.New(cameraWorkers, p.Log); err != nil {
		return err
	}
	b.have = newHardware(cfg.DataDir, p.Version, p.Log)
	if b.server, err = live.New(live.Deps{
		Log: p.Log, Registerer: b.registry, Loops: func(name string) live.Loop { return b.meter.Loop(name) },
		Open: b.publish, Queues: b.queues,
	}, liveConfig(cfg)); err != nil {
		if taken := (*net.OpError)(nil); errors.As(err, &taken) {
			return fmt.Errorf("listen for viewers: %w (choose another address with webrtc.listen in the configuration)", err)
		}
		return err
	}
	if b.cameras, err = p.newCameras(cfg, b.spawner, b.server, b.meter, b.have, b.queues); err != nil {
		return err
	}
	b.registry.MustRegister(newCollector(b.cameras))
	if err := b.openPushRoad(); err != nil {
		return err
	}
	// The database is open, so that no other box has this folder.
	b.debug = openDebugSocket(cfg.DataDir, b.p.Log)
	if err := b.openSessions(); err != nil {
		return err
	}
	b.handler, err = b.frontDoor()
	return err
}

// abandon takes down a box that was not built to its end.
func (b *box) abandon() {
	if b.debug != nil {
		b.debug.close()
	}
	if b.sessions != nil {
		b.sessions.close()
	}
	if b.push != nil {
		// What went wrong in building counts more than what does in clearing up.
		_ = b.push.close()
	}
	if b.server != nil {
		b.server.Close()
	}
	if b.spawner != nil {
		b.spawner.Close()
	}
	if b.listener != nil {
		b.listener.Close()
	}
}

func liveConfig(cfg *config.Config) live.Config {
	c := live.Config{
		UDP: cfg.MediaListen(), TCP: cfg.MediaListen(),
		PublicAddresses: cfg.WebRTC.PublicAddresses, MaxViewers: cfg.WebRTC.MaxViewers,
		IncludeLoopback: true,
	}
	for _, s := range cfg.WebRTC.ICEServers {
		c.ICEServers = append(c.ICEServers, live.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential})
	}
	return c
}

// frontDoor builds the HTTP side.
func (b *box) frontDoor() (http.Handler, error) {
	pages, err := web.New()
	if err != nil {
		return nil, err
	}
	password, err := readPassword(b.cfg.PasswordFile())
	if err != nil {
		return nil, err
	}
	d := api.Deps{
		Version: b.p.Version, Log: b.p.Log,
		Cameras: b.cameras, Hardware: b.have.view, Models: b.models, System: b.system, Traces: traces{b.meter}, Queues: b.queues,
		Live: b.server.Handler(), Web: pages.Handler(), SignIn: pages.SignIn,
		Metrics: promhttp.HandlerFor(b.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}),
		Healthz: b.meter, Readyz: b.ready,
		Session: b.sessions.handler(), Sessions: b.sessions, Workflows: workflows{b.workflows},
		Password: password,
	}
	if err := b.front(&d); err != nil {
		return nil, err
	}
	return api.New(d)
}

// run runs all parts until ctx ends or one of them fails; then each takes itself
// down, and no worker is left.
func (b *box) run(ctx context.Context) error {
	roomForBlocked()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.meter.Run(ctx) })
	g.Go(func() error { return b.notifier.Run(ctx) })
	g.Go(func() error { return b.serveSignals(ctx) })
	g.Go(func() error { return b.debug.run(ctx) })
	// Sessions tell their peers how they end, over its port: it goes after them.
	ports, closePorts := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return b.server.Run(ports) })
	g.Go(func() error {
		// Workers come after it, cameras' and jobs': it is what their start would take.
		warmUp(ctx, b.cfg.DataDir, b.p.Log)
		g.Go(func() error { return b.push.jobs.Run(ctx) })
		return b.cameras.run(ctx, b.p.Log)
	})
	g.Go(func() error { return b.have.run(ctx) })
	b.push.run(ctx, g)
	door := api.NewDoor(b.listener, b.queues, b.meter.Loop("http accept"))
	g.Go(func() error {
		defer closePorts()
		return b.sessions.run(ctx)
	})
	g.Go(func() error { return b.announce(ctx) })
	g.Go(func() error { return api.Serve(ctx, b.handler, b.p.Log, door) })
	b.ready.Set("http", nil)
	b.greet()
	err := g.Wait()
	b.sessions.close() // before what takes their files
	b.spawner.Close()
	return errors.Join(err, b.push.close())
}

// roomForBlocked lets one more thread run Go code than there are processors. One that is
// in a write to a busy disk keeps its place until the runtime notices, up to 10 ms;
// with two places, the two writes that uploads may have at a time would have every timer
// wait. More places do harm: on processors that workers keep busy, a thread that has
// to wait for one keeps its place, with the timers in it. In the bench stall, on two
// processors, loops were late by 9 ms at p99 and 24 at p99.9 with three places, by
// 13 to 23 and 48 to 97 with eight.
func roomForBlocked() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(3, runtime.NumCPU()+1))
	}
}
