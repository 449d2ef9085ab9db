package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimFolder) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(m)
}

// box is a store with all that belongs to it.
type box struct {
	*Uploads
	t    testing.TB
	db   *state.DB
	end  context.CancelFunc
	done chan error
}

type setup struct {
	disk   spool.FS // nil: the real one
	dir    string
	config Config
	deps   func(*Deps)
	noRun  bool
}

func start(t testing.TB, o setup) *box {
	t.Helper()
	b, err := tryStart(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tryStart(t testing.TB, o setup) (*box, error) {
	t.Helper()
	db, _, err := state.Open(state.Options{Path: filepath.Join(o.dir, "state", "watchpost.db"), NoSync: o.disk != nil})
	if err != nil {
		return nil, err
	}
	var dir *spool.Dir
	if o.disk != nil {
		dir = spool.New(o.disk, "/spool")
	} else if dir, err = spool.Open(filepath.Join(o.dir, "uploads")); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d := Deps{DB: db, Spool: dir, Log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		d.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if o.deps != nil {
		o.deps(&d)
	}
	u, err := Open(d, o.config)
	if err != nil {
		return nil, errors.Join(err, dir.Close(), db.Close())
	}
	b := &box{Uploads: u, t: t, db: db, done: make(chan error, 1)}
	ctx, end := context.WithCancel(context.Background())
	b.end = end
	if o.noRun {
		b.done <- nil
	} else {
		go func() { b.done <- u.Run(ctx) }()
	}
	t.Cleanup(b.stopAll)
	return b, nil
}

// stopAll ends the store in order; more than once is fine.
func (b *box) stopAll() {
	if b.end == nil {
		return
	}
	b.end()
	b.end = nil
	if err := <-b.done; err != nil {
		b.t.Error("run:", err)
	}
	if err := b.Close(); err != nil {
		b.t.Error("close:", err)
	}
	if err := errors.Join(b.deps.Spool.Close(), b.db.Close()); err != nil {
		b.t.Error("close:", err)
	}
}

// content is what file number n has in [off, off+size): never zero, so that a hole is told from it, and of
// an odd period, so that a shift is told, too.
func content(n uint64, off, size int64) []byte {
	t, there := contents.Load(n)
	if !there {
		table := make([]byte, 65537)
		r := rand.New(rand.NewPCG(n, 3))
		for i := range table {
			table[i] = byte(1 + r.IntN(255))
		}
		t, _ = contents.LoadOrStore(n, table)
	}
	table := t.([]byte)
	out := make([]byte, size)
	for i := int64(0); i < size; {
		i += int64(copy(out[i:], table[(off+i)%int64(len(table)):]))
	}
	return out
}

var contents sync.Map // number to table

func sumOf(p []byte) string {
	s := sha256.Sum256(p)
	return hex.EncodeToString(s[:])
}

func mustCreate(t testing.TB, b *box, s Spec) Info {
	t.Helper()
	i, err := b.Create(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func mustAppend(t testing.TB, b *box, id string, off int64, p []byte) {
	t.Helper()
	n, err := b.Append(context.Background(), id, off, bytes.NewReader(p))
	if err != nil || n != int64(len(p)) {
		t.Fatalf("append of %d bytes at %d: %d, %v", len(p), off, n, err)
	}
}

// until waits for something that comes without being asked for.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("this did not happen in 20 s: " + what)
		}
	}
}

func (b *box) untilStatus(id string, want state.UploadStatus) Info {
	b.t.Helper()
	var i Info
	until(b.t, "status "+string(want), func() bool {
		var err error
		i, err = b.Get(id)
		return err == nil && i.Status == want
	})
	return i
}

// holds checks that the file has the bytes that the record says are there.
func holds(t testing.TB, file []byte, i Info, number uint64) {
	t.Helper()
	if !spool.Valid(i.Have) {
		t.Fatalf("%s: bad extents %v", i.ID, i.Have)
	}
	for _, e := range i.Have {
		if int64(len(file)) < e.To {
			t.Fatalf("%s: the file has %d bytes, the record %v", i.ID, len(file), e)
		}
		if !bytes.Equal(file[e.From:e.To], content(number, e.From, e.To-e.From)) {
			t.Fatalf("%s: wrong bytes in %v", i.ID, e)
		}
	}
}

var _ spool.FS = (*spooltest.Disk)(nil)
