package upload

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool/spooltest"
)

func refusedWith(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; want %v", what, err, want)
	}
}

func TestLimits(t *testing.T) {
	disk := spooltest.New(1)
	disk.Capacity = 10_000
	b := start(t, setup{disk: disk, dir: t.TempDir(), config: Config{MaxSize: 5000, Quota: 8000, Reserve: 3000, MaxOpen: 3}})
	create := func(s Spec) error { _, err := b.Create(context.Background(), s); return err }
	refusedWith(t, "beyond the size", create(Spec{Size: 5001}), ErrTooLarge)
	refusedWith(t, "a bad size", create(Spec{Size: -2}), ErrInvalid)
	refusedWith(t, "a bad id", create(Spec{ID: "../../etc/passwd"}), ErrInvalid)
	refusedWith(t, "a bad sha256", create(Spec{SHA256: "abc"}), ErrInvalid)
	refusedWith(t, "much metadata", create(Spec{Metadata: map[string]string{"a": string(make([]byte, maxMetadata))}}), ErrInvalid)
	first := mustCreate(t, b, Spec{Size: 5000})
	refusedWith(t, "the same id", create(Spec{ID: first.ID, Size: 1}), ErrConflict)
	refusedWith(t, "beyond the quota", create(Spec{Size: 3001}), ErrQuota)
	refusedWith(t, "beyond the reserve", create(Spec{Size: 2500}), ErrNoSpace)
	late := mustCreate(t, b, Spec{Size: -1})
	third := mustCreate(t, b, Spec{Size: 1})
	refusedWith(t, "too many", create(Spec{Size: 1}), ErrTooMany)
	if err := b.Remove(context.Background(), third.ID); err != nil {
		t.Fatal(err)
	}

	_, err := b.Append(context.Background(), first.ID, 4000, bytes.NewReader(content(1, 4000, 1001)))
	refusedWith(t, "more bytes than said", err, ErrTooLarge)
	n, err := b.Append(context.Background(), late.ID, 0, bytes.NewReader(content(1, 0, 3500)))
	refusedWith(t, "bytes beyond the quota", err, ErrQuota)
	if n != 0 {
		t.Errorf("%d bytes beyond the quota", n)
	}
	n, err = b.Append(context.Background(), late.ID, 0, bytes.NewReader(content(1, 0, 2500)))
	refusedWith(t, "bytes beyond the reserve", err, ErrNoSpace)
	if n != 0 {
		t.Errorf("%d bytes beyond the reserve", n)
	}
	mustAppend(t, b, late.ID, 0, content(1, 0, 1500))
	refusedWith(t, "a size below what is there", b.SetSize(context.Background(), late.ID, 1499), ErrConflict)
	refusedWith(t, "a size beyond the limit", b.SetSize(context.Background(), late.ID, 5001), ErrTooLarge)
	refusedWith(t, "a size beyond the quota", b.SetSize(context.Background(), late.ID, 4000), ErrQuota)
	if err := b.SetSize(context.Background(), late.ID, 1500); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, "another size", b.SetSize(context.Background(), late.ID, 1501), ErrConflict)
	b.untilStatus(late.ID, state.UploadComplete)
	_, err = b.Get("u0000000000000000000000000")
	refusedWith(t, "an unknown id", err, ErrNotFound)
}

// TestFullDisk: an upload that meets a full disk is kept, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	disk := spooltest.New(1)
	disk.Sparse = true
	disk.Capacity = 100 << 10
	b := start(t, setup{disk: disk, dir: t.TempDir()})
	i := mustCreate(t, b, Spec{Size: 90 << 10})
	if _, err := b.Create(context.Background(), Spec{Size: 20 << 10}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("room that is promised but not set aside was given away: %v", err)
	}
	mustAppend(t, b, i.ID, 0, content(1, 0, 40<<10))
	// Somebody else fills the disk.
	h, err := disk.Open("other", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(make([]byte, 60<<10), 0); err != nil {
		t.Fatal(err)
	}
	n, err := b.Append(context.Background(), i.ID, 40<<10, bytes.NewReader(content(1, 40<<10, 50<<10)))
	if n != 0 || !errors.Is(err, ErrNoSpace) {
		t.Fatalf("%d, %v", n, err)
	}
	if err := disk.Remove("other"); err != nil {
		t.Fatal(err)
	}
	now, err := b.Get(i.ID)
	if err != nil || now.Contiguous != 40<<10 {
		t.Fatalf("it is not kept: %d, %v", now.Contiguous, err)
	}
	mustAppend(t, b, i.ID, 40<<10, content(1, 40<<10, 50<<10))
	b.untilStatus(i.ID, state.UploadComplete)
}

