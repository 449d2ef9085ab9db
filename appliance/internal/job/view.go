package job

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// Job is all there is to know of a job at one moment. Status is JobPaused while
// its worker rests; Results are those committed.
type Job struct {
	state.Job
	Progress Progress
	Ledger   *link.Ledger // of this or the last attempt; nil: none yet
	Worker   *Worker      // nil: none runs
}

// Progress is how far a job is.
type Progress struct {
	Frames             uint64        // decoded
	Position, Duration time.Duration // in the video; 0: not known
	FPS                float64       // frames a second, over the last second
	// Percent of the video, or of the file where its duration is not known; less
	// than 0: it cannot be told.
	Percent float64
}

// Worker is the process at work on a job.
type Worker struct {
	PID      int
	RSS      int64 // bytes
	CPU      time.Duration
	Started  time.Time
	Confined *link.Confined // nil: it has not said so yet
}

// figures are what a worker tells of itself.
type figures struct {
	beat     link.Beat
	has      bool // beat came
	confined *link.Confined
	pid      int
}

// view is a job as it is now; mu is held.
func (q *Jobs) view(e *entry) Job {
	j := Job{Job: e.rec, Progress: Progress{Percent: -1}}
	if j.Status == state.JobRunning && e.run != nil && e.run.paused {
		j.Status, j.Fault = state.JobPaused, q.pressed.Reason
	}
	if b := q.shelf.peek(e.rec.ID); b != nil {
		if sc, err := b.look(); err == nil && sc.known {
			j.Results, j.ResultsBytes = sc.mark.seq, sc.mark.bytes
		}
	}
	if e.last.has {
		beat := e.last.beat
		l := beat.Ledger
		j.Ledger = &l
		j.Progress = Progress{Frames: l.Decoded, Position: beat.Position, Duration: beat.Duration, Percent: -1}
		if beat.Duration > 0 {
			j.Progress.Percent = min(100, 100*beat.Position.Seconds()/beat.Duration.Seconds())
		}
	}
	if r := e.run; r != nil {
		j.Progress.FPS = e.last.beat.SourceFPS
		if e.last.pid != 0 {
			j.Worker = &Worker{PID: e.last.pid, RSS: e.last.beat.RSS, CPU: e.last.beat.CPU, Started: r.began, Confined: e.last.confined}
		}
	}
	if j.Status == state.JobDone {
		j.Progress.Percent = 100
	}
	return j
}

// Get returns one job.
func (q *Jobs) Get(id string) (Job, error) {
	e, err := q.entry(id)
	if err != nil {
		return Job{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.view(e), nil
}

// List returns all jobs, oldest first.
func (q *Jobs) List() []Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]Job, 0, len(q.entries))
	for _, e := range q.entries {
		if !e.doomed {
			all = append(all, q.view(e))
		}
	}
	slices.SortFunc(all, func(a, b Job) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// OfUpload returns the ids of an upload's jobs, oldest first. It knows of the job that
// an upload's completion made as soon as that is durable, before the intake has heard of
// it: whoever is told that the file is complete asks for its job next.
func (q *Jobs) OfUpload(upload string) []string {
	ids := []string{}
	q.mu.Lock()
	own := ownJob(upload)
	if q.entries[own] != nil {
		own = "" // known, if only as one that is being removed
	}
	for _, e := range q.uploads[upload] {
		if !e.doomed {
			ids = append(ids, e.rec.ID)
		}
	}
	q.mu.Unlock()
	if own != "" && q.recorded(own) {
		ids = append([]string{own}, ids...)
	}
	return ids
}

// recorded tells whether the database has a job. An error is like none being there:
// the intake meets it too, and tells.
func (q *Jobs) recorded(id string) bool {
	if !state.ValidID('j', id) {
		return false
	}
	_, there, err := q.deps.DB.Jobs().Get(id)
	return there && err == nil
}

// InUse tells whether a job needs the bytes of an upload that is complete. One
// that is arriving is its sender's: its jobs end with it.
func (q *Jobs) InUse(upload string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f := q.files[upload]; f != nil && f.Arriving() {
		return false
	}
	for _, e := range q.uploads[upload] {
		if !over(e.rec.Status) || e.run != nil {
			return true
		}
	}
	return false
}

// Event is something that happened to a job: one of the fields is set.
type Event struct {
	Job     *Job   // it is like this now
	Removed string // the job with this id is gone
}

type watchers struct {
	mu      sync.Mutex
	deliver map[int]func(Event)
	next    int
}

// Watch has deliver called with every later Event, in order for each job, until
// stop. deliver returns at once; it may be called once more after stop.
func (q *Jobs) Watch(deliver func(Event)) (stop func()) {
	w := &q.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.next
	w.next++
	w.deliver[n] = deliver
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.deliver, n)
	}
}

// tell has the watchers know how a job is now. Their lock is taken first, so
// that nobody hears of an older state after a newer one.
func (q *Jobs) tell(id string) {
	w := &q.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.deliver) == 0 {
		return
	}
	ev := Event{Removed: id}
	q.mu.Lock()
	e := q.entries[id]
	if e != nil {
		j := q.view(e)
		ev = Event{Job: &j}
	}
	doomed := e != nil && e.doomed
	q.mu.Unlock()
	if doomed {
		return // its removal is told when it is done
	}
	for _, deliver := range w.deliver {
		deliver(ev)
	}
}
