package upload

import (
	"errors"

	"github.com/watchpost/watchpost/state"
)

// grantStep is how many bytes an upload without room set aside may take before the disk
// is asked again.
const grantStep = 8 << 20

// promiseLocked lets e count n bytes against the quota; Uploads.mu is held.
func (s *Uploads) promiseLocked(e *entry, n int64) error {
	all := s.promised - e.promise
	if s.cfg.Quota > 0 && n > e.promise && n > s.cfg.Quota-all {
		return fail(ErrQuota, "all uploads together may take %d bytes (uploads.quota); %d are taken or promised, and %d more do not fit: remove uploads that nobody needs", s.cfg.Quota, all, n)
	}
	s.promised, e.promise = all+n, n
	return nil
}

// room tells whether the disk has n bytes more than what must stay free and what is
// promised to others without being set aside.
func (s *Uploads) room(n int64) error {
	// The promises first: what is set aside between the two is then counted twice, not never.
	unbacked := s.unbacked()
	space, err := s.deps.Spool.Space()
	if err != nil {
		return s.disk(err)
	}
	if left := space.Free - s.cfg.Reserve - unbacked; n > left || left < 0 {
		return fail(ErrNoSpace, "%d bytes are needed and the disk has %d for uploads (%d free, %d of them kept free, %d promised): remove files and go on", n, max(left, 0), space.Free, s.cfg.Reserve, unbacked)
	}
	return nil
}

// unbacked is what was promised and not set aside on the disk.
func (s *Uploads) unbacked() (n int64) {
	if !s.sparse.Load() {
		return 0
	}
	for _, e := range s.entries() {
		e.mu.Lock()
		if e.rec.Status == state.UploadReceiving && e.rec.Size > 0 {
			n += e.rec.Size - e.received
		}
		e.mu.Unlock()
	}
	return n
}

// noteSparse learns from what Allocate returned. It reports whether the file system cannot set room aside.
func (s *Uploads) noteSparse(err error) bool {
	if !errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	if !s.sparse.Swap(true) {
		s.deps.Log.Warn("the file system cannot set room aside for uploads: one may find the disk full half-way", "path", s.deps.Spool.Path(""))
	}
	return true
}

// grow is asked before bytes up to end are written.
func (s *Uploads) grow(e *entry, end int64) error {
	e.mu.Lock()
	size, granted, status := e.rec.Size, e.granted, e.rec.Status
	e.mu.Unlock()
	switch {
	case size >= 0 && end > size:
		return fail(ErrTooLarge, "bytes up to %d of a file that was said to have %d: begin a new upload", end, size)
	case size >= 0 && !s.sparse.Load(), end <= granted, status != state.UploadReceiving:
		return nil
	}
	if err := s.fits(end); err != nil {
		return err
	}
	want := end + grantStep
	err := s.grant(e, size, granted, want)
	if err != nil { // perhaps just these
		want = end
		err = s.grant(e, size, granted, want)
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.granted = max(e.granted, want)
	e.mu.Unlock()
	return nil
}

// grant asks quota and disk for an upload's bytes up to want, of which granted may be there already. Those of
// a known size are within the quota since it was told.
func (s *Uploads) grant(e *entry, size, granted, want int64) error {
	if size >= 0 {
		return s.room(0)
	}
	s.mu.Lock()
	before := e.promise
	if s.byID[e.id] != e { // what was removed promises nothing
		s.mu.Unlock()
		return e.refused()
	}
	err := s.promiseLocked(e, max(want, before))
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err = s.room(want - granted); err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.promise == want { // nobody else has asked for more meanwhile
		s.promised -= e.promise - before
		e.promise = before
	}
	return err
}
