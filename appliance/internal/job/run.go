package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// run is one attempt, from its place in the queue being taken to its end being
// on disk. One goroutine, perform, is its owner.
type run struct {
	id     string
	upload string
	began  time.Time
	over   chan struct{} // closed when nothing of it is left

	// Under Jobs.mu:
	proc       Process // nil until the worker runs, and when it is gone
	asked      stop
	paused     bool
	stream     bool
	told       link.Grow     // the last that the worker knows
	lastBytes  time.Time     // when told last grew
	lastFrames time.Time     // when the worker last decoded something
	weighed    time.Time     // when its work was last looked at,
	worked     time.Duration // and how much processor time it had used then
	said, done bool
}

// afterthought is how long a worker's unlooked-for end waits to be counted: what
// ends the box often ends its workers too, and a little earlier. Where the box
// goes down meanwhile, the end is nobody's fault.
const afterthought = 250 * time.Millisecond

// perform makes one attempt.
func (q *Jobs) perform(ctx context.Context, e *entry, r *run) {
	defer q.runs.Done()
	book, err := q.book(r.id)
	if err == nil {
		err = q.attempt(ctx, e, r, book)
		q.shelf.leave(book)
	}
	q.mu.Lock()
	e.run = nil
	if err != nil {
		// Neither the job's fault nor its worker's: no attempt was noted.
		e.hold = time.Now().Add(q.cfg.RetryMin)
	}
	ended := over(e.rec.Status)
	q.mu.Unlock()
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrConflict) {
		q.log.Error("a job could not be begun", "job", r.id, "again_in", q.cfg.RetryMin, "err", err)
	}
	if ended {
		q.endBook(r.id)
	}
	close(r.over)
	q.consider(r.upload)
	q.tell(r.id)
	nudge(q.wake)
}

// attempt notes the attempt, runs the worker, and notes how it ended. An error:
// the attempt was not noted and no worker ran.
func (q *Jobs) attempt(ctx context.Context, e *entry, r *run, book *logbook) error {
	dir := q.folder(r.id)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the results folder: %w", err)
	}
	if err := book.find(ctx); err != nil {
		return err
	}
	book.reopen()
	q.mu.Lock()
	f := q.files[r.upload]
	stream, gone := f != nil && !f.Complete(), f == nil || r.asked != stopNot
	unnamed := e.rec.Settings.Model == ""
	q.mu.Unlock()
	if gone {
		return explain(ErrConflict, "it was canceled meanwhile")
	}
	model := ""
	if unnamed {
		model = q.deps.DefaultModel()
	}
	q.log.Info("job: attempt begins", "job", r.id, "arriving", stream)
	note := state.Attempt{Boot: q.cfg.Boot, Started: r.began.UTC(), Bytes: settled(dir)}
	j, err := q.changeEntry(e, r.id, func(j *state.Job) error { return begin(j, note, stream, model) })
	if err != nil {
		return err
	}
	q.metrics.attempts.Inc()
	v := q.work(ctx, r, j.Job, book)
	if (v.end == endDied || v.end == endPassing) && !sleep(ctx, afterthought) {
		v = verdict{end: endStopped}
	}
	q.conclude(ctx, e, r, v, book)
	return nil
}

// work runs the worker to its end and tells what that means.
func (q *Jobs) work(ctx context.Context, r *run, j state.Job, book *logbook) verdict {
	dir := q.folder(r.id)
	if outcome, err := readOutcome(dir); err == nil {
		// It was complete when the box went down, and nobody noted it.
		if err := q.countAll(ctx, dir, book); err != nil {
			return passing(link.FaultInternal, err.Error())
		}
		return verdict{end: endDone, outcome: outcome}
	}
	path, err := q.deps.Files.Path(j.Upload)
	if err != nil {
		return verdict{end: endFailed, kind: faultUpload, fault: line(err.Error())}
	}
	start := startOf(j, path, dir)
	q.mu.Lock()
	f := q.files[j.Upload]
	if f == nil || r.asked != stopNot {
		q.mu.Unlock()
		return verdict{end: endStopped}
	}
	start.SHA256 = f.SHA256
	if r.stream = j.Streamed; r.stream {
		g := f.grow()
		start.Feed, r.told = &g, g
	}
	r.lastBytes, r.lastFrames, r.weighed = time.Now(), time.Now(), time.Now()
	q.mu.Unlock()

	proc, err := q.deps.Spawn(ctx, start, j.Settings, func(m link.Message) { q.report(r, book, m) })
	if err != nil {
		return q.unspawned(ctx, r, err)
	}
	q.mu.Lock()
	r.proc = proc
	q.feed(r, q.files[j.Upload]) // what came while it was being started
	if r.paused {
		proc.Pause(link.Pause{On: true, Reason: q.pressed.Reason})
	}
	stopped := r.asked != stopNot
	q.mu.Unlock()
	if stopped || ctx.Err() != nil {
		proc.Stop()
	}
	unhook := context.AfterFunc(ctx, func() { q.stopRun(r.id, stopClosing) })
	exit := proc.Wait()
	unhook()

	sc, _ := book.look()
	q.mu.Lock()
	a := attempt{
		exit: exit, asked: r.asked, said: r.said, done: r.done,
		stream: r.stream, lines: sc.mark.seq, name: j.Name, path: path,
	}
	r.proc = nil
	q.mu.Unlock()
	if a.done {
		if a.outcome, a.outErr = readOutcome(dir); a.outErr == nil {
			a.outErr = q.countAll(ctx, dir, book)
		}
	}
	return judge(a)
}

