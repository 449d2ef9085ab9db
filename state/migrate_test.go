package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// Every version that was ever written opens, with every record.
func TestMigrations(t *testing.T) {
	for v := 1; v <= schema; v++ {
		t.Run(fmt.Sprintf("from %d", v), func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("v%d.db", v)))
			if err != nil {
				t.Fatal(err)
			}
			o := place(t, file, nil)
			workflows := 0
			if v >= 3 {
				workflows = 3
			}
			if h, err := healthOf(o.Path); err != nil || h.Version != v || len(h.Bad) > 0 || h.Uploads != 40 || h.Jobs != 12 || h.Workflows != workflows {
				t.Fatalf("before: %+v %v", h, err)
			}
			d, how := opened(t, o)
			if v == schema && how.Migrated != nil || v < schema && (how.Migrated == nil || *how.Migrated != (Migrated{v, schema})) {
				t.Errorf("%+v", how)
			}
			hasFixture(t, "migrated", d)
			if got, err := d.Workflows().All(); err != nil || workflows > 0 && !reflect.DeepEqual(got, fixtureWorkflows()) || len(got) != workflows {
				t.Errorf("%d workflows: %v", len(got), err)
			}
			if keys, err := d.Workflows().Keys(); err != nil || len(keys) != workflows || workflows > 0 && keys[2] != "yard/count-2" {
				t.Errorf("keys %q: %v", keys, err)
			}
			if err := d.Workflows().Put("attic/new", Workflow{Workspace: "attic", ID: "new", Specification: []byte("{}")}); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if v < schema {
				// The way back.
				all := backups(filepath.Join(filepath.Dir(o.Path), "backups"))
				if len(all) == 0 {
					t.Fatal("no backup of the old version is kept")
				}
				if h, err := healthOf(all[len(all)-1].path); err != nil || h.Version != v || h.Uploads != 40 {
					t.Errorf("the backup: %+v %v", h, err)
				}
			}
			d, how = opened(t, o)
			if how.Migrated != nil || how.Restored != nil || len(how.Notes()) > 0 {
				t.Errorf("opened again: %+v", how)
			}
			hasFixture(t, "opened again", d)
		})
	}
}

// A step that is cut off leaves the version before it.
func TestMigrationIsOneTransaction(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "v1.db"))
	if err != nil {
		t.Fatal(err)
	}
	o := place(t, file, nil)
	b, err := bolt.Open(o.Path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("power cut")
	err = b.Update(func(tx *bolt.Tx) error {
		if err := addSums(tx); err != nil {
			return err
		}
		return stop
	})
	if err := errors.Join(b.Close()); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	d, how := opened(t, o)
	if how.Migrated == nil || how.Restored != nil {
		t.Errorf("%+v", how)
	}
	hasFixture(t, "migrated at the second try", d)
}

// A file of a newer program is refused and not touched, and not even backups of
// it are made.
func TestNewerVersionIsRefused(t *testing.T) {
	o := place(t, nil, nil)
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	d, _ := opened(t, o)
	fill(t, d)
	if err := d.bolt.Update(func(tx *bolt.Tx) error { return setSchema(tx, schema+97) }); err != nil {
		t.Fatal(err)
	}
	d.backedUp.Store(d.changes.Load())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(o)
	if !errors.Is(err, ErrNewer) {
		t.Fatalf("error %v, want ErrNewer", err)
	}
	t.Log(err)
	after, err := os.ReadFile(o.Path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was touched (%v)", err)
	}
}

// A bit that falls over in the version makes no newer version of it.
func TestDamagedVersion(t *testing.T) {
	for _, raw := range []string{"", "0", "2", "3", "-1", "2 00000000", "+2 " + string(formatSchema(2)[2:]), "1 ", "one", "99999999999999999999999"} {
		if v, ok := parseSchema([]byte(raw)); ok {
			t.Errorf("%q is taken for version %d", raw, v)
		}
	}
	for _, v := range []int{2, 3, 1000} {
		raw := formatSchema(v)
		for bit := range len(raw) * 8 {
			bad := bytes.Clone(raw)
			bad[bit/8] ^= 1 << (bit % 8)
			if got, ok := parseSchema(bad); ok {
				t.Errorf("%q, of %d, is taken for version %d", bad, v, got)
			}
		}
	}
}

// From version 3 on, a database without the workflows' bucket is damaged.
func TestBucketsOfTheVersions(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "v3.db"))
	if err != nil {
		t.Fatal(err)
	}
	o := place(t, file, nil)
	b, err := bolt.Open(o.Path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("workflows")) })
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := healthOf(o.Path); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
}
