package upload

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state/spool/spooltest"
)

// TestStalledDisk: while a sync and a write hang for seconds, whoever only wants to know something is answered at once.
func TestStalledDisk(t *testing.T) {
	const stall = 2 * time.Second
	for _, op := range []spooltest.Op{spooltest.Datasync, spooltest.Write} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			disk := spooltest.New(1)
			var armed, hanging atomic.Bool
			disk.Fault = func(got spooltest.Op, _ string) error {
				if got == op && armed.Load() {
					hanging.Store(true)
					time.Sleep(stall)
					hanging.Store(false)
				}
				return nil
			}
			b := start(t, setup{disk: disk, dir: t.TempDir(), config: Config{Batch: time.Millisecond}})
			i := mustCreate(t, b, Spec{Size: 1 << 20})
			placedInto := mustCreate(t, b, Spec{Size: 1 << 20})
			armed.Store(true)
			done := make(chan error, 2)
			go func() {
				_, err := b.Append(context.Background(), i.ID, 0, bytes.NewReader(content(1, 0, 1000)))
				done <- err
			}()
			go func() {
				done <- func() error {
					if err := b.Place(placedInto.ID, 0, content(1, 0, 1000)); err != nil {
						return err
					}
					return b.Flush(context.Background(), placedInto.ID)
				}()
			}()
			until(t, "the disk hangs", hanging.Load)
			began := time.Now()
			rounds, slowest := 0, time.Duration(0)
			for hanging.Load() && time.Since(began) < stall/2 {
				at := time.Now()
				if _, err := b.Get(i.ID); err != nil {
					t.Fatal(err)
				}
				b.List()
				b.Watch(i.ID, func(Info) {})()
				if _, err := b.Path(i.ID); err != nil {
					t.Fatal(err)
				}
				if err := b.Place(placedInto.ID, 5000+100*int64(rounds), content(1, 5000+100*int64(rounds), 100)); err != nil {
					t.Fatal(err)
				}
				slowest = max(slowest, time.Since(at))
				rounds++
				time.Sleep(time.Millisecond)
			}
			armed.Store(false)
			t.Logf("%d rounds while the disk hung; the slowest took %v", rounds, slowest)
			// A loaded machine may keep anybody waiting for some hundred ms; what is looked for is a second.
			if slowest > stall/4 || rounds == 0 {
				t.Errorf("somebody waited for the disk: %v", slowest)
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}
