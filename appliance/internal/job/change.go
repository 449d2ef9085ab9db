package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/watchpost/watchpost/state"
)

// recover reads the records and settles the attempts that the box went down in.
func (q *Jobs) recover(now time.Time) error {
	all, err := q.deps.DB.Jobs().All()
	if err != nil {
		return fmt.Errorf("read the jobs: %w", err)
	}
	changed := map[string]state.Job{}
	for _, j := range all {
		if j.Attempt != nil {
			interrupted(&j, q.cfg.Boot, settled(q.folder(j.ID)), now)
			changed[j.ID] = j
			q.log.Info("a job was running when the box went down", "job", j.ID, "name", j.Name, "status", j.Status)
		}
		q.add(j)
	}
	if len(changed) == 0 {
		return nil
	}
	if err := q.deps.DB.Jobs().PutAll(changed); err != nil {
		return fmt.Errorf("settle the jobs that were running: %w", err)
	}
	return nil
}

// entry is a job as it is in memory. One that its upload's completion made just now is
// on its way there: it is waited for.
func (q *Jobs) entry(id string) (*entry, error) {
	const step = 5 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		q.mu.Lock()
		e := q.entries[id]
		there := e != nil && !e.doomed
		q.mu.Unlock()
		if there {
			return e, nil
		}
		if e != nil || waited >= time.Second || !q.recorded(id) {
			return nil, noJob()
		}
		time.Sleep(step)
	}
}

// change makes one durable change of a job's record: it is on disk before
// anybody is told. What step returns is returned, and nothing is changed then.
func (q *Jobs) change(id string, step func(*state.Job) error) (Job, error) {
	e, err := q.entry(id)
	if err != nil {
		return Job{}, err
	}
	return q.changeEntry(e, id, step)
}

func (q *Jobs) changeEntry(e *entry, id string, step func(*state.Job) error) (Job, error) {
	e.turn.Lock()
	defer e.turn.Unlock()
	var rec state.Job
	err := q.deps.DB.Jobs().Update(id, func(j *state.Job) error {
		rec = *j
		if err := step(&rec); err != nil {
			return err
		}
		*j = rec
		return nil
	})
	if errors.Is(err, state.ErrNotFound) {
		return Job{}, noJob()
	}
	if err != nil {
		return Job{}, err
	}
	q.mu.Lock()
	e.rec = rec
	q.mu.Unlock()
	q.tell(id)
	nudge(q.wake)
	return q.Get(id)
}

// insert adds a job unless there is one of its id. The database may have it
// already: the upload's own transaction makes it.
func (q *Jobs) insert(j state.Job) error {
	q.mu.Lock()
	_, there := q.entries[j.ID]
	q.mu.Unlock()
	if there {
		return nil
	}
	err := q.deps.DB.Update(func(tx state.Tx) error {
		have, ok, err := tx.Jobs().Get(j.ID)
		if ok {
			j = have
		}
		if ok || err != nil {
			return err
		}
		return tx.Jobs().Put(j.ID, j)
	})
	if err != nil {
		return fmt.Errorf("make a job for %s: %w", j.Name, err)
	}
	q.mu.Lock()
	q.add(j)
	q.mu.Unlock()
	q.tell(j.ID)
	nudge(q.wake)
	return nil
}

// ownJob is the id of the job that an upload brings about by itself. It follows
// from the upload's, so that there is one, whoever makes it.
func ownJob(upload string) string {
	if !state.ValidID('u', upload) {
		return ""
	}
	return "j" + upload[1:]
}

// Completed makes the job of an upload that is becoming complete, in the same
// transaction, unless it was begun while the upload arrived. It is for the
// uploads to call.
func (q *Jobs) Completed(tx state.Tx, u state.Upload) error {
	id := ownJob(u.ID)
	if u.NoJob || id == "" {
		return nil
	}
	if _, there, err := tx.Jobs().Get(id); there || err != nil {
		return err
	}
	return tx.Jobs().Put(id, newJob(id, FileOf(u), time.Now()))
}

func newJob(id string, f File, now time.Time) state.Job {
	return state.Job{
		ID: id, Upload: f.ID, Name: f.Name, Status: state.JobQueued,
		Priority: clampPriority(f.Priority), Settings: f.Settings, Created: now.UTC(),
	}
}

// maxPriority bounds what is asked for, both ways.
const maxPriority = 100

func clampPriority(n int) int { return min(max(n, -maxPriority), maxPriority) }

// Spec is a job that somebody asks for.
type Spec struct {
	Upload   string
	Settings state.Settings
	Priority int
}

// maxJobs is how many jobs are kept in all: each takes memory, a record and a folder.
const maxJobs = 20_000

