package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// feed knows how much of an arriving file may be read, and pours it into a pipe
// from whose other end the file is played.
type feed struct {
	mu   sync.Mutex
	have link.Grow
	more chan struct{} // closed at the next growth
}

// grow takes note of what has arrived. A file does not shrink: what says so is late.
func (f *feed) grow(g link.Grow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have.Complete || g.Bytes < f.have.Bytes {
		return
	}
	f.have = g
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// state is how much there is, and a channel that is closed when there is more.
func (f *feed) state() (link.Grow, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.more == nil {
		f.more = make(chan struct{})
	}
	return f.have, f.more
}

// whole waits until the file has arrived.
func (f *feed) whole(ctx context.Context) (link.Grow, error) {
	for {
		have, more := f.state()
		if have.Complete {
			return have, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return have, ctx.Err()
		}
	}
}

// pipe returns the reading end of a pipe that gives the file at path from its
// beginning, as it arrives, and ends with it. The descriptor is the caller's. poured
// gets, once, why the file could not be poured to its end; nil where it was, or
// where the reader had enough. It gets it soon after ctx is done.
func (f *feed) pipe(ctx context.Context, path string) (fd int, poured <-chan error, err error) {
	in, err := os.Open(path)
	if err != nil {
		return 0, nil, fmt.Errorf("open the source: %w", err)
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		in.Close()
		return 0, nil, fmt.Errorf("make a pipe for the source: %w", err)
	}
	// Only the writing end is non-blocking, so that closing it ends a write that waits.
	if err := unix.SetNonblock(ends[1], true); err != nil {
		in.Close()
		unix.Close(ends[0])
		unix.Close(ends[1])
		return 0, nil, fmt.Errorf("make a pipe for the source: %w", err)
	}
	out := os.NewFile(uintptr(ends[1]), "source pipe")
	done := make(chan error, 1)
	go func() {
		defer in.Close()
		unhook := context.AfterFunc(ctx, func() { out.Close() })
		err := f.pour(ctx, in, out)
		if unhook() {
			out.Close()
		}
		done <- err
	}()
	return ends[0], done, nil
}

func (f *feed) pour(ctx context.Context, in io.Reader, out io.Writer) error {
	buf := make([]byte, 64<<10) // as much as a pipe holds
	var at int64
	for {
		have, more := f.state()
		for at < have.Bytes {
			n, err := in.Read(buf[:min(int64(len(buf)), have.Bytes-at)])
			if n > 0 {
				if _, werr := out.Write(buf[:n]); werr != nil {
					// The reader had enough, or ctx is done.
					if errors.Is(werr, syscall.EPIPE) || ctx.Err() != nil {
						return nil
					}
					return fmt.Errorf("hand on the source: %w", werr)
				}
				at += int64(n)
				continue
			}
			if err != nil {
				return fmt.Errorf("read the source at byte %d of %d: %w", at, have.Bytes, err)
			}
		}
		if have.Complete {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}
