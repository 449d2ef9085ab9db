package upload

import (
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// Bytes of one upload that wait for a sync: from syncAt on one is begun without
// waiting for the time, and beyond stopAt writers wait for it. It bounds what a
// crash loses and how long the last sync takes.
const (
	syncAt = 32 << 20
	stopAt = 64 << 20
)

// soon has the entry synced within the batch's time, if it is not about to be.
func (s *Uploads) soon(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timed || e.due {
		return
	}
	e.timed = true
	run := func() {
		e.mu.Lock()
		e.timed = false
		e.mu.Unlock()
		s.settle(e, nil)
	}
	if e.timer == nil {
		e.timer = time.AfterFunc(s.cfg.Batch, run)
		return
	}
	e.timer.Reset(s.cfg.Batch)
}

// wrote is called after each write. It returns what to wait for before the next one, mostly nothing.
func (s *Uploads) wrote(e *entry, f *spool.File) <-chan error {
	switch n := f.Unsynced(); {
	case n >= stopAt:
		done := make(chan error, 1)
		s.settle(e, done)
		return done
	case n >= syncAt:
		s.settle(e, nil)
	case n > 0:
		s.soon(e)
	}
	return nil
}

// settle has what was written before synced and recorded, and tells done (if
// it is not nil, with room for one) the outcome. It does not wait.
func (s *Uploads) settle(e *entry, done chan error) {
	e.mu.Lock()
	e.due = true
	if done != nil {
		e.waiting = append(e.waiting, done)
	}
	start := !e.settling
	e.settling = true
	e.mu.Unlock()
	if !start {
		return
	}
	if !s.begin() {
		e.mu.Lock()
		e.settling, e.due = false, false
		waiting := e.waiting
		e.waiting = nil
		e.mu.Unlock()
		answer(waiting, errClosed())
		return
	}
	go s.settleAll(e)
}

func answer(waiting []chan error, err error) {
	for _, w := range waiting {
		w <- err
	}
}

// settleAll works until nothing is due. There is one per entry at most, so syncs that are asked
// for while one is under way become one.
func (s *Uploads) settleAll(e *entry) {
	defer s.end()
	for {
		e.mu.Lock()
		if !e.due {
			e.settling = false
			e.mu.Unlock()
			return
		}
		e.due = false
		waiting := e.waiting
		e.waiting = nil
		f := e.file
		// Hashed bytes were written before: the sync that begins now covers them.
		hashState, hashed := e.hash.state, e.hash.done
		e.mu.Unlock()
		err := s.settleOnce(e, f, hashState, hashed)
		if err != nil {
			s.unsettled(e, err)
		}
		answer(waiting, err)
	}
}

func (s *Uploads) settleOnce(e *entry, f *spool.File, hashState []byte, hashed int64) error {
	if f == nil {
		return e.refused() // nobody has written
	}
	before := f.Unsynced()
	start := time.Now()
	s.syncs <- struct{}{}
	have, err := f.Sync()
	<-s.syncs
	s.meter.synced(time.Since(start), before, err)
	if err != nil {
		e.resetHash()
		err = s.disk(err)
		e.mu.Lock()
		e.syncFailed = err
		e.mu.Unlock()
		return err
	}
	e.mu.Lock()
	same := spool.Total(have) == e.received && hashed == e.rec.HashedTo || e.rec.Status != state.UploadReceiving
	ended := e.ended
	e.mu.Unlock()
	if same || ended != nil {
		return ended
	}
	return s.change(e, func(rec *state.Upload) error {
		rec.Have = have
		if hashed <= spool.Reach(have, 0) {
			rec.HashState, rec.HashedTo = hashState, hashed
		}
		s.progressed(rec)
		return nil
	}, nil)
}

// progressed renews the expiry, and lets the upload be checked if nothing is missing.
func (s *Uploads) progressed(rec *state.Upload) {
	rec.Expires = time.Now().Add(s.cfg.Expiry).UTC()
	if rec.Status == state.UploadReceiving && rec.Size >= 0 && spool.Reach(rec.Have, 0) == rec.Size {
		rec.Status = state.UploadChecking
	}
}

// unsettled keeps the error for those who wait for nobody.
func (s *Uploads) unsettled(e *entry, err error) {
	e.mu.Lock()
	silent := e.ended != nil
	if !silent {
		e.placed.failed(err)
	}
	e.mu.Unlock()
	if !silent {
		s.deps.Log.Warn("bytes of an upload were not kept", "upload", e.id, "error", err)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