func TestHashMismatch(t *testing.T) {
	disk := spooltest.New(1)
	r := prometheus.NewRegistry()
	b := start(t, setup{disk: disk, dir: t.TempDir(), deps: func(d *Deps) {
		d.Registerer = r
		d.OnComplete = func(state.Tx, state.Upload) error { t.Error("completed"); return nil }
	}})
	i := mustCreate(t, b, Spec{Size: 1000, SHA256: sumOf([]byte("other"))})
	mustAppend(t, b, i.ID, 0, content(1, 0, 1000))
	got := b.untilStatus(i.ID, state.UploadRefused)
	if got.Problem == "" || len(got.Have) > 0 {
		t.Errorf("%+v", got)
	}
	_, err := b.Append(context.Background(), i.ID, 0, bytes.NewReader(content(1, 0, 10)))
	refusedWith(t, "bytes for a refused upload", err, ErrGone)
	until(t, "its bytes are removed", func() bool { return disk.Content(i.ID) == nil })
	families, err := r.Gather()
	if err != nil || len(families) < 8 {
		t.Error(len(families), err)
	}
}

// TestOnComplete: what is put with the completing is there with it; an error of it delays it.
func TestOnComplete(t *testing.T) {
	dir := t.TempDir()
	var calls atomic.Int64
	b := start(t, setup{dir: dir, deps: func(d *Deps) {
		d.OnComplete = func(tx state.Tx, u state.Upload) error {
			if err := tx.Jobs().Put("j"+u.ID[1:], state.Job{Upload: u.ID, Name: u.SHA256}); err != nil {
				return err
			}
			if calls.Add(1) == 1 {
				return errors.New("not yet")
			}
			return nil
		}
	}})
	i := mustCreate(t, b, Spec{Name: "/tmp/../a.mp4", Size: 0, NoJob: true, Settings: &state.Settings{Model: "m"}})
	until(t, "the first try", func() bool { return calls.Load() > 0 })
	if jobs, err := b.db.Jobs().All(); err != nil || len(jobs) > 0 && calls.Load() < 2 {
		t.Fatalf("a job without its upload: %v, %v", jobs, err)
	}
	got := b.untilStatus(i.ID, state.UploadComplete)
	job, there, err := b.db.Jobs().Get("j" + i.ID[1:])
	if err != nil || !there || job.Name != sumOf(nil) || got.SHA256 != sumOf(nil) {
		t.Fatalf("%+v, %v, %v", job, there, err)
	}
	if got.Name != "a.mp4" || !got.NoJob || got.Settings.Model != "m" {
		t.Errorf("%+v", got)
	}
}

