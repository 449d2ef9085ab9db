package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// crashConfig is the box that is killed: three analyses at once, which wait for no camera.
const crashConfig = "uploads: {reserve: 0}\njobs: {concurrency: 3, pause_for_live: false}\n"

// crash kills a box again and again while files are pushed to it and analysed, and
// holds against it every promise that it made: what it acknowledged, and each line of
// results that it showed.
type crash struct {
	b    *bench
	data string // the box's data folder
	url  atomic.Pointer[string]
	box  *box

	// over is closed after the last kill: who is at something finishes it.
	over chan struct{}

	mu       sync.Mutex
	files    map[string]*pushedFile // that the box must know, by id
	removed  map[string]bool        // that it must know no more
	jobs     map[string]string      // that the box must know, by id: as they ended, or ""
	keeping  int
	recovery []float64 // seconds
	problems []string
	lost     int64 // acknowledged bytes
	wrong    int   // lines of results lost, doubled or changed
	differ   int   // files of results that are not the reference's
	leftover int
	done     counters
}

// counters tell what the rounds went through.
type counters struct {
	uploads, bytes, jobs, streamed, canceled, lines, workerKills, stillborn, again atomic.Int64
}

// crashRounds kills the whole box at random moments, 300 times or
// WATCHPOST_CRASH_ROUNDS, and in some rounds a worker before it.
func crashRounds(ctx context.Context, b *bench) error {
	rounds, err := strconv.Atoi(env("WATCHPOST_CRASH_ROUNDS", "300"))
	if err != nil || rounds < 1 {
		return fmt.Errorf("WATCHPOST_CRASH_ROUNDS: a number of rounds is expected")
	}
	c := &crash{
		b: b, data: b.boxData(), over: make(chan struct{}),
		files: map[string]*pushedFile{}, removed: map[string]bool{}, jobs: map[string]string{},
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	defer func() { _ = c.box.stop() }() // after an error; else it has ended
	clips, err := c.references(ctx)
	if err != nil {
		return fmt.Errorf("the uninterrupted runs: %w", err)
	}
	clients, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	for i := range 3 {
		running.Go(func() { c.pushNoise(clients, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	running.Go(func() { c.pushShuffled(clients, rand.New(rand.NewPCG(2, 0))) })
	for i := range 4 {
		running.Go(func() { c.pushClips(clients, rand.New(rand.NewPCG(3, uint64(i))), clips) })
	}
	err = c.rounds(ctx, rounds, rand.New(rand.NewPCG(4, 0)))
	close(c.over)
	if err == nil {
		err = c.finish(ctx, &running)
	}
	cancel()
	running.Wait()
	if err != nil {
		return err
	}
	c.report(rounds)
	return nil
}

func (c *crash) rounds(ctx context.Context, n int, r *rand.Rand) error {
	for round := range n {
		// Some lives end while the box is still coming up, and some only after a job
		// got on: how soon that is depends on the machine.
		life := time.Duration(r.IntN(500)) * time.Millisecond
		switch r.IntN(10) {
		case 0:
			life /= 25
		case 1:
			awaitMore(ctx, &c.done.jobs, 4*time.Second)
			life /= 5
		case 2, 3, 4, 5:
			awaitMore(ctx, &c.done.lines, 3*time.Second)
			life /= 2
			if r.IntN(3) == 0 {
				c.killWorker(ctx)
			}
		}
		sleep(ctx, life)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_ = c.box.cmd.Process.Kill()
		_ = c.box.cmd.Wait() // it was killed
		promised := c.promised()
		if r.IntN(5) == 0 {
			c.stillborn(ctx, time.Duration(r.IntN(120))*time.Millisecond)
		}
		began := time.Now()
		if err := c.start(ctx); err != nil {
			return fmt.Errorf("round %d: the box does not start again: %w", round+1, err)
		}
		if err := c.check(ctx, promised); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		c.recovery = append(c.recovery, time.Since(began).Seconds())
		c.compareBytes(promised)
		if (round+1)%25 == 0 {
			fmt.Fprintf(os.Stderr, "round %d: %d uploads, %d jobs done, recovery median %.3f s, most %.3f s, %d problems\n",
				round+1, c.done.uploads.Load(), c.done.jobs.Load(), median(c.recovery), slices.Max(c.recovery), len(c.problems))
		}
	}
	return nil
}

// start starts the box on what the last one left.
func (c *crash) start(ctx context.Context) (err error) {
	if c.box, err = c.b.startPushBox(ctx, "127.0.0.1:0", crashConfig); err != nil {
		return err
	}
	c.url.Store(&c.box.url)
	return nil
}

// stillborn starts the box and kills it before it has taken up all that there was.
func (c *crash) stillborn(ctx context.Context, after time.Duration) {
	cmd := exec.CommandContext(ctx, c.b.binary, "run", "-c", filepath.Join(c.b.tmp, "push.yaml"))
	if err := cmd.Start(); err != nil {
		c.problem("start the box: %v", err)
		return
	}
	sleep(ctx, after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	c.done.stillborn.Add(1)
}

// awaitMore returns when a counter has grown, or after most.
func awaitMore(ctx context.Context, n *atomic.Int64, most time.Duration) {
	before := n.Load()
	for end := time.Now().Add(most); n.Load() == before && time.Now().Before(end) && ctx.Err() == nil; {
		sleep(ctx, 5*time.Millisecond)
	}
}

// killWorker kills the worker of a job that runs.
func (c *crash) killWorker(ctx context.Context) {
	var list struct{ Jobs []crashJob }
	if err := c.ask(ctx, "GET", "/api/v1/jobs", &list); err != nil {
		return // the next kill is the box's
	}
	for _, j := range list.Jobs {
		if j.Worker != nil && syscall.Kill(j.Worker.PID, syscall.SIGKILL) == nil {
			c.done.workerKills.Add(1)
			return
		}
	}
}

func (c *crash) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.mu.Lock()
	c.problems = append(c.problems, text)
	c.mu.Unlock()
	fmt.Fprintln(os.Stderr, "PROBLEM:", text)
}

// finish waits until everybody is through, and looks at what is left.
func (c *crash) finish(ctx context.Context, running *sync.WaitGroup) error {
	through := make(chan struct{})
	go func() { running.Wait(); close(through) }()
	select {
	case <-through:
	case <-time.After(3 * time.Minute):
		c.problem("somebody is not through three minutes after the last kill")
		return errors.New("the clients do not get through")
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.check(ctx, c.promised()); err != nil {
		return err
	}
	c.compareBytes(c.promised())
	if err := c.dropNameless(ctx); err != nil {
		return err
	}
	sleep(ctx, time.Second) // the janitor takes what was removed just now
	c.left(ctx)
	if err := c.box.stop(); err != nil {
		c.problem("the box ends with %v", err)
	}
	out, err := exec.CommandContext(ctx, c.b.binary, "state", "check", "--data", c.data).CombinedOutput()
	if err != nil {
		c.problem("state check: %v: %s", err, out)
	}
	fmt.Fprintf(os.Stderr, "state check: %s", out)
	return nil
}

// dropNameless removes the uploads that were created in the moment of a kill, whose
// id nobody was told: they would expire.
func (c *crash) dropNameless(ctx context.Context) error {
	list, err := c.uploads(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, u := range list {
		c.mu.Lock()
		known := c.files[u.ID] != nil
		c.mu.Unlock()
		if known {
			continue
		}
		n++
		if u.Received > 0 {
			c.problem("the upload %s has %d bytes and nobody was ever told of it", u.ID, u.Received)
		}
		if err := c.ask(ctx, "DELETE", "/api/v1/uploads/"+u.ID, nil); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "%d uploads were created without an answer\n", n)
	return nil
}

// left compares the folders with what the box knows.
func (c *crash) left(ctx context.Context) {
	var jobs struct{ Jobs []crashJob }
	list, err := c.uploads(ctx)
	if err == nil {
		err = c.ask(ctx, "GET", "/api/v1/jobs", &jobs)
	}
	if err != nil {
		c.problem("at the end: %v", err)
		return
	}
	var uploads, folders []string
	for _, u := range list {
		uploads = append(uploads, u.ID)
	}
	for _, j := range jobs.Jobs {
		folders = append(folders, j.ID)
	}
	c.compareFolder("uploads", uploads)
	c.compareFolder("jobs", append(folders, ".trash"))
	// What a finished job's folder holds was compared when it was done; no more may have come.
	_ = filepath.WalkDir(c.data, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || strings.HasSuffix(name, ".part") || strings.Contains(name, ".tmp") || name == "checkpoint.json" ||
			filepath.Base(filepath.Dir(path)) == ".trash" {
			c.leftover++
			c.problem("left behind: %s %v", path, err)
		}
		return nil
	})
}

func (c *crash) compareFolder(name string, want []string) {
	list, err := os.ReadDir(filepath.Join(c.data, name))
	if err != nil {
		c.problem("%v", err)
		return
	}
	for _, e := range list {
		if i := slices.Index(want, e.Name()); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else {
			c.leftover++
			c.problem("left behind: %s/%s", name, e.Name())
		}
	}
	for _, w := range want {
		c.leftover++
		c.problem("%s/%s is gone, and the box has a record of it", name, w)
	}
}

func (c *crash) report(rounds int) {
	b, d := c.b, &c.done
	s := slices.Sorted(slices.Values(c.recovery))
	b.report("rounds", float64(rounds), "", told())
	b.report("uploads finished", float64(d.uploads.Load()), "", told())
	b.report("acknowledged", float64(d.bytes.Load())/1e6, "MB", told())
	b.report("jobs finished", float64(d.jobs.Load()), "", told())
	b.report("jobs begun while their file arrived", float64(d.streamed.Load()), "", told())
	b.report("jobs canceled", float64(d.canceled.Load()), "", told())
	b.report("lines of results read", float64(d.lines.Load()), "", told())
	b.report("workers killed alone", float64(d.workerKills.Load()), "", told())
	b.report("boxes killed once more while they came up", float64(d.stillborn.Load()), "", told())
	b.report("times that a job was held back or set aside and asked for again", float64(d.again.Load()), "", told())
	b.report("acknowledged bytes lost", float64(c.lost), "", atMost(0))
	b.report("results lost, doubled or changed", float64(c.wrong), "", atMost(0))
	b.report("results that differ from the uninterrupted run", float64(c.differ), "", atMost(0))
	b.report("left behind or missing at the end", float64(c.leftover), "", atMost(0))
	b.report("other problems", float64(max(0, len(c.problems)-c.wrong-c.differ-c.leftover)), "", atMost(0))
	b.report("recovery, median", median(s), "s", told())
	b.report("recovery, p99", s[cmp.Or(len(s)*99/100, 0)], "s", told())
	b.report("slowest recovery", s[len(s)-1], "s", atMost(1))
}
