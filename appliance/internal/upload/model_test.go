package upload

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

var modelRounds = flag.Int("model.rounds", 12, "histories that the store is compared with the model in")

// known is what a client knows of its upload.
type known struct {
	number uint64
	size   int64 // -1: not told
	final  int64 // what it will have
	acked  []spool.Extent
}

// TestModel compares the store with what clients were told, over random histories
// with crashes that lose what was not synced.
func TestModel(t *testing.T) {
	for seed := range uint64(*modelRounds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), disk: spooltest.New(seed), dir: t.TempDir(), all: map[string]*known{}}
			m.disk.Sparse = seed%3 == 0
			m.open()
			for range 120 {
				m.step()
			}
			m.crash()
			m.finish()
		})
	}
}

type model struct {
	t    *testing.T
	rnd  *rand.Rand
	disk *spooltest.Disk
	dir  string
	box  *box
	all  map[string]*known
	made uint64
}

func (m *model) open() {
	m.box = start(m.t, setup{disk: m.disk, dir: m.dir})
	m.check()
}

func (m *model) crash() {
	next := m.disk.Crash()
	m.box.stopAll()
	m.disk = next
	m.open()
}

// check compares everything that was acknowledged.
func (m *model) check() {
	m.t.Helper()
	if n := len(m.box.List()); n != len(m.all) {
		m.t.Fatalf("%d uploads, not %d", n, len(m.all))
	}
	for id, k := range m.all {
		i, err := m.box.Get(id)
		if err != nil {
			m.t.Fatal(err)
		}
		holds(m.t, m.disk.Content(id), i, k.number)
		for _, e := range k.acked {
			if end, there := spool.Next(i.Have, e.From, e.To); !there || end != e.To {
				m.t.Fatalf("%s: %v was acknowledged, there is %v", id, e, i.Have)
			}
		}
		k.acked = i.Have
	}
}

func (m *model) pick() (string, *known) {
	n := m.rnd.IntN(max(1, len(m.all)))
	for _, i := range m.box.List() {
		if n--; n < 0 {
			return i.ID, m.all[i.ID]
		}
	}
	return "", nil
}

func (m *model) step() {
	id, k := m.pick()
	what := m.rnd.IntN(100)
	if k == nil || what < 6 && len(m.all) < 8 {
		m.create()
		return
	}
	off := m.rnd.Int64N(k.final)
	if m.rnd.IntN(2) == 0 {
		off = spool.Reach(k.acked, 0) // as clients do mostly
	}
	n := min(k.final-off, 1+m.rnd.Int64N(200<<10))
	data := content(k.number, off, n)
	switch {
	case what < 50:
		m.append(id, k, off, data)
	case what < 60:
		m.conflict(id, k, off, data)
	case what < 70:
		m.checked(id, k, off, data)
	case what < 82:
		m.place(id, k, off, data)
	case what < 86:
		if err := m.box.SetSize(context.Background(), id, k.final); err != nil {
			m.t.Fatal(err)
		}
		k.size = k.final
	case what < 90:
		if err := m.box.Remove(context.Background(), id); err != nil {
			m.t.Fatal(err)
		}
		delete(m.all, id)
		if _, err := m.box.Append(context.Background(), id, 0, bytes.NewReader(data)); !errors.Is(err, ErrGone) {
			m.t.Fatal("append to what is removed:", err)
		}
	case what < 96:
		m.crash()
	default:
		m.check()
	}
}

func (m *model) create() {
	k := &known{number: m.made, final: 1 + m.rnd.Int64N(600<<10)}
	m.made++
	k.size = k.final
	if m.rnd.IntN(4) == 0 {
		k.size = -1
	}
	i := mustCreate(m.t, m.box, Spec{Name: "a", Size: k.size, SHA256: sumOf(content(k.number, 0, k.final))})
	m.all[i.ID] = k
}

func (k *known) ack(off, n int64) {
	k.acked = spool.Union(k.acked, spool.Insert(nil, spool.Extent{From: off, To: off + n}))
}

// broken gives p and then fails as a connection does.
type broken struct{ io.Reader }

var errBroken = errors.New("connection reset")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

func (m *model) append(id string, k *known, off int64, data []byte) {
	var r io.Reader = bytes.NewReader(data)
	var want error
	if m.rnd.IntN(3) == 0 {
		r, want = broken{r}, errBroken
	}
	n, err := m.box.Append(context.Background(), id, off, r)
	if !errors.Is(err, want) || n != int64(len(data)) {
		m.t.Fatalf("append [%d, %d): %d, %v; want %v", off, off+int64(len(data)), n, err, want)
	}
	k.ack(off, n)
}

func (m *model) conflict(id string, k *known, off int64, data []byte) {
	clash := spool.Overlaps(k.acked, off, off+int64(len(data)))
	if !clash {
		return
	}
	other := bytes.Clone(data)
	for i := range other {
		other[i] ^= 1
	}
	end, there := spool.Next(k.acked, off, off+int64(len(data)))
	if !there {
		other = other[end-off:] // or other bytes would be new ones first
		off = end
	}
	if n, err := m.box.Append(context.Background(), id, off, bytes.NewReader(other)); !errors.Is(err, ErrConflict) || n != 0 {
		m.t.Fatalf("other bytes at %d: %d, %v", off, n, err)
	}
}

func (m *model) checked(id string, k *known, off int64, data []byte) {
	h := checksum("sha1")
	h.Write(data)
	sum, bad := h.Sum(nil), m.rnd.IntN(3) == 0
	if bad {
		sum[0] ^= 1
	}
	n, err := m.box.AppendChecked(context.Background(), id, off, bytes.NewReader(data), int64(len(data)), "sha1", sum)
	if bad {
		if n != 0 || !errors.Is(err, ErrChecksum) {
			m.t.Fatalf("a wrong checksum: %d, %v", n, err)
		}
		return
	}
	if err != nil || n != int64(len(data)) {
		m.t.Fatalf("checked append [%d, %d): %d, %v", off, off+int64(len(data)), n, err)
	}
	k.ack(off, n)
}

func (m *model) place(id string, k *known, off int64, data []byte) {
	for at := int64(0); at < int64(len(data)); {
		n := min(int64(len(data))-at, 48<<10)
		if err := m.box.Place(id, off+at, data[at:at+n]); err != nil {
			m.t.Fatal(err)
		}
		at += n
	}
	if m.rnd.IntN(2) == 0 {
		return // not acknowledged
	}
	if err := m.box.Flush(context.Background(), id); err != nil {
		m.t.Fatal(err)
	}
	k.ack(off, int64(len(data)))
}

// finish lets every upload be completed, and its hash be compared.
func (m *model) finish() {
	for id, k := range m.all {
		if err := m.box.SetSize(context.Background(), id, k.final); err != nil {
			m.t.Fatal(err)
		}
		for at := int64(0); at < k.final; {
			end, there := spool.Next(k.acked, at, k.final)
			if !there {
				mustAppend(m.t, m.box, id, at, content(k.number, at, end-at))
			}
			at = end
		}
		i := m.box.untilStatus(id, state.UploadComplete)
		if want := sumOf(content(k.number, 0, k.final)); i.SHA256 != want || i.Contiguous != k.final {
			m.t.Fatalf("%s: complete with %s, %d bytes; want %s, %d", id, i.SHA256, i.Contiguous, want, k.final)
		}
	}
	m.box.stopAll()
}
