package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

const (
	// soakEnv is how many sessions are opened and broken off.
	soakEnv     = "WATCHPOST_SOAK_SESSIONS"
	soakUsual   = 1000
	soakWarm    = 200 // before the first look: what is made once is made by then
	soakAtOnce  = 6
	soakSettle  = 45 * time.Second // in which the box is back to where it was
	soakRetries = 200
)

// soakPoint is where a session is broken off.
type soakPoint struct {
	name string
	// run brings a session there. Errors are those of the way.
	run func(ctx context.Context, s *soak, r *rand.Rand, w *client.Worker) error
	// silent leaves without a word.
	silent bool
}

// soak is the whole of the run.
type soak struct {
	url    string
	film   client.Film
	points []soakPoint
	kinds  []sessionKind // that never come to an end

	refused, failed, frames atomic.Int64
	reached                 map[string]*atomic.Int64
}

func soakPoints() (all []soakPoint) {
	at := func(name string, run func(ctx context.Context, s *soak, r *rand.Rand, w *client.Worker) error) {
		all = append(all, soakPoint{name, run, false}, soakPoint{name + ", without a word", run, true})
	}
	at("before it connects", func(context.Context, *soak, *rand.Rand, *client.Worker) error { return nil })
	at("connected", func(ctx context.Context, _ *soak, _ *rand.Rand, w *client.Worker) error { return w.Connected(ctx) })
	at("during the upload", func(ctx context.Context, s *soak, r *rand.Rand, w *client.Worker) error {
		return s.send(ctx, w, 1+r.IntN(s.film.Chunks()-1))
	})
	at("after the upload", func(ctx context.Context, s *soak, _ *rand.Rand, w *client.Worker) error {
		return s.send(ctx, w, s.film.Chunks())
	})
	at("amid results", func(ctx context.Context, s *soak, r *rand.Rand, w *client.Worker) error {
		if err := s.send(ctx, w, s.film.Chunks()); err != nil {
			return err
		}
		return s.take(ctx, w, 1+r.IntN(20))
	})
	at("after completion", func(ctx context.Context, s *soak, _ *rand.Rand, w *client.Worker) error {
		if err := s.send(ctx, w, s.film.Chunks()); err != nil {
			return err
		}
		return s.take(ctx, w, 0)
	})
	return all
}

// send uploads so many chunks of the film.
func (s *soak) send(ctx context.Context, w *client.Worker, chunks int) error {
	order := make([]int, chunks)
	for i := range order {
		order[i] = i
	}
	f := s.film
	f.Order = order
	return w.Upload(ctx, f)
}

// errEnough ends the taking of documents.
var errEnough = errors.New("enough")

// take takes so many documents, 0: all of them to the last message.
func (s *soak) take(ctx context.Context, w *client.Worker, n int) error {
	last, err := w.Finish(ctx, true, func(d *client.Document) error {
		s.frames.Add(1)
		if n--; n == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	if err == nil && last.Reason != "" {
		err = fmt.Errorf("ended by %s: %q", last.Reason, last.Errors)
	}
	return err
}

// soakSessions opens sessions and breaks them off at random, and looks for what is left.
func soakSessions(ctx context.Context, b *bench) error {
	n, err := strconv.Atoi(env(soakEnv, strconv.Itoa(soakUsual)))
	if err != nil || n < 1 {
		return fmt.Errorf("%s has to be a number of sessions", soakEnv)
	}
	if err := b.gstreamer(); err != nil {
		return err
	}
	film, err := filmOf(b.video("h264.ts"))
	if err != nil {
		return err
	}
	film.Chunk = 4 << 10 // so that there is a middle of it
	clip, err := b.clip(ctx, "360p.mp4", 640, 360)
	if err != nil {
		return err
	}
	camera, err := elementary(ctx, clip, 10*time.Second)
	if err != nil {
		return err
	}
	sources, err := startHanging()
	if err != nil {
		return err
	}
	defer sources.close()
	x, err := b.startSessionBox(ctx, "")
	if err != nil {
		return err
	}
	defer x.stop()
	s := &soak{url: x.url, film: film, points: soakPoints(), reached: map[string]*atomic.Int64{}}
	for _, k := range sessionKinds(sources, camera) {
		if !k.request.VideoFileUpload {
			s.kinds = append(s.kinds, k)
		}
	}
	for _, p := range s.points {
		s.reached[p.name] = &atomic.Int64{}
	}
	sleep(ctx, 3*time.Second)
	s.run(ctx, min(soakWarm, n), 1)
	before, err := x.settled(ctx, b.boxData(), nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "after %d sessions: %s\n", soakWarm, before)
	began := time.Now()
	s.run(ctx, n, 2)
	took := time.Since(began)
	after, err := x.settled(ctx, b.boxData(), before)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "after %d more: %s\n", n, after)
	s.report(b, n, took, before, after)
	return ctx.Err()
}

// run opens n sessions, some at once, and breaks them off.
func (s *soak) run(ctx context.Context, n int, seed uint64) {
	left := atomic.Int64{}
	left.Store(int64(n))
	var work sync.WaitGroup
	for i := range soakAtOnce {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		work.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				s.one(ctx, r)
			}
		})
	}
	work.Wait()
}

