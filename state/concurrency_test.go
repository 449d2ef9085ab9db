package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Many write at once, some of them in vain and some in panic; each sees its own
// effect, and no other's failure.
func TestManyWriters(t *testing.T) {
	d, _ := opened(t, Options{NoSync: true})
	stop := errors.New("stop")
	var runs atomic.Int64
	var wg sync.WaitGroup
	models := make([]map[string]Upload, 16)
	for w := range models {
		model := map[string]Upload{}
		models[w] = model
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 9))
			for n := range 200 {
				id := fmt.Sprintf("u%d-%d", w, r.IntN(20))
				u := Upload{ID: id, Size: int64(n)}
				switch r.IntN(6) {
				case 0: // in vain
					err := d.Update(func(tx Tx) error {
						runs.Add(1)
						return errors.Join(tx.Uploads().Put(id, Upload{Name: "never"}), tx.Uploads().Delete(id), stop)
					})
					if !errors.Is(err, stop) {
						t.Errorf("%v", err)
					}
				case 1:
					func() {
						defer func() {
							if recover() != "panic of its own" {
								t.Error("the panic went elsewhere")
							}
						}()
						_ = d.Update(func(tx Tx) error {
							runs.Add(1)
							_ = tx.Uploads().Put(id, Upload{Name: "never"})
							panic("panic of its own")
						})
					}()
				case 2:
					if err := d.Uploads().Delete(id); err != nil {
						t.Error(err)
					}
					runs.Add(1)
					delete(model, id)
				default:
					if err := d.Uploads().Put(id, u); err != nil {
						t.Error(err)
					}
					runs.Add(1)
					model[id] = u
				}
				if got, ok, err := d.Uploads().Get(id); err != nil || ok != (model[id].ID != "") || !reflect.DeepEqual(got, model[id]) {
					t.Errorf("%s is %+v (%v, %v), want %+v", id, got, ok, err, model[id])
				}
			}
		})
	}
	wg.Wait()
	if runs.Load() != 16*200 {
		t.Errorf("functions ran %d times, want each once: %d", runs.Load(), 16*200)
	}
	want := map[string]Upload{}
	for _, m := range models {
		for k, v := range m {
			want[k] = v
		}
	}
	all, err := d.Uploads().All()
	if err != nil || len(all) != len(want) {
		t.Fatalf("%d records (%v), want %d", len(all), err, len(want))
	}
	for i, u := range all {
		if !reflect.DeepEqual(u, want[u.ID]) || i > 0 && all[i-1].ID >= u.ID {
			t.Errorf("%+v, want %+v; in order of ids", u, want[u.ID])
		}
	}
}