// Full is why there is no room for another job; nil: there is.
func (q *Jobs) Full() error {
	q.mu.Lock()
	n := len(q.entries)
	q.mu.Unlock()
	if n < maxJobs {
		return nil
	}
	q.full.Dropped(1)
	return explain(ErrConflict, fmt.Sprintf("The box keeps the results of %d analyses, as many as it can list: delete some, or have it keep them for a time (jobs.keep in its configuration).", n))
}

// Create makes one more job for an upload. It is durable when Create returns.
func (q *Jobs) Create(_ context.Context, s Spec) (Job, error) {
	q.mu.Lock()
	f := q.files[s.Upload]
	var known File
	if f != nil {
		known = f.File
	}
	listed := q.listed
	q.mu.Unlock()
	full := q.Full()
	switch {
	case !listed:
		return Job{}, explain(ErrClosing, "The box is starting or going down: try again in a moment.")
	case f == nil:
		return Job{}, explain(ErrNotFound, "There is no upload with this id: it was removed, or never made. Send the file again.")
	case known.Status == state.UploadRefused:
		return Job{}, explain(ErrConflict, "This upload was refused ("+known.Problem+"): send the file again.")
	case full != nil:
		return Job{}, full
	case s.Priority != clampPriority(s.Priority):
		return Job{}, explain(ErrInvalid, fmt.Sprintf("A priority is from %d to %d.", -maxPriority, maxPriority))
	}
	j := newJob(state.NewJobID(), known, time.Now())
	j.Settings, j.Priority = s.Settings, s.Priority
	if !known.Complete() {
		await(&j, waitForEnd)
	}
	if err := q.insert(j); err != nil {
		return Job{}, err
	}
	q.mu.Lock()
	gone := q.files[s.Upload] == nil
	q.mu.Unlock()
	if gone { // meanwhile: whoever dealt with that did not know of this job
		return q.cancel(j.ID, faultUpload, "the upload was removed")
	}
	q.consider(s.Upload)
	return q.Get(j.ID)
}

// Cancel ends a job; what it found so far stays and can be read. It is durable
// when Cancel returns; its worker may take a moment to go.
func (q *Jobs) Cancel(_ context.Context, id string) (Job, error) {
	return q.cancel(id, "", "")
}

func (q *Jobs) cancel(id, kind, why string) (Job, error) {
	j, err := q.change(id, func(j *state.Job) error { return cancel(j, kind, why, time.Now().UTC()) })
	if err != nil {
		return Job{}, err
	}
	q.endBook(id)
	q.stopRun(id, stopCancel)
	return j, nil
}

// Retry has a job that has ended, or that waits for its next try, tried again at
// once. It goes on from the results that it has.
func (q *Jobs) Retry(_ context.Context, id string) (Job, error) {
	e, err := q.entry(id)
	if err != nil {
		return Job{}, err
	}
	q.mu.Lock()
	f := q.files[e.rec.Upload]
	listed, ready := q.listed, f != nil && f.Complete()
	q.mu.Unlock()
	if !listed {
		return Job{}, explain(ErrClosing, "The box is starting or going down: try again in a moment.")
	}
	if f == nil {
		return Job{}, explain(ErrConflict, "The upload of this job is not here any more: send the file again.")
	}
	j, err := q.changeEntry(e, id, func(j *state.Job) error {
		if err := retry(j); err != nil {
			return err
		}
		if !ready {
			await(j, waitForEnd)
		}
		return nil
	})
	if err != nil {
		return Job{}, err
	}
	q.mu.Lock()
	e.hold, e.wakes = time.Time{}, 0
	q.mu.Unlock()
	if b := q.shelf.peek(id); b != nil {
		b.reopen()
	}
	q.consider(j.Upload)
	nudge(q.wake)
	return q.Get(id)
}

// SetPriority moves a job within the queue.
func (q *Jobs) SetPriority(_ context.Context, id string, n int) (Job, error) {
	if n != clampPriority(n) {
		return Job{}, explain(ErrInvalid, fmt.Sprintf("A priority is from %d to %d.", -maxPriority, maxPriority))
	}
	return q.change(id, func(j *state.Job) error { j.Priority = n; return nil })
}

// add takes a record up unless it is known; mu is held, or nobody else is there.
func (q *Jobs) add(j state.Job) {
	if q.entries[j.ID] != nil {
		return
	}
	e := &entry{rec: j}
	q.entries[j.ID] = e
	all := append(q.uploads[j.Upload], e)
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.rec.ID, b.rec.ID) })
	q.uploads[j.Upload] = all
}

// drop forgets a job; mu is held.
func (q *Jobs) drop(id string) {
	e := q.entries[id]
	delete(q.entries, id)
	left := slices.DeleteFunc(q.uploads[e.rec.Upload], func(o *entry) bool { return o == e })
	if q.uploads[e.rec.Upload] = left; len(left) == 0 {
		delete(q.uploads, e.rec.Upload)
	}
}

func isRefusal(err error) bool { return errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) }
