package job

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// waitForEnd is what a job of an upload waits for that cannot be read as a stream,
// or of which that is not known yet.
const waitForEnd = "analysis starts after the last byte"

// wakeBytes are to come before a job goes on that was stopped for want of bytes:
// its worker decodes again what it had, which a few bytes are not worth.
const wakeBytes = 1 << 20

// file is an upload and what is known of its beginning. The File in it is under
// Jobs.mu; the rest is the intake's.
type file struct {
	File
	layout *Layout // told; nil: not yet
	need   int64   // bytes before it is worth looking again
}

func (f *file) grow() link.Grow {
	g := link.Grow{Bytes: f.Contiguous}
	if f.Complete() {
		g.Complete, g.SHA256 = true, f.SHA256
	}
	return g
}

// FileOf is an upload's record as jobs see it. What lies without a gap at its
// start is told by its extents.
func FileOf(u state.Upload) File {
	f := File{
		ID: u.ID, Name: u.Name, Size: u.Size, Status: u.Status,
		SHA256: u.SHA256, Problem: u.Problem, NoJob: u.NoJob,
	}
	if len(u.Have) > 0 && u.Have[0].From == 0 {
		f.Contiguous = u.Have[0].To
	}
	if u.Settings != nil {
		f.Settings = *u.Settings
	}
	if n, err := strconv.Atoi(u.Metadata["priority"]); err == nil {
		f.Priority = clampPriority(n)
	}
	return f
}

// intakeMail holds what became of uploads since the intake last looked: of each
// only the newest, so that it is bounded by their number. put never blocks.
type intakeMail struct {
	wake  chan struct{} // capacity 1
	mu    sync.Mutex
	files map[string]File
}

// maxFiles is of how many uploads there is news at most: of all that the box keeps.
const maxFiles = 20_000

func (m *intakeMail) waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.files)
}

func (m *intakeMail) put(f File) {
	m.mu.Lock()
	m.files[f.ID] = f
	m.mu.Unlock()
	nudge(m.wake)
}

// again has the intake look at an upload once more; an empty File but for the id
// says that nothing is new of it.
func (m *intakeMail) again(id string) {
	m.mu.Lock()
	if _, there := m.files[id]; !there {
		m.files[id] = File{ID: id, Status: sameAgain}
	}
	m.mu.Unlock()
	nudge(m.wake)
}

const sameAgain state.UploadStatus = "as it was"

func (m *intakeMail) take() map[string]File {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.files
	m.files = map[string]File{}
	return got
}

// consider has the intake look at an upload's jobs.
func (q *Jobs) consider(upload string) { q.mail.again(upload) }

// intake follows the uploads: it feeds those who read them as they arrive, makes
// their jobs, and ends the jobs of those that are gone.
func (q *Jobs) intake(ctx context.Context) {
	q.latecomers()
	q.take(ctx, q.mail.take()) // all that there are: Watch has delivered them
	q.orphans()
	q.mu.Lock()
	q.listed = ctx.Err() == nil
	q.mu.Unlock()
	nudge(q.wake)
	nudge(q.sweep)
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.mail.wake:
			q.take(ctx, q.mail.take())
		}
	}
}

// take deals with a batch. Workers that wait for bytes come first: the rest
// touches disk and database.
func (q *Jobs) take(ctx context.Context, batch map[string]File) {
	q.mu.Lock()
	look := make([]*file, 0, len(batch))
	for id, news := range batch {
		f := q.files[id]
		if f == nil {
			if news.Status == sameAgain {
				continue
			}
			f = &file{}
			q.files[id] = f
		}
		if news.Status != sameAgain {
			f.File = news
		}
		look = append(look, f)
		for _, e := range q.uploads[id] {
			if e.run != nil {
				q.feed(e.run, f)
			}
		}
	}
	q.mu.Unlock()
	for _, f := range look {
		if ctx.Err() != nil {
			return
		}
		if err := q.weigh(f); err != nil {
			q.log.Error("jobs: an upload could not be dealt with", "upload", f.ID, "again_in", q.cfg.RetryMin, "err", err)
			id := f.ID // f is this goroutine's
			time.AfterFunc(q.cfg.RetryMin, func() { q.consider(id) })
		}
	}
}

// weigh does for one upload's jobs what is to be done.
func (q *Jobs) weigh(f *file) error {
	switch {
	case f.Gone:
		// It may have become complete and gone before anybody looked.
		err := q.adopt(f)
		if err == nil {
			err = q.cancelAll(f, "the upload was removed")
		}
		if err == nil {
			q.mu.Lock()
			delete(q.files, f.ID)
			q.mu.Unlock()
		}
		return err
	case f.Status == state.UploadRefused:
		return q.cancelAll(f, "the upload was refused: "+f.Problem)
	case f.Complete():
		if err := q.adopt(f); err != nil {
			return err
		}
		return q.admit(f, func(*entry) bool { return true })
	case f.Status == state.UploadReceiving:
		return q.early(f)
	}
	return nil // all there, being checked: a moment
}