// one opens a session and breaks it off somewhere.
func (s *soak) one(ctx context.Context, r *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p := s.points[r.IntN(len(s.points))]
	request := client.Request{Workflow: client.Detection("motion"), DataOutput: client.Names("*"), VideoFileUpload: true}
	options := client.WorkerOptions{Receive: []string{"", client.H264, client.VP8}[r.IntN(3)]}
	if options.Receive == "" {
		request.StreamOutput = client.Names()
	}
	run := p.run
	if r.IntN(5) == 0 { // one without an end: from a source that hangs, or the peer's own camera
		k := s.kinds[r.IntN(len(s.kinds))]
		request, options = k.request, k.options
		while := time.Duration(r.IntN(1500)) * time.Millisecond
		run = func(ctx context.Context, _ *soak, _ *rand.Rand, w *client.Worker) error {
			live, cancel := context.WithTimeout(ctx, while)
			defer cancel()
			_ = k.live(live, w) // it is broken off in any case
			return nil
		}
		p = soakPoint{p.name, run, p.silent}
	}
	w, err := s.open(ctx, request, options)
	if err != nil {
		s.trouble(ctx, "open a session", err)
		return
	}
	if err := run(ctx, s, r, w); err != nil {
		s.trouble(ctx, p.name, err)
	} else {
		s.reached[p.name].Add(1)
	}
	if p.silent {
		err = w.Break()
	} else {
		err = w.Close()
	}
	if err != nil {
		s.trouble(ctx, "leave", err)
	}
}

func (s *soak) trouble(ctx context.Context, what string, err error) {
	if s.failed.Add(1) <= 20 && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "soak: %s: %v\n", what, err)
	}
}

// open asks again while the box is full: it has yet to miss those that left without a word.
func (s *soak) open(ctx context.Context, r client.Request, o client.WorkerOptions) (w *client.Worker, err error) {
	for range soakRetries {
		var full *client.Refused
		w, err = client.Initialise(ctx, s.url, r, o)
		if !errors.As(err, &full) || full.Status != http.StatusServiceUnavailable {
			return w, err
		}
		s.refused.Add(1)
		sleep(ctx, 100*time.Millisecond)
	}
	return w, err
}

// residue is what the box holds when nobody wants anything of it.
type residue struct {
	process    process
	goroutines int
	heap       float64
	workers    int
	files      map[string]int64
	after      time.Duration // since the last session
}

func (r *residue) String() string {
	return fmt.Sprintf("%.1f MB resident, %.1f MB of heap, %d goroutines, %d descriptors, %d of them sockets, %d workers, %d files, after %.0f s",
		float64(r.process.rss)/1e6, r.heap/1e6, r.goroutines, r.process.fds, r.process.sockets, r.workers, len(r.files), r.after.Seconds())
}