// TestExpiry: what makes no progress goes, what does stays, and so does what a job needs.
func TestExpiry(t *testing.T) {
	disk := spooltest.New(1)
	var used atomic.Value
	used.Store("")
	var gone sync.Map
	b := start(t, setup{disk: disk, dir: t.TempDir(), noRun: true, config: Config{Expiry: 400 * time.Millisecond}, deps: func(d *Deps) {
		d.InUse = func(id string) bool { return used.Load() == id }
	}})
	b.cfg.KeepComplete = 400 * time.Millisecond // less than Open lets through
	b.Watch("", func(i Info) {
		if i.Status == Removed {
			gone.Store(i.ID, true)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	defer func() { cancel(); <-done }()
	idle, busy, complete := mustCreate(t, b, Spec{Size: 1000}), mustCreate(t, b, Spec{Size: 1000}), mustCreate(t, b, Spec{Size: 10})
	used.Store(complete.ID)
	mustAppend(t, b, complete.ID, 0, content(1, 0, 10))
	refusedWith(t, "removing what a job needs", b.Remove(context.Background(), complete.ID), ErrBusy)
	at := int64(0)
	until(t, "the idle one expires", func() bool {
		if at < 900 {
			mustAppend(t, b, busy.ID, at, content(1, at, 1))
			at++
		}
		_, there := gone.Load(idle.ID)
		return there
	})
	_, err := b.Get(idle.ID)
	refusedWith(t, "what expired", err, ErrGone)
	if disk.Content(idle.ID) != nil {
		until(t, "the bytes go", func() bool { return disk.Content(idle.ID) == nil })
	}
	for _, id := range []string{busy.ID, complete.ID} {
		if _, err := b.Get(id); err != nil {
			t.Errorf("gone too early: %v", err)
		}
	}
	used.Store("")
	until(t, "the complete one goes after its job", func() bool { return disk.Content(complete.ID) == nil })
}

// TestRecovery: files without records go, records without files say so, everything else stays.
func TestRecovery(t *testing.T) {
	dir := t.TempDir()
	b := start(t, setup{dir: dir})
	kept, missing, short := mustCreate(t, b, Spec{Size: 1000}), mustCreate(t, b, Spec{Size: 1000}), mustCreate(t, b, Spec{Size: 1000})
	for _, i := range []Info{kept, missing, short} {
		mustAppend(t, b, i.ID, 100, content(1, 100, 500))
	}
	b.stopAll()
	path := func(name string) string { return filepath.Join(dir, "uploads", name) }
	orphan := state.NewUploadID()
	for _, err := range []error{
		os.Remove(path(missing.ID)), os.Truncate(path(short.ID), 599), os.WriteFile(path(orphan), []byte("x"), 0o600),
		os.WriteFile(path("README"), []byte("mine"), 0o600), os.Mkdir(path(state.NewUploadID()), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b = start(t, setup{dir: dir})
	for _, id := range []string{missing.ID, short.ID} {
		if i, err := b.Get(id); err != nil || i.Status != state.UploadRefused || i.Problem == "" || i.Received != 0 {
			t.Errorf("%+v, %v", i, err)
		}
		_, err := b.Path(id)
		refusedWith(t, "the path of what is lost", err, ErrGone)
	}
	until(t, "the orphan goes", func() bool {
		_, err := os.Stat(path(orphan))
		_, err2 := os.Stat(path(short.ID))
		return os.IsNotExist(err) && os.IsNotExist(err2)
	})
	if left, err := os.ReadDir(filepath.Join(dir, "uploads")); err != nil || len(left) != 3 {
		t.Errorf("there should be the kept one, the file and the folder: %v, %v", left, err)
	}
	mustAppend(t, b, kept.ID, 0, content(1, 0, 1000))
	b.untilStatus(kept.ID, state.UploadComplete)
}

// TestRestartKeepsHash: what was hashed before a restart is not read again.
func TestRestartKeepsHash(t *testing.T) {
	disk := spooltest.New(1)
	dir := t.TempDir()
	b := start(t, setup{disk: disk, dir: dir})
	const size = 3 << 20
	whole := content(9, 0, size)
	i := mustCreate(t, b, Spec{Size: size})
	mustAppend(t, b, i.ID, 0, whole[:2<<20])
	b.stopAll()
	var reads atomic.Int64
	disk.Fault = func(op spooltest.Op, _ string) error {
		if op == spooltest.Read {
			reads.Add(1)
		}
		return nil
	}
	b = start(t, setup{disk: disk, dir: dir})
	mustAppend(t, b, i.ID, 2<<20, whole[2<<20:])
	if got := b.untilStatus(i.ID, state.UploadComplete); got.SHA256 != sumOf(whole) {
		t.Error("wrong hash", got.SHA256)
	}
	if reads.Load() != 0 {
		t.Errorf("%d reads", reads.Load())
	}
}

// TestDatabaseFails: bytes that the record does not have are not acknowledged.
func TestDatabaseFails(t *testing.T) {
	b := start(t, setup{dir: t.TempDir(), noRun: true})
	i := mustCreate(t, b, Spec{Size: 1000})
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := b.Append(context.Background(), i.ID, 0, bytes.NewReader(content(1, 0, 1000)))
	if n != 0 || !errors.Is(err, ErrStorage) {
		t.Errorf("%d, %v", n, err)
	}
	_, err = b.Create(context.Background(), Spec{Size: 5})
	refusedWith(t, "an upload without a record", err, ErrStorage)
	refusedWith(t, "a removal without a record", b.Remove(context.Background(), i.ID), ErrStorage)
	if got := b.List(); len(got) != 1 || got[0].Received != 0 {
		t.Errorf("%+v", got)
	}
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"", "a.mp4", "../../etc/passwd", `C:\x\y.avi`, "\x00", "a\u202egpj.exe", "..", string(bytes.Repeat([]byte("ä"), 300)), "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := CleanName(s)
		if n == "" || len(n) > 255 || n != filepath.Base(n) || n == "." || n == ".." || CleanName(n) != n {
			t.Errorf("%q became %q, then %q", s, n, CleanName(n))
		}
	})
}

func TestRate(t *testing.T) {
	var r rate
	now := time.Now()
	r.add(now, 0)
	for range 100 {
		now = now.Add(200 * time.Millisecond)
		r.add(now, 2000)
	}
	if got := r.at(now); got < 9_900 || got > 10_100 {
		t.Errorf("2000 bytes each 200 ms are %f/s", got)
	}
	if got := r.at(now.Add(4 * time.Second)); got > 5_000 || got < 1_000 {
		t.Errorf("after a pause of 4 s: %f/s", got)
	}
	if got := r.at(now.Add(time.Minute)); got != 0 {
		t.Errorf("after a pause of a minute: %f/s", got)
	}
}

// TestUnknownSize takes bytes up to the last one that fits, and tells nobody of less room than there is.
func TestUnknownSize(t *testing.T) {
	disk := spooltest.New(1)
	disk.Capacity = 10_000
	b := start(t, setup{disk: disk, dir: t.TempDir(), config: Config{Reserve: 1000}})
	i := mustCreate(t, b, Spec{Size: -1})
	mustAppend(t, b, i.ID, 0, content(1, 0, 9000))
	n, err := b.Append(context.Background(), i.ID, 9000, bytes.NewReader(content(1, 9000, 1)))
	refusedWith(t, "a byte of the reserve", err, ErrNoSpace)
	if err := b.SetSize(context.Background(), i.ID, 9000); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	if got := b.untilStatus(i.ID, state.UploadComplete); got.SHA256 != sumOf(content(1, 0, 9000)) {
		t.Error("wrong hash")
	}
}
