package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is the right to the database's folder for as long as it is open. It
// lies beside the database, because a lock on the file itself, which bbolt takes
// too, does not hold for what takes the file's place.
type lockFile struct{ f *os.File }

// lock waits for up to patience. ErrInUse: another process has it.
func lock(db string, patience time.Duration) (*lockFile, error) {
	f, err := os.OpenFile(db+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			err = inUse(db, f, err)
			return nil, errors.Join(err, f.Close())
		}
	}
	// Who has the lock is told to whoever does not get it; it does not matter if
	// that cannot be written.
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return &lockFile{f}, nil
}

func inUse(db string, f *os.File, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock the database %s: %w", db, err)
	}
	who := ""
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); pid != "" {
		who = " (process " + pid + ")"
	}
	return of(ErrInUse, "the database %s is in use: another watchpost%s has it; stop that one first, or choose another data folder with --data", db, who)
}

func (l *lockFile) release() error { return l.f.Close() }