// Each backup made while others write is of one moment: the two buckets, which
// are always written together, agree in it.
func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	d, _ := opened(t, Options{Path: filepath.Join(dir, "watchpost.db"), BackupEvery: 5 * time.Millisecond, Keep: 3})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for w := range 3 {
		wg.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				id := fmt.Sprint(w)
				err := d.Update(func(tx Tx) error {
					name := strings.Repeat("n", int(n*997%5000))
					return errors.Join(tx.Uploads().Put(id, Upload{HashedTo: n, Name: name}), tx.Jobs().Put(id, Job{Attempts: int(n), Name: name}))
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	last := int64(0)
	for i := range 25 {
		path := filepath.Join(dir, fmt.Sprintf("copy%d.db", i))
		if i%2 == 0 {
			if err := d.Backup(ctx, path); err != nil {
				t.Fatal(err)
			}
		} else if err := lookAndCopy(d.opt.Path, path); err != nil { // from outside, as another process would
			t.Fatal(err)
		}
		last = agrees(t, path, last)
	}
	if got := backups(d.opt.BackupDir); len(got) > 4 { // one more while the oldest goes
		t.Errorf("%d backups are kept, want 3", len(got))
	}
	for _, b := range backups(d.opt.BackupDir)[:1] {
		agrees(t, b.path, 0)
	}
}

func lookAndCopy(from, to string) error {
	l, err := OpenLook(from)
	if err != nil {
		return err
	}
	if !l.InUse {
		err = errors.New("the database is not found to be in use")
	}
	_, cerr := l.Copy(to)
	return errors.Join(err, cerr, l.Close())
}

func agrees(t *testing.T, path string, last int64) (sum int64) {
	t.Helper()
	d, how := opened(t, Options{Path: path, BackupDir: filepath.Join(t.TempDir(), "none")})
	if how.Created || how.Restored != nil || len(how.Quarantined) > 0 {
		t.Fatalf("%+v", how)
	}
	for w := range 3 {
		u, ok, err := d.Uploads().Get(fmt.Sprint(w))
		j, ok2, err2 := d.Jobs().Get(fmt.Sprint(w))
		if ok != ok2 || err != nil || err2 != nil || u.HashedTo != int64(j.Attempts) || u.Name != j.Name {
			t.Fatalf("upload %d (%v) and job %d (%v) are of different moments", u.HashedTo, err, j.Attempts, err2)
		}
		sum += u.HashedTo
	}
	if sum < last {
		t.Errorf("a later backup has %d, an earlier one had %d", sum, last)
	}
	return sum
}

// Only what changed is backed up, and no more backups are kept than asked for.
func TestAutomaticBackups(t *testing.T) {
	d, _ := opened(t, Options{Keep: 2, NoSync: true})
	ctx := context.Background()
	for i := range 5 {
		if err := d.Uploads().Put("u", Upload{Size: int64(i)}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := d.backupChanged(ctx); err != nil {
				t.Fatal(err)
			}
		}
		got := backups(d.opt.BackupDir)
		if len(got) != min(i+1, 2) || got[0].seq != i+1 {
			t.Fatalf("after change %d: %+v", i, got)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := d.Backup(ended, filepath.Join(t.TempDir(), "x.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("a backup in a context that ended: %v", err)
	}
	if err := d.Backup(ctx, d.opt.Path); err == nil {
		t.Error("the database was backed up onto itself")
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	d, _ := opened(t, Options{})
	if _, _, err := Open(Options{Path: d.opt.Path, LockTimeout: 50 * time.Millisecond}); !errors.Is(err, ErrInUse) {
		t.Fatalf("%v, want ErrInUse", err)
	} else {
		t.Log(err)
	}
	if _, err := Restore(Options{Path: d.opt.Path, LockTimeout: 50 * time.Millisecond}, filepath.Join("testdata", "v1.db")); !errors.Is(err, ErrInUse) {
		t.Fatalf("restore: %v, want ErrInUse", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Jobs().All(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := d.Jobs().Put("x", Job{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	opened(t, Options{Path: d.opt.Path})
}

// BenchmarkPut is what a durable write costs with 1 and with 32 writers: as it is
// done here, and with bbolt's Batch at different delays.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 32} {
		for _, way := range []string{"group", "batch 0", "batch 1ms", "batch 10ms"} {
			b.Run(fmt.Sprintf("%s, %d writers", way, writers), func(b *testing.B) {
				d, _, err := Open(Options{Path: filepath.Join(b.TempDir(), "watchpost.db")})
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				put := func(id string, u Upload) error { return d.Uploads().Put(id, u) }
				if delay, ok := strings.CutPrefix(way, "batch "); ok {
					d.bolt.MaxBatchDelay, _ = time.ParseDuration(delay)
					put = func(id string, u Upload) error {
						return d.bolt.Batch(func(tx *bolt.Tx) error {
							return in[Upload](Tx{&txn{bolt: tx}}, bucketUploads).Put(id, u)
						})
					}
				}
				var n atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for w := range writers {
					wg.Go(func() {
						id := fmt.Sprintf("u%025d", w)
						for n.Add(1) <= int64(b.N) {
							if err := put(id, Upload{ID: id, Size: n.Load()}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
