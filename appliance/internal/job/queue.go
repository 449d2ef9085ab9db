package job

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/watchpost/watchpost/state"
)

// lookEvery is how often the loop looks at the cameras and at workers that may
// be waiting for bytes.
const lookEvery = time.Second

// Run is the jobs' life, until ctx ends; then the workers are stopped, what they
// found is noted, and nil is returned. It can be called once.
func (q *Jobs) Run(ctx context.Context) error {
	if !q.running.CompareAndSwap(false, true) {
		return errors.New("job: Run was called twice")
	}
	var parts sync.WaitGroup
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := q.deps.Files.Watch(q.mail.put)
	parts.Go(func() { q.intake(inner) })
	parts.Go(func() { q.janitor(inner) })
	q.loop(inner)
	stop()
	parts.Wait()
	q.mu.Lock()
	q.listed = false // nothing new is taken up from here on
	q.mu.Unlock()
	q.runs.Wait()
	return nil
}

// loop decides which job runs. It waits for nothing.
func (q *Jobs) loop(ctx context.Context) {
	var tick <-chan time.Time
	ticked, enter := func() {}, func() func() { return func() {} }
	if l := q.deps.Loop; l != nil {
		tick, ticked, enter = l.Tick(), l.Ticked, l.Enter
	}
	gauge := newGauge(q.cfg.Pressure)
	timer := time.NewTimer(0)
	defer timer.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			ticked()
			continue
		case <-q.wake:
		case <-timer.C:
		case now := <-look.C:
			leave := enter()
			q.relieve(gauge, now)
			q.starve(now)
			leave()
		}
		leave := enter()
		timer.Reset(q.step(ctx, time.Now()))
		leave()
	}
}

// step starts what may start, and returns how long nothing else can.
func (q *Jobs) step(ctx context.Context, now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.listed || ctx.Err() != nil {
		return time.Minute
	}
	active, suspects := 0, 0
	var ready []*entry
	wait := time.Minute
	for _, e := range q.entries {
		switch {
		case e.run != nil:
			active++
			if suspect(e) {
				suspects++
			}
		case e.doomed || e.rec.Status != state.JobQueued:
		case e.notBefore().After(now):
			wait = min(wait, e.notBefore().Sub(now))
		case q.files[e.rec.Upload] != nil:
			ready = append(ready, e)
		}
	}
	if q.pressed.On {
		return wait
	}
	slices.SortFunc(ready, order)
	for _, e := range ready {
		// The suspect in a string of breakdowns runs alone, so that no other job is
		// taken for it.
		if active >= q.cfg.Concurrency || suspects > 0 || suspect(e) && active > 0 {
			break
		}
		q.launch(ctx, e, now)
		active++
		if suspect(e) {
			suspects++
		}
	}
	return wait
}

func suspect(e *entry) bool { return e.rec.Reboots > 0 || e.rec.Restarts >= fewRestarts }

func (e *entry) notBefore() time.Time {
	if e.hold.After(e.rec.NotBefore) {
		return e.hold
	}
	return e.rec.NotBefore
}

// order is that of the queue: by priority, then by age.
func order(a, b *entry) int {
	return cmp.Or(cmp.Compare(b.rec.Priority, a.rec.Priority), a.rec.Created.Compare(b.rec.Created), cmp.Compare(a.rec.ID, b.rec.ID))
}

// launch gives a job its place; mu is held.
func (q *Jobs) launch(ctx context.Context, e *entry, now time.Time) {
	r := &run{id: e.rec.ID, upload: e.rec.Upload, began: now, over: make(chan struct{})}
	e.run = r
	e.last = figures{}
	q.runs.Add(1)
	go q.perform(ctx, e, r)
}

// relieve looks at the cameras and lets jobs rest, or go on.
func (q *Jobs) relieve(g *gauge, now time.Time) {
	if !q.cfg.PauseForLive || q.deps.Live == nil {
		return
	}
	cameras := q.deps.Live()
	q.mu.Lock()
	working := false
	for _, e := range q.entries {
		working = working || e.run != nil && e.run.proc != nil && !e.run.paused
	}
	before := q.pressed
	q.pressed = g.sample(now, cameras, working)
	after := q.pressed
	var changed []string
	if before.On != after.On {
		for id, e := range q.entries {
			if e.run != nil {
				q.rest(e.run, after)
				changed = append(changed, id)
			}
		}
	}
	q.mu.Unlock()
	if before.On == after.On {
		return
	}
	q.log.Info("jobs: room for the live cameras", "resting", after.On, "reason", after.Reason, "jobs", len(changed))
	for _, id := range changed {
		q.tell(id)
	}
}

// idleShare is the part of a processor below which a worker on an arriving file
// has next to nothing to do.
const idleShare = 0.25

// starve stops the workers that wait for bytes which do not come, and, where other
// jobs are ready, those whose bytes come so slowly that they hardly work. What they
// found stays; they go on when it is worth it.
func (q *Jobs) starve(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		r := e.run
		if r == nil || r.proc == nil || !r.stream || r.told.Complete || r.paused || r.asked != stopNot {
			continue
		}
		silent := now.Sub(r.lastBytes) >= q.cfg.StarveAfter && now.Sub(r.lastFrames) >= q.cfg.StarveAfter
		worth := int64(wakeBytes)
		if !silent {
			if !q.idles(e, r, now) || !q.othersReady(now) {
				continue
			}
			worth = 8 * wakeBytes
			if f := q.files[r.upload]; f != nil {
				worth = max(worth, f.Size/8)
			}
		}
		r.asked = stopStarved
		e.wakes = r.told.Bytes + worth
		r.proc.Stop()
	}
}

// idles tells, once in StarveAfter, whether a worker hardly worked since it was
// last asked; mu is held.
func (q *Jobs) idles(e *entry, r *run, now time.Time) bool {
	took := now.Sub(r.weighed)
	if took < q.cfg.StarveAfter || !e.last.has {
		return false
	}
	share := (e.last.beat.CPU - r.worked).Seconds() / took.Seconds()
	r.weighed, r.worked = now, e.last.beat.CPU
	return share < idleShare
}

// othersReady tells whether a job waits for nothing but a place; mu is held.
func (q *Jobs) othersReady(now time.Time) bool {
	for _, e := range q.entries {
		if f := q.files[e.rec.Upload]; f != nil && f.Complete() && e.run == nil && !e.doomed &&
			e.rec.Status == state.JobQueued && !e.notBefore().After(now) {
			return true
		}
	}
	return false
}
