package upload

import (
	"context"
	"sync"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

const (
	// idleFile is how long a file that nobody writes stays open.
	idleFile = 20 * time.Second
	// janitorEvery is how often it looks round at least.
	janitorEvery = 10 * time.Second
)

// Run hashes what is not hashed yet, completes, expires and removes, until ctx ends.
func (s *Uploads) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { s.check(ctx) })
	parts.Go(func() { s.tidy(ctx) })
	parts.Wait()
	return nil
}

// tidy is the janitor: whatever takes long on the disk is removed here, so that nobody else waits for it.
func (s *Uploads) tidy(ctx context.Context) {
	every := min(janitorEvery, s.cfg.Expiry/4, s.cfg.KeepComplete/4)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		s.expire(ctx)
		s.closeIdle(time.Now().Add(-idleFile))
		s.emptyTrash(ctx)
		select {
		case <-t.C:
		case <-s.wakeJanitor:
		case <-ctx.Done():
			return
		}
	}
}

// expire removes uploads whose time is over, and renews that of files which are in use.
func (s *Uploads) expire(ctx context.Context) {
	for _, e := range s.entries() {
		if ctx.Err() != nil {
			return
		}
		e.mu.Lock()
		rec, writing := e.rec, e.users > 0 || e.settling
		e.mu.Unlock()
		now := time.Now()
		inUse := s.deps.InUse != nil && s.deps.InUse(e.id)
		switch {
		case rec.Status == state.UploadChecking:
			// Its time comes once it is checked.
		case inUse && rec.Status == state.UploadComplete:
			s.keepOn(e, rec, now)
		case inUse, now.Before(rec.Expires):
		case rec.Status == state.UploadReceiving && writing:
			// A client is connected, though slow: not while it is.
		default:
			why := "nobody needs it any more"
			if rec.Status == state.UploadReceiving {
				why = "no bytes came for " + s.cfg.Expiry.String()
			}
			if err := s.remove(e, "it expired: "+why); err != nil {
				s.deps.Log.Error("an expired upload could not be removed; it is tried again", "upload", e.id, "error", err)
				continue
			}
			s.deps.Log.Info("an upload expired", "upload", e.id, "status", rec.Status, "reason", why)
		}
	}
}

// keepOn moves the end of a complete upload that is in use, in steps, for each is a write.
func (s *Uploads) keepOn(e *entry, rec state.Upload, now time.Time) {
	until := now.Add(s.cfg.KeepComplete).UTC()
	if until.Sub(rec.Expires) < s.cfg.KeepComplete/10 {
		return
	}
	err := s.change(e, func(rec *state.Upload) error {
		rec.Expires = until
		return nil
	}, nil)
	if err != nil {
		s.deps.Log.Warn("the time that an upload is kept could not be renewed", "upload", e.id, "error", err)
	}
}

// Remove ends an upload and removes its bytes, soon after. Errors: ErrNotFound, ErrGone, ErrBusy (a job
// needs the file), ErrStorage.
func (s *Uploads) Remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := s.find(id)
	if err == nil && s.deps.InUse != nil && s.deps.InUse(id) {
		err = fail(ErrBusy, "a job needs the upload %s: cancel the job, or wait until it has ended", id)
	}
	if err == nil && !s.begin() {
		return errClosed()
	}
	if err == nil {
		defer s.end()
		err = s.remove(e, "it was removed")
	}
	return s.refuse(err)
}

// remove removes the record, and leaves the file to the janitor.
func (s *Uploads) remove(e *entry, why string) error {
	e.record.Lock()
	defer e.record.Unlock()
	s.mu.Lock()
	there := s.byID[e.id] == e
	s.mu.Unlock()
	if !there {
		return nil // somebody else was first
	}
	if err := s.deps.DB.Uploads().Delete(e.id); err != nil {
		return s.disk(err)
	}
	e.mu.Lock()
	e.ended = fail(ErrGone, "the upload %s is gone: %s; send the file again as a new upload", e.id, why)
	e.mu.Unlock()
	s.discard(e.id, e)
	s.mu.Lock()
	delete(s.byID, e.id)
	s.gone.add(e.id, why)
	s.promised -= e.promise
	e.promise = 0
	s.mu.Unlock()
	s.watchers.tellRemoved(e)
	return nil
}

// discard hands a file to the janitor.
func (s *Uploads) discard(name string, e *entry) {
	s.mu.Lock()
	s.trash[name] = e
	s.mu.Unlock()
	wake(s.wakeJanitor)
}

// emptyTrash removes files. Those that it cannot remove stay for the next round.
func (s *Uploads) emptyTrash(ctx context.Context) {
	s.mu.Lock()
	todo := make(map[string]*entry, len(s.trash))
	for name, e := range s.trash {
		todo[name] = e
	}
	s.mu.Unlock()
	for name, e := range todo {
		closed := e == nil || s.shut(e)
		if err := s.deps.Spool.Remove(ctx, name); err != nil {
			if ctx.Err() != nil {
				return
			}
			s.deps.Log.Warn("a file could not be removed; it is tried again", "file", s.deps.Spool.Path(name), "error", err)
			continue
		}
		if !closed {
			continue // the next round closes it; until then it takes room on the disk
		}
		s.mu.Lock()
		delete(s.trash, name)
		s.mu.Unlock()
	}
}

// shut closes the file of an entry that has ended; false: a writer has not noticed yet that it has. The file
// is unlinked meanwhile.
func (s *Uploads) shut(e *entry) bool {
	e.mu.Lock()
	if e.users > 0 || e.settling {
		e.mu.Unlock()
		return false
	}
	f := e.file
	e.file = nil
	e.mu.Unlock()
	if f != nil {
		_ = f.Close() // of bytes that nobody wants
	}
	return true
}

// closeIdle closes files that nobody used since before.
func (s *Uploads) closeIdle(before time.Time) {
	var idle []*spool.File
	for _, e := range s.entries() {
		if f := e.idle(before); f != nil {
			idle = append(idle, f)
		}
	}
	for _, f := range idle {
		if err := f.Close(); err != nil {
			s.deps.Log.Warn("a file could not be closed", "error", err)
		}
	}
}
