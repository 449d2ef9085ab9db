package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

// told is what the client of a story learned.
type told struct {
	t      testing.TB
	acked  map[string][]spool.Extent
	number map[string]uint64
	errors []error
}

func (x *told) heard(err error) {
	if err == nil {
		return
	}
	x.errors = append(x.errors, err)
	named := false
	for kind := range kinds {
		named = named || errors.Is(err, kind)
	}
	if !named {
		x.t.Errorf("an error without a kind: %v", err)
	}
}

func (x *told) ack(id string, off, n int64) {
	if n > 0 {
		x.acked[id] = spool.Union(x.acked[id], []spool.Extent{{From: off, To: off + n}})
	}
}

const storySize = 300 << 10

// story is what clients do, each step whether or not those before succeeded.
func story(b *box, x *told) {
	ctx := context.Background()
	var ids []string
	for number := range uint64(2) {
		size := int64(storySize)
		if number == 1 {
			size = -1
		}
		i, err := b.Create(ctx, Spec{Name: "a", Size: size})
		x.heard(err)
		if err == nil {
			ids = append(ids, i.ID)
			x.number[i.ID] = number
		}
	}
	for round := range int64(3) {
		for _, id := range ids {
			off := round * 100 << 10
			data := content(x.number[id], off, 100<<10)
			n, err := b.Append(ctx, id, off, bytes.NewReader(data))
			x.heard(err)
			x.ack(id, off, n)
			if err == nil && n < int64(len(data)) {
				x.t.Errorf("%d bytes of %d, and no error", n, len(data))
			}
			if round == 1 {
				x.ack(id, off, placeAgain(b, x, id, off, data))
				h := checksum("md5")
				h.Write(data)
				n, err = b.AppendChecked(ctx, id, off, bytes.NewReader(data), int64(len(data)), "md5", h.Sum(nil))
				x.heard(err)
				x.ack(id, off, n)
			}
		}
	}
	for _, id := range ids {
		x.heard(b.SetSize(ctx, id, storySize))
	}
}

// placeAgain repeats a part and adds one behind it.
func placeAgain(b *box, x *told, id string, off int64, data []byte) int64 {
	before := len(x.errors)
	x.heard(b.Place(id, off, data[:50<<10]))
	x.heard(b.Place(id, off+50<<10, data[50<<10:]))
	x.heard(b.Flush(context.Background(), id))
	if len(x.errors) > before {
		return 0
	}
	return int64(len(data))
}

// TestFaults lets each operation of the story fail, once or from then on, then cuts the power: what was
// acknowledged is there, and with the disk whole again clients can go on to the end.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		op   spooltest.Op
		errs []error
	}{
		{spooltest.Write, []error{syscall.ENOSPC, syscall.EIO}},
		{spooltest.Datasync, []error{syscall.EIO, syscall.ENOSPC}},
		{spooltest.Create, []error{syscall.ENOSPC}},
		{spooltest.Allocate, []error{syscall.ENOSPC, syscall.EIO}},
		{spooltest.SyncDir, []error{syscall.EIO}},
		{spooltest.Read, []error{syscall.EIO}},
	} {
		for _, err := range c.errs {
			for _, lasts := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v/lasts=%t", c.op, err, lasts), func(t *testing.T) {
					t.Parallel()
					hit := true
					n := int64(0)
					for ; hit && n < 200; n++ {
						hit = faultAt(t, c.op, n, err, lasts)
					}
					t.Logf("failed from each of %d calls on", n-1)
					if n == 1 {
						t.Error("the story never does this")
					}
				})
			}
		}
	}
}

// faultAt reports whether the story came to the n-th call of op.
func faultAt(t *testing.T, op spooltest.Op, n int64, fault error, lasts bool) bool {
	disk := spooltest.New(uint64(n))
	var calls atomic.Int64
	disk.Fault = func(got spooltest.Op, _ string) error {
		if got != op {
			return nil
		}
		if at := calls.Add(1); at == n+1 || lasts && at > n {
			return fault
		}
		return nil
	}
	dir := t.TempDir()
	b := start(t, setup{disk: disk, dir: dir, config: Config{Batch: time.Millisecond}})
	x := &told{t: t, acked: map[string][]spool.Extent{}, number: map[string]uint64{}}
	story(b, x)
	hit := calls.Load() > n
	if hit && len(x.errors) == 0 && (op == spooltest.Write || op == spooltest.Create || op == spooltest.Allocate || op == spooltest.SyncDir) {
		t.Errorf("the %d-th %s failed, and nobody was told", n+1, op)
	}
	disk2 := disk.Crash()
	b.stopAll()
	b = start(t, setup{disk: disk2, dir: dir})
	for id, number := range x.number {
		i, err := b.Get(id)
		if err != nil {
			t.Fatalf("%s %d: %v", op, n, err)
		}
		holds(t, disk2.Content(id), i, number)
		for _, e := range x.acked[id] {
			if end, there := spool.Next(i.Have, e.From, e.To); !there || end != e.To {
				t.Fatalf("%s %d: %v was acknowledged, there is %v", op, n, e, i.Have)
			}
		}
		if i.Status == state.UploadReceiving {
			if err := b.SetSize(context.Background(), id, storySize); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, b, id, 0, content(number, 0, storySize))
		}
		if got, want := b.untilStatus(id, state.UploadComplete).SHA256, sumOf(content(number, 0, storySize)); got != want {
			t.Fatalf("%s %d: complete with %s, want %s", op, n, got, want)
		}
	}
	if files, _ := disk2.List(); len(files) > len(x.number) {
		until(t, "the janitor removes what the crash left", func() bool { f, _ := disk2.List(); return len(f) == len(x.number) })
	}
	b.stopAll()
	return hit
}