func startOf(j state.Job, path, dir string) link.Start {
	s := j.Settings
	return link.Start{
		Camera: j.ID, Name: j.Name, Title: j.Name, Mode: "file",
		Source:    link.Source{URL: path, Track: s.Track},
		Threshold: s.Threshold, Classes: s.Classes, Gate: s.Gate, MaxFPS: s.MaxFPS, NoVideo: s.NoVideo,
		OutDir: dir, Resume: j.Attempts > 1, Confine: true,
	}
}

// unspawned judges a worker that could not be started.
func (q *Jobs) unspawned(ctx context.Context, r *run, err error) verdict {
	q.mu.Lock()
	asked := r.asked
	q.mu.Unlock()
	if ctx.Err() != nil || asked != stopNot {
		return verdict{end: endStopped}
	}
	var fault link.Fault
	if errors.As(err, &fault) {
		return attempt{}.faulty(fault)
	}
	return passing(link.FaultInternal, line(err.Error()))
}

// countAll makes the whole of a finished log what stands: its worker is done and
// has synced it.
func (q *Jobs) countAll(ctx context.Context, dir string, book *logbook) error {
	// The box may be going down; a result is worth the moment it takes.
	ctx = context.WithoutCancel(ctx)
	f, err := openRegular(filepath.Join(dir, detectionsName))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sc, err := book.look()
	if err != nil || sc.known && sc.mark.bytes == info.Size() {
		return err
	}
	m, err := count(ctx, f, func(place) {})
	if err != nil {
		return err
	}
	if m.bytes != info.Size() {
		return fmt.Errorf("%s is damaged after line %d", detectionsName, m.seq)
	}
	book.commit(m.seq, m.bytes)
	return nil
}

// conclude notes how an attempt ended. Where the database does not take it, it is
// tried again: the place in the queue stays taken, and nothing else could run.
func (q *Jobs) conclude(ctx context.Context, e *entry, r *run, v verdict, book *logbook) {
	sc, _ := book.look()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		j, err := q.changeEntry(e, r.id, func(j *state.Job) error {
			q.cfg.settle(j, v, sc.mark, time.Now().UTC())
			return nil
		})
		if err == nil {
			q.ended(r, j, v)
			return
		}
		if errors.Is(err, ErrNotFound) {
			return // removed meanwhile
		}
		q.log.Error("the end of a job could not be noted", "job", r.id, "again_in", wait, "err", err)
		if !sleep(ctx, wait) {
			return // the next start of the box finds the attempt open
		}
	}
}

func (q *Jobs) ended(r *run, j Job, v verdict) {
	took := time.Since(r.began)
	q.metrics.ended(v.end, took)
	args := []any{"job", j.ID, "name", j.Name, "status", j.Job.Status, "lines", j.Results, "took", took.Round(time.Millisecond)}
	if j.Fault != "" {
		args = append(args, "reason", j.Fault)
	}
	if v.end == endDied {
		q.log.Warn("job: its worker died", append(args, "deaths", j.Deaths)...)
		return
	}
	q.log.Info("job: attempt ended", args...)
}

// report takes one message of a worker, on that worker's goroutine.
func (q *Jobs) report(r *run, book *logbook, m link.Message) {
	switch v := m.Value.(type) {
	case link.Committed:
		book.commit(v.Seq, v.Bytes)
	case link.Hello, link.Beat, link.Done, link.Confined:
		q.note(r, v)
	default:
		return
	}
	q.tell(r.id)
}

func (q *Jobs) note(r *run, v any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[r.id]
	if e == nil || e.run != r {
		return
	}
	switch v := v.(type) {
	case link.Hello:
		r.said, e.last.pid, e.last.confined = true, v.PID, nil
	case link.Beat:
		if v.Ledger.Decoded != e.last.beat.Ledger.Decoded {
			r.lastFrames = time.Now()
		}
		e.last.beat, e.last.has = v, true
	case link.Done:
		r.done = true
		e.last.beat.Ledger, e.last.has = v.Ledger, true
	case link.Confined:
		e.last.confined = &v
	}
}

// feed tells a worker how much of its file has arrived; mu is held.
func (q *Jobs) feed(r *run, f *file) {
	if f == nil || r.proc == nil || !r.stream {
		return
	}
	g := f.grow()
	if g == r.told || g.Bytes < r.told.Bytes {
		return
	}
	r.told, r.lastBytes = g, time.Now()
	r.proc.Grow(g)
}

// stopRun has a job's worker stop, if there is one. A later reason wins over an
// earlier one only if it is the stronger.
func (q *Jobs) stopRun(id string, why stop) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil || e.run == nil {
		return
	}
	r := e.run
	r.asked = max(r.asked, why)
	if r.proc != nil {
		r.proc.Stop()
	}
}

// endBook tells a job's readers that no more lines come, if that is so.
func (q *Jobs) endBook(id string) {
	q.mu.Lock()
	e := q.entries[id]
	done := e != nil && e.run == nil && over(e.rec.Status)
	q.mu.Unlock()
	if b := q.shelf.peek(id); b != nil && done {
		b.end()
	}
}

// sleep waits; false when ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
