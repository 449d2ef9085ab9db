package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/watchpost/watchpost/state"
)

// Remove removes a job and its results; a worker at it is stopped first. What
// takes long, the deleting of large files, is left to the janitor. If ctx ends
// before, the removal goes on.
func (q *Jobs) Remove(ctx context.Context, id string) error {
	q.mu.Lock()
	e := q.entries[id]
	if e == nil || e.doomed {
		q.mu.Unlock()
		return noJob()
	}
	if !q.listed {
		q.mu.Unlock()
		return explain(ErrClosing, "The box is starting or going down: try again in a moment.")
	}
	if f := q.files[e.rec.Upload]; f != nil && f.Arriving() && id == ownJob(f.ID) {
		q.mu.Unlock()
		return explain(ErrConflict, "The upload of this job is still arriving and would bring it about again: cancel the job, or remove the upload.")
	}
	e.doomed = true
	r := e.run
	q.runs.Add(1) // Run waits for it: it set listed, and will clear it first
	q.mu.Unlock()

	q.stopRun(id, stopCancel)
	removed := make(chan error, 1)
	go func() {
		defer q.runs.Done()
		if r != nil {
			<-r.over
		}
		removed <- q.remove(id, e)
	}()
	select {
	case err := <-removed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remove takes a job without a worker out of the world. The folder goes aside
// first: if the box goes down after that, its next start finishes the removal.
func (q *Jobs) remove(id string, e *entry) error {
	e.turn.Lock()
	defer e.turn.Unlock()
	err := q.discard(id)
	if err == nil {
		err = q.deps.DB.Jobs().Delete(id)
	}
	q.mu.Lock()
	if err != nil {
		e.doomed = false
	} else {
		q.drop(id)
	}
	q.mu.Unlock()
	if err != nil {
		return fmt.Errorf("remove the job %s: %w", id, err)
	}
	q.shelf.remove(id, noJob())
	q.tell(id)
	nudge(q.sweep)
	return nil
}

// discard moves a results folder to those on their way out, for good.
func (q *Jobs) discard(id string) error {
	trash := filepath.Join(q.cfg.Dir, trashName)
	err := os.Rename(q.folder(id), filepath.Join(trash, id))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if errors.Is(err, os.ErrExist) {
		// Left over from another time; nobody can want it any more.
		if err = os.RemoveAll(filepath.Join(trash, id)); err == nil {
			err = os.Rename(q.folder(id), filepath.Join(trash, id))
		}
	}
	return errors.Join(err, syncDir(trash), syncDir(q.cfg.Dir))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// finishRemovals deletes the records whose folders were on their way out when the
// box went down.
func (q *Jobs) finishRemovals() error {
	list, err := os.ReadDir(filepath.Join(q.cfg.Dir, trashName))
	if err != nil {
		return fmt.Errorf("look for removals to finish: %w", err)
	}
	for _, d := range list {
		if !state.ValidID('j', d.Name()) {
			continue
		}
		if err := q.deps.DB.Jobs().Delete(d.Name()); err != nil {
			return fmt.Errorf("finish the removal of the job %s: %w", d.Name(), err)
		}
	}
	return nil
}

// janitor removes what nobody wants any more, now and then, on its own time.
func (q *Jobs) janitor(ctx context.Context) {
	t := time.NewTicker(q.cfg.SweepEvery)
	defer t.Stop()
	told := map[string]bool{}
	for {
		q.expire(ctx, time.Now())
		if err := errors.Join(q.emptyTrash(ctx), q.sweepOrphans(ctx, told)); err != nil && ctx.Err() == nil {
			q.log.Warn("jobs: the janitor could not remove everything; it tries again", "in", q.cfg.SweepEvery, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-q.sweep:
		}
	}
}

// expire removes the jobs that ended long enough ago.
func (q *Jobs) expire(ctx context.Context, now time.Time) {
	if q.cfg.Keep <= 0 {
		return
	}
	var old []string
	q.mu.Lock()
	if !q.listed {
		q.mu.Unlock()
		return // the intake wakes the janitor
	}
	for id, e := range q.entries {
		if over(e.rec.Status) && e.run == nil && !e.rec.Ended.IsZero() && now.Sub(e.rec.Ended) >= q.cfg.Keep {
			old = append(old, id)
		}
	}
	q.mu.Unlock()
	for _, id := range old {
		if ctx.Err() != nil {
			return
		}
		if err := q.Remove(ctx, id); err != nil && !isRefusal(err) && ctx.Err() == nil {
			q.log.Warn("jobs: an old job could not be removed", "job", id, "err", err)
		}
	}
}

// emptyTrash deletes what is on its way out.
func (q *Jobs) emptyTrash(ctx context.Context) error {
	trash := filepath.Join(q.cfg.Dir, trashName)
	list, err := os.ReadDir(trash)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range list {
		if ctx.Err() != nil || !state.ValidID('j', d.Name()) {
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(trash, d.Name())))
	}
	return errors.Join(errs...)
}

// sweepOrphans removes results folders that no record knows of and that are not
// complete. Complete ones are somebody's results: the database must have lost
// their records, and a person shall decide.
func (q *Jobs) sweepOrphans(ctx context.Context, told map[string]bool) error {
	list, err := os.ReadDir(q.cfg.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range list {
		id := d.Name()
		if ctx.Err() != nil || !d.IsDir() || !state.ValidID('j', id) || q.knows(id) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(q.folder(id), summaryName)); err == nil {
			if !told[id] {
				told[id] = true
				q.log.Warn("jobs: a folder with complete results belongs to no job, perhaps because the database was restored from a backup; take what you need and delete it", "folder", q.folder(id))
			}
			continue
		} else if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		q.log.Info("jobs: removing unfinished results that belong to no job", "folder", q.folder(id))
		errs = append(errs, os.RemoveAll(q.folder(id)))
	}
	return errors.Join(errs...)
}

// knows tells whether there is a record of a job: the upload's own transaction
// may have made one that nobody here has heard of yet.
func (q *Jobs) knows(id string) bool {
	q.mu.Lock()
	there := q.entries[id] != nil
	q.mu.Unlock()
	if there {
		return true
	}
	_, there, err := q.deps.DB.Jobs().Get(id)
	return there || err != nil
}