// adopt takes up the job that the upload's completion made.
func (q *Jobs) adopt(f *file) error {
	id := ownJob(f.ID)
	q.mu.Lock()
	known := q.entries[id] != nil
	q.mu.Unlock()
	if known || f.NoJob || id == "" {
		return nil
	}
	j, there, err := q.deps.DB.Jobs().Get(id)
	if err != nil || !there {
		return err // none: it was removed since
	}
	return q.insert(j)
}

// early begins the analysis of an upload that is arriving, or says why not.
func (q *Jobs) early(f *file) error {
	if err := q.sniff(f); err != nil || f.layout == nil {
		return err
	}
	remark := waitForEnd
	if f.layout.Remark != "" {
		remark = f.layout.Remark
	}
	if id := ownJob(f.ID); id != "" && !f.NoJob {
		j := newJob(id, f.File, time.Now())
		if !f.layout.Streamable {
			await(&j, remark)
		}
		if err := q.insert(j); err != nil {
			return err
		}
	}
	if f.layout.Streamable {
		return q.admit(f, func(e *entry) bool {
			// One that could not be read as a stream waits for the whole.
			return (e.rec.Attempts == 0 || e.rec.Streamed) && f.Contiguous >= e.wakes
		})
	}
	return q.each(f, func(e *entry) (func(*state.Job) error, bool) {
		return func(j *state.Job) error { await(j, remark); return nil },
			e.rec.Status == state.JobWaiting && e.rec.Fault != remark && e.rec.Attempts == 0
	})
}

// sniff looks at the upload's beginning as soon as enough of it is there.
func (q *Jobs) sniff(f *file) error {
	if f.layout != nil || f.Contiguous <= 0 || f.Contiguous < f.need {
		return nil
	}
	path, err := q.deps.Files.Path(f.ID)
	if err != nil {
		return fmt.Errorf("find the upload %s: %w", f.ID, err)
	}
	r, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("look at the upload %s: %w", f.ID, err)
	}
	defer r.Close()
	l, err := q.deps.Sniff(r, f.Contiguous, f.Size)
	switch {
	case err != nil:
		// What it is, a worker says better when the file is whole.
		f.layout = &Layout{Remark: waitForEnd}
	case l.Need > 0:
		f.need = max(l.Need, f.Contiguous+1)
	default:
		f.layout = &l
	}
	return nil
}

// admit ends the wait of those of an upload's jobs that may begin.
func (q *Jobs) admit(f *file, may func(*entry) bool) error {
	return q.each(f, func(e *entry) (func(*state.Job) error, bool) {
		return func(j *state.Job) error { arrived(j); return nil },
			e.rec.Status == state.JobWaiting && e.run == nil && may(e)
	})
}

// cancelAll cancels an upload's jobs that have not ended.
func (q *Jobs) cancelAll(f *file, why string) error {
	q.mu.Lock()
	var ids []string
	for _, e := range q.uploads[f.ID] {
		if !over(e.rec.Status) {
			ids = append(ids, e.rec.ID)
		}
	}
	q.mu.Unlock()
	for _, id := range ids {
		if _, err := q.cancel(id, faultUpload, line(why)); err != nil && !isRefusal(err) {
			return err
		}
	}
	return nil
}

// each changes those of an upload's jobs that choose picks.
func (q *Jobs) each(f *file, choose func(*entry) (step func(*state.Job) error, yes bool)) error {
	type change struct {
		id   string
		step func(*state.Job) error
	}
	q.mu.Lock()
	var all []change
	for _, e := range q.uploads[f.ID] {
		if step, yes := choose(e); yes {
			all = append(all, change{e.rec.ID, step})
		}
	}
	q.mu.Unlock()
	for _, c := range all {
		_, err := q.change(c.id, func(j *state.Job) error {
			if j.Status != state.JobWaiting {
				return nil // somebody was quicker
			}
			return c.step(j)
		})
		if err != nil && !isRefusal(err) {
			return err
		}
	}
	return nil
}

// latecomers takes up the jobs of uploads that became complete since Open: they may
// be gone again before the first look at the uploads.
func (q *Jobs) latecomers() {
	all, err := q.deps.DB.Jobs().All()
	if err != nil {
		q.log.Error("jobs: the database could not be read again; jobs made while the box came up begin at its next start", "err", err)
		return
	}
	q.mu.Lock()
	for _, j := range all {
		q.add(j)
	}
	q.mu.Unlock()
}

// orphans ends the jobs of uploads that are not there any more.
func (q *Jobs) orphans() {
	q.mu.Lock()
	var ids []string
	for id, e := range q.entries {
		if !over(e.rec.Status) && q.files[e.rec.Upload] == nil {
			ids = append(ids, id)
		}
	}
	q.mu.Unlock()
	for _, id := range ids {
		if _, err := q.cancel(id, faultUpload, "the upload is not here any more"); err != nil && !isRefusal(err) {
			q.log.Error("jobs: a job without its upload could not be canceled", "job", id, "err", err)
		}
	}
}
