package state

import (
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/watchpost/watchpost/state/boltfile"
)

// What holds after a commit that failed. bbolt writes pages that are free in the
// state before, syncs, writes the meta page and syncs again. Whatever failed, the
// state before is whole on disk: its pages were synced by earlier commits and
// not touched. Two things are not as they should be, and so the file is closed
// and opened again:
//
//   - Where the last sync failed, the meta page in the system's cache is the new
//     one already, and bbolt would go on from a state whose writers were told
//     that it failed. It is taken back.
//   - bbolt reads the list of free pages anew from whichever meta it sees, and
//     gives out pages that a reader may still be reading. Opening waits for readers.
//
// After a failed sync the system may take pages as written that were not; none of
// them belongs to the state before, and later commits write theirs anew.

// retryAfter is how long a file that could not be opened again is left alone.
const retryAfter = 200 * time.Millisecond

// ready takes mu for reading, with bolt open. A file that a failed write closed
// is opened again as soon as that works.
func (d *DB) ready() error {
	for {
		d.mu.RLock()
		switch {
		case d.closed:
			d.mu.RUnlock()
			return ErrClosed
		case d.bolt != nil:
			return nil
		}
		err, again := d.broken, time.Since(d.tried) >= retryAfter
		d.mu.RUnlock()
		if again {
			err = d.reopen()
		}
		if err != nil {
			return of(ErrUnavailable, "the database %s cannot be used: %w (it is tried again; if this stays, see to the disk and start the box anew)", d.opt.Path, err)
		}
	}
}

// mend brings the file back to the last acknowledged state.
func (d *DB) mend(cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bolt == nil {
		return
	}
	d.log.Error("state: a write failed; nothing of it counts", "reason", cause)
	if err := guarded(d.bolt.Close); err != nil {
		d.log.Error("state: closing the file after a failed write", "reason", err)
	}
	d.bolt = nil
	d.openAgain()
}

func (d *DB) reopen() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.bolt != nil {
		return nil // ready looks again
	}
	d.openAgain()
	return d.broken
}

// openAgain opens the file at the last acknowledged state, or notes why not. The
// caller holds mu.
func (d *DB) openAgain() {
	d.tried = time.Now()
	if d.broken = d.takeBack(); d.broken != nil {
		return
	}
	if _, d.broken = healthOf(d.opt.Path); d.broken != nil {
		return
	}
	d.bolt, d.broken = openBolt(d.opt)
}

func (d *DB) takeBack() error {
	f, err := os.OpenFile(d.opt.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	took, err := boltfile.TakeBack(f, info.Size(), d.acked)
	if err != nil {
		return fmt.Errorf("go back to the state before the failed write: %w", err)
	}
	if took && !d.opt.NoSync {
		// If the disk is still failing, either meta may be there after a power cut:
		// the states of both are whole, and only "failed" would turn out too modest.
		if err := f.Sync(); err != nil {
			d.log.Error("state: syncing after a failed write", "reason", err)
		}
	}
	return nil
}

// noteAcknowledged takes the state in the file as the last acknowledged one.
func (d *DB) noteAcknowledged() error {
	return guarded(func() error {
		return d.bolt.View(func(tx *bolt.Tx) error {
			d.acked = uint64(tx.ID())
			return nil
		})
	})
}
