package state

import (
	"errors"
	"path/filepath"
	"testing"
)

// opened opens a database in a folder of the test's own and closes it at its end.
func opened(t *testing.T, o Options) (*DB, Opened) {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "watchpost.db")
	}
	d, how, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, how
}

func TestOneTransactionOverBothBuckets(t *testing.T) {
	d, how := opened(t, Options{})
	if !how.Created {
		t.Error("a new database is not reported as made")
	}
	u, j := NewUploadID(), NewJobID()
	stop := errors.New("stop")
	put := func(end error) error {
		return d.Update(func(tx Tx) error {
			if err := tx.Uploads().Put(u, Upload{ID: u}); err != nil {
				return err
			}
			if err := tx.Jobs().Put(j, Job{ID: j, Upload: u}); err != nil {
				return err
			}
			return end
		})
	}
	if err := put(stop); !errors.Is(err, stop) {
		t.Fatalf("error %v, want the function's own", err)
	}
	if _, ok, err := d.Uploads().Get(u); ok || err != nil {
		t.Fatalf("after a failed transaction: %v, %v", ok, err)
	}
	if err := put(nil); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := d.Jobs().Get(j); !ok || err != nil || got.Upload != u {
		t.Fatalf("%+v %v %v", got, ok, err)
	}
	if err := d.Jobs().Update("none", func(*Job) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("update of nothing: %v", err)
	}
	if err := d.Jobs().Update(j, func(x *Job) error { x.Priority = 7; return nil }); err != nil {
		t.Fatal(err)
	}
	if all, err := d.Jobs().All(); err != nil || len(all) != 1 || all[0].Priority != 7 {
		t.Errorf("%+v %v", all, err)
	}
}