// sessionFiles are those that come and go with sessions: not the database, the log of
// stalls or what the box knows of the machine.
func (r *residue) sessionFiles() (names []string) {
	for name := range r.files {
		top, _, _ := strings.Cut(name, string(filepath.Separator))
		if !slices.Contains([]string{"state", "traces", "models", "lib", "gst-registry.bin", "hardware.json", "password"}, top) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// settled looks at the box until it holds no more than before, for soakSettle at most;
// without before, until nothing becomes less.
func (x *box) settled(ctx context.Context, data string, before *residue) (*residue, error) {
	began := time.Now()
	var last *residue
	steady := 0
	for {
		http.DefaultClient.CloseIdleConnections() // ours, which have goroutines and sockets over there
		sleep(ctx, 2*time.Second)
		r, err := x.residue(ctx, data)
		if err != nil {
			return nil, err
		}
		r.after = time.Since(began)
		switch {
		case before != nil && !r.above(before):
			return r, nil
		case before == nil && last != nil && !last.above(r):
			steady++
		default:
			steady = 0
		}
		if last = r; steady >= 5 || r.after > soakSettle {
			return r, nil
		}
	}
}

// above tells whether it holds more than another did, of what is counted.
func (r *residue) above(o *residue) bool {
	return r.goroutines > o.goroutines || r.process.fds > o.process.fds || r.workers > o.workers || len(r.files) > len(o.files)
}

func (x *box) residue(ctx context.Context, data string) (*residue, error) {
	pid := x.cmd.Process.Pid
	x.collect(ctx, data)
	m, err := x.metrics(ctx)
	if err != nil {
		return nil, err
	}
	http.DefaultClient.CloseIdleConnections()
	sleep(ctx, 50*time.Millisecond) // the connection that asked is gone by then
	p, err := look(pid)
	if err != nil {
		return nil, err
	}
	files, err := filesUnder(data)
	return &residue{process: p, goroutines: int(gauge(m, "go_goroutines")), heap: gauge(m, "go_memstats_heap_inuse_bytes"),
		workers: len(children(pid)), files: files}, err
}

func (s *soak) report(b *bench, n int, took time.Duration, before, after *residue) {
	left := after.sessionFiles()
	had := before.sessionFiles()
	left = slices.DeleteFunc(left, func(name string) bool { return slices.Contains(had, name) })
	for _, name := range left {
		fmt.Fprintf(os.Stderr, "soak: a file is left: %s, %d bytes\n", name, after.files[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.reached)) {
		fmt.Fprintf(os.Stderr, "broken off %s: %d\n", name, s.reached[name].Load())
	}
	b.report("sessions", float64(n), "sessions", told())
	b.report("sessions a minute", float64(n)/took.Minutes(), "sessions/min", told())
	b.report("documents taken", float64(s.frames.Load()), "documents", told())
	b.report("sessions that went otherwise than planned", float64(s.failed.Load()), "sessions", atMost(0))
	b.report("asked again because the box was full", float64(s.refused.Load()), "times", told())
	b.report("resident memory before", float64(before.process.rss)/1e6, "MB", told())
	b.report("resident memory grows by", float64(after.process.rss-before.process.rss)/1e6, "MB", atMost(soakMemory))
	b.report("heap grows by", (after.heap-before.heap)/1e6, "MB", told())
	b.report("goroutines before", float64(before.goroutines), "goroutines", told())
	b.report("goroutines more", float64(after.goroutines-before.goroutines), "goroutines", atMost(0))
	b.report("file descriptors more", float64(after.process.fds-before.process.fds), "descriptors", atMost(0))
	b.report("sockets more", float64(after.process.sockets-before.process.sockets), "sockets", atMost(0))
	b.report("worker processes more", float64(after.workers-before.workers), "processes", atMost(0))
	b.report("files left in the data folder", float64(len(left)), "files", atMost(0))
	b.report("back after", after.after.Seconds(), "s", told())
}

// soakMemory is what resident memory may rise by, MB: allocators keep pages, a leak of
// 10 kB a session would be more.
const soakMemory = 10
