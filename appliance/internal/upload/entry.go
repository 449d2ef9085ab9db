package upload

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// entry is one upload in memory.
type entry struct {
	id string

	// record is held by whoever changes the record, also while the disk is asked to keep it. Readers never
	// take it. It is taken before mu.
	record sync.Mutex
	// opening is held by whoever opens the file.
	opening sync.Mutex

	// mu guards what follows; it is never held across a call that may wait.
	mu       sync.Mutex
	rec      state.Upload // as in the database
	received int64        // sum of rec.Have
	rate     rate
	ended    error // not nil: removed or refused, and writers stop
	file     *spool.File
	users    int // of file
	used     time.Time
	// due: something is to be synced; settling: somebody is at it. waiting are told the outcome of the next sync that begins.
	due, settling bool
	waiting       []chan error
	timer         *time.Timer // sets due
	timed         bool
	hash          hashing
	placed        placed
	syncFailed    error // the last one
	// checkAfter is when a check that failed is tried again.
	checkAfter time.Time
	// granted bytes may be there of an upload for which no room was set aside.
	granted int64

	// promise counts against the quota. Guarded by Uploads.mu.
	promise int64
}

func newEntry(rec state.Upload) *entry {
	return &entry{
		id: rec.ID, rec: rec, received: spool.Total(rec.Have), used: time.Now(),
		hash: hashing{state: rec.HashState, done: rec.HashedTo},
	}
}

func (e *entry) info() Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := Info{Upload: e.rec, Received: e.received, Contiguous: spool.Reach(e.rec.Have, 0)}
	i.HashState, i.HashedTo = nil, 0
	if i.Status == state.UploadReceiving {
		i.Rate = e.rate.at(time.Now())
	}
	if left := i.Size - i.Received; i.Size >= 0 && left > 0 && i.Rate > 0 {
		i.ETA = time.Duration(min(float64(left)/i.Rate*float64(time.Second), math.MaxInt64/2))
	}
	return i
}

// refused is the reason why no bytes are taken or given any more.
func (e *entry) refused() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended
}

// status reads the two that are wanted most.
func (e *entry) status() (state.UploadStatus, int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.Status, e.rec.Size
}

// use opens the file if it is not, and keeps it open until done is called.
func (s *Uploads) use(e *entry) (f *spool.File, err error) {
	if f := e.opened(); f != nil {
		return f, nil
	}
	e.opening.Lock()
	defer e.opening.Unlock()
	if f := e.opened(); f != nil {
		return f, nil
	}
	e.mu.Lock()
	have, size, ended := e.rec.Have, e.rec.Size, e.ended
	receiving := e.rec.Status == state.UploadReceiving
	e.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	f, err = s.deps.Spool.Open(e.id, have)
	if err != nil {
		return nil, s.disk(err)
	}
	if receiving && size > 0 {
		// Again, in case the one before a restart was cut short. Where it fails the writes will tell.
		s.noteSparse(f.Allocate(size))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.file = f
	e.users++
	return f, nil
}

func (e *entry) opened() *spool.File {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file != nil {
		e.users++
	}
	return e.file
}

// unuse is the counterpart of use.
func (e *entry) unuse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users--
	e.used = time.Now()
}

// idle takes the file out if nobody used it since before and nothing of it waits for a sync. The
// caller closes it. With an error that the kernel has not told yet it must stay open: another
// descriptor might not be told.
func (e *entry) idle(before time.Time) *spool.File {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.file
	if f == nil || e.users > 0 || e.settling || e.due || e.timed || e.used.After(before) || f.Unsynced() > 0 {
		return nil
	}
	e.file = nil
	return f
}

// change changes the record: durably, and only if change and tx, which may be nil, return nil.
func (s *Uploads) change(e *entry, change func(*state.Upload) error, tx func(state.Tx, state.Upload) error) error {
	e.record.Lock()
	defer e.record.Unlock()
	e.mu.Lock()
	rec, ended := e.rec, e.ended
	e.mu.Unlock()
	if ended != nil {
		return ended
	}
	if err := change(&rec); err != nil {
		return err
	}
	rec.Updated = time.Now().UTC()
	err := s.deps.DB.Update(func(t state.Tx) error {
		if err := t.Uploads().Put(e.id, rec); err != nil || tx == nil {
			return err
		}
		return tx(t, rec)
	})
	if err != nil {
		return s.disk(err)
	}
	e.mu.Lock()
	received := spool.Total(rec.Have)
	e.rate.add(rec.Updated, received-e.received)
	if received > e.received {
		s.meter.bytes.Add(float64(received - e.received))
	}
	e.rec, e.received = rec, received
	if rec.Status == state.UploadRefused {
		e.ended = fail(ErrGone, "the upload %s was refused: %s", e.id, rec.Problem)
	}
	e.mu.Unlock()
	if rec.Status == state.UploadChecking {
		wake(s.wakeHash)
	}
	s.watchers.tell(e.id, e.info)
	return nil
}

// rate is a mean of bytes per second in which what is 3 s ago counts a third.
type rate struct {
	mean float64
	last time.Time
}

const rateSpan = 3 * time.Second

func (r *rate) add(now time.Time, n int64) {
	if r.last.IsZero() {
		r.last = now
		return
	}
	dt := now.Sub(r.last)
	if n <= 0 || dt <= 0 {
		return
	}
	weight := 1 - math.Exp(-float64(dt)/float64(rateSpan))
	if r.mean == 0 {
		weight = 1
	}
	r.mean += weight * (float64(n)/dt.Seconds() - r.mean)
	r.last = now
}

// at is the mean at now, fading while nothing comes.
func (r *rate) at(now time.Time) float64 {
	idle := now.Sub(r.last) - time.Second
	if idle <= 0 {
		return r.mean
	}
	faded := r.mean * math.Exp(-float64(idle)/float64(rateSpan))
	if faded < r.mean/50 {
		return 0
	}
	return faded
}

// await waits for the outcome of a sync. The bytes are on their way whatever becomes of the
// client, so its leaving shortens the wait, and does not end it at once.
func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(leaveAfter)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errors.Join(context.Cause(ctx), fail(ErrStorage, "the disk has not taken the bytes for %s", leaveAfter))
	}
}

const leaveAfter = 10 * time.Second
