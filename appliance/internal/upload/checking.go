package upload

import (
	"context"
	"encoding/hex"
	"runtime"
	"sync"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

const (
	// lagAt is how far the hash of a growing upload may fall behind before it is made from the
	// file. The bytes are then still in the page cache.
	lagAt = 8 << 20
	// checkStep is how much is hashed from a file between two looks at what else is to be done.
	checkStep = 8 << 20
	// checkRetry is how long a check that failed for the disk's or the job queue's sake waits.
	checkRetry = 2 * time.Second
)

// check hashes what no Append had in hand, and completes uploads, until ctx ends.
func (s *Uploads) check(ctx context.Context) {
	var workers sync.WaitGroup
	// Half of the cores, so that hashing keeps nobody else waiting for one.
	for range max(1, runtime.NumCPU()/2) {
		workers.Go(func() {
			buf := make([]byte, bufferSize)
			for s.checkNext(ctx, buf) {
			}
		})
	}
	workers.Wait()
}

// checkNext does one step of the most urgent check; false: ctx has ended.
func (s *Uploads) checkNext(ctx context.Context, buf []byte) bool {
	e, h, wait := s.pickCheck()
	if e == nil {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-s.wakeHash:
		case <-t.C:
		case <-ctx.Done():
			return false
		}
		return true
	}
	defer h.give()
	if !s.begin() {
		return false
	}
	defer s.end()
	wake(s.wakeHash) // there may be work for another one
	if err := s.checkStep(ctx, e, h, buf); err != nil && ctx.Err() == nil && e.refused() == nil {
		s.deps.Log.Error("an upload could not be checked; it is tried again", "upload", e.id, "error", err)
		e.mu.Lock()
		e.checkAfter = time.Now().Add(checkRetry)
		e.mu.Unlock()
	}
	return ctx.Err() == nil
}

// pickCheck takes the hash of the upload that is to be worked at next: one that has all bytes, or one whose hash lags.
// None: wait says when to look again.
func (s *Uploads) pickCheck() (found *entry, h *hasher, wait time.Duration) {
	wait = time.Minute
	now := time.Now()
	var lagging []*entry
	for _, e := range s.entries() {
		e.mu.Lock()
		status, after := e.rec.Status, e.checkAfter
		lag := spool.Reach(e.rec.Have, 0) - e.hash.done
		e.mu.Unlock()
		switch {
		case status == state.UploadChecking && after.After(now):
			wait = min(wait, after.Sub(now))
		case status == state.UploadChecking:
			if h := e.takeHash(func(int64) bool { return true }); h != nil {
				return e, h, 0
			}
			// An Append that repeats bytes has it; it gives it back soon.
			wait = min(wait, 50*time.Millisecond)
		case status == state.UploadReceiving && lag >= lagAt:
			lagging = append(lagging, e)
		}
	}
	for _, e := range lagging {
		if h := e.takeHash(func(int64) bool { return true }); h != nil {
			return e, h, 0
		}
	}
	if len(lagging) > 0 {
		wait = min(wait, time.Second)
	}
	return nil, nil, wait
}

func (s *Uploads) checkStep(ctx context.Context, e *entry, h *hasher, buf []byte) error {
	e.mu.Lock()
	rec := e.rec
	e.mu.Unlock()
	to := min(spool.Reach(rec.Have, 0), h.at+checkStep)
	if h.at < to {
		f, err := s.use(e)
		if err != nil {
			return err
		}
		defer e.unuse()
		if err := h.catchUp(ctx, f, to, buf); err != nil {
			return err
		}
	}
	if rec.Status != state.UploadChecking || h.at < rec.Size {
		return nil
	}
	return s.complete(e, hex.EncodeToString(h.h.Sum(nil)))
}

// complete ends a check.
func (s *Uploads) complete(e *entry, sum string) error {
	refused := false
	err := s.change(e, func(rec *state.Upload) error {
		rec.HashState, rec.HashedTo = nil, 0
		if rec.WantSHA256 != "" && rec.WantSHA256 != sum {
			refused = true
			s.refuseRecord(rec, "the file's sha256 is "+sum+", and "+rec.WantSHA256+" was said: it was damaged on its way or changed while it was sent; send it again")
			return nil
		}
		now := time.Now().UTC()
		rec.Status, rec.SHA256, rec.Completed = state.UploadComplete, sum, now
		rec.Expires = now.Add(s.cfg.KeepComplete)
		return nil
	}, func(tx state.Tx, rec state.Upload) error {
		if s.deps.OnComplete == nil || rec.Status != state.UploadComplete {
			return nil
		}
		return s.deps.OnComplete(tx, rec)
	})
	if err == nil && refused {
		s.deps.Log.Warn("an upload was refused", "upload", e.id, "reason", "sha256")
		s.meter.count(ErrChecksum)
		s.discard(e.id, e)
		s.unpromise(e)
	}
	return err
}

// refuseRecord drops the bytes from the record; it stays for a while, so that the client learns why.
func (s *Uploads) refuseRecord(rec *state.Upload, why string) {
	rec.Status, rec.Problem = state.UploadRefused, why
	rec.Have, rec.HashState, rec.HashedTo = nil, nil, 0
	rec.Expires = time.Now().Add(s.cfg.Expiry).UTC()
}

func (s *Uploads) unpromise(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promised -= e.promise
	e.promise = 0
}
