package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// whole is a database with the fixture's records and one backup of it, as bytes.
func whole(t *testing.T) (file, backup []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "watchpost.db")
	d, _ := opened(t, Options{Path: path})
	fill(t, d)
	// Pages become free, and the tree is not as it was built.
	for i := range 40 {
		if err := d.Jobs().Put(fmt.Sprintf("x%d", i), Job{Name: string(bytes.Repeat([]byte{'n'}, 40*i))}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		if err := d.Jobs().Delete(fmt.Sprintf("x%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := backups(filepath.Join(filepath.Dir(path), "backups"))
	if len(all) != 1 {
		t.Fatalf("%d backups after Close, want 1", len(all))
	}
	if backup, err = os.ReadFile(all[0].path); err != nil {
		t.Fatal(err)
	}
	return file, backup
}

// place lays a file and a backup out in a folder of their own.
func place(t *testing.T, file, backup []byte) Options {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "") // one of many: survives removes it
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Path: filepath.Join(dir, "watchpost.db"), NoSync: true}
	if err := os.WriteFile(o.Path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if backup != nil {
		if err := os.MkdirAll(filepath.Join(dir, "backups"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "backups", "watchpost-000001-20260301T120000Z.db"), backup, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// survives opens what may be damaged, checks that every record of the fixture is
// there and that it takes writes, and tells what Open did.
func survives(t *testing.T, what string, o Options) Opened {
	t.Helper()
	stuck := time.AfterFunc(time.Minute, func() { panic("stuck in opening: " + what) })
	defer stuck.Stop()
	d, how, err := Open(o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
		if err := os.RemoveAll(filepath.Dir(o.Path)); err != nil {
			t.Error(err)
		}
	}()
	hasFixture(t, what, d)
	if err := d.Uploads().Put("unew", Upload{ID: "unew"}); err != nil {
		t.Fatalf("%s: write: %v", what, err)
	}
	if how.Restored != nil && how.Restored.Aside != "" {
		if _, err := os.Stat(how.Restored.Aside); err != nil {
			t.Errorf("%s: the damaged file was not kept: %v", what, err)
		}
	}
	return how
}

func hasFixture(t *testing.T, what string, d *DB) {
	t.Helper()
	uploads, jobs := fixtureRecords()
	gotUploads, err := d.Uploads().All()
	if err != nil || !reflect.DeepEqual(gotUploads, uploads) {
		t.Fatalf("%s: %d uploads, want %d as they were written (%v)", what, len(gotUploads), len(uploads), err)
	}
	gotJobs, err := d.Jobs().All()
	if err != nil || !reflect.DeepEqual(gotJobs, jobs) {
		t.Fatalf("%s: %d jobs, want %d as they were written (%v)", what, len(gotJobs), len(jobs), err)
	}
}

func TestTruncatedFile(t *testing.T) {
	t.Parallel()
	file, backup := whole(t)
	for _, n := range lengths(len(file)) {
		how := survives(t, fmt.Sprintf("cut to %d bytes", n), place(t, file[:n], backup))
		if n <= 4096*2 && (how.Restored == nil || how.Restored.Backup == "") {
			t.Errorf("cut to %d of %d bytes: %+v, want the backup", n, len(file), how)
		}
	}
}

// lengths are where files get cut: at and about pages, sectors, and anywhere.
func lengths(size int) []int {
	all := []int{0, 1, 15, 79, 80, 511}
	for p := 512; p < size; p *= 2 {
		all = append(all, p-1, p, p+1)
	}
	for range 20 {
		all = append(all, rand.IntN(size))
	}
	return all
}

// Each page is overwritten with zeros, with noise, and with another page: a
// write that was lost, one that was torn, and one that went astray.
func TestDamagedPages(t *testing.T) {
	t.Parallel()
	file, backup := whole(t)
	const page = 4096
	outcomes := map[string]int{}
	for at := 0; at < len(file); at += page {
		for name, damage := range map[string]func([]byte){
			"zeroed":    func(p []byte) { clear(p) },
			"half":      func(p []byte) { clear(p[page/2:]) },
			"noise":     func(p []byte) { fillRandom(p) },
			"misplaced": func(p []byte) { copy(p, file[(at+5*page)%len(file):]) },
		} {
			bad := bytes.Clone(file)
			damage(bad[at : at+page])
			how := survives(t, fmt.Sprintf("page %d %s", at/page, name), place(t, bad, backup))
			outcomes[outcome(how)]++
		}
	}
	t.Log(outcomes)
	if outcomes["backup"] == 0 || outcomes["as it was"] == 0 {
		t.Errorf("outcomes %v: the damage did not reach what it should", outcomes)
	}
}

func outcome(o Opened) string {
	switch {
	case o.Restored != nil && o.Restored.Previous:
		return "state before"
	case o.Restored != nil:
		return "backup"
	case len(o.Quarantined) > 0:
		return "record from backup"
	case o.Torn:
		return "other meta"
	}
	return "as it was"
}

func fillRandom(p []byte) {
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
}

// One bit falls over, anywhere: in headers, in trees, and within records, where
// only the record's own sum shows it.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	file, backup := whole(t)
	const page = 4096
	outcomes := map[string]int{}
	flip := func(bit int) {
		bad := bytes.Clone(file)
		bad[bit/8] ^= 1 << (bit % 8)
		outcomes[outcome(survives(t, fmt.Sprintf("byte %d, bit %d", bit/8, bit%8), place(t, bad, backup)))]++
	}
	for at := 0; at < len(file); at += page {
		for range 2 {
			flip(at*8 + rand.IntN(24*8)) // the page's header and first entry
		}
		for range 2 {
			flip(at*8 + rand.IntN(page*8))
		}
	}
	t.Log(outcomes)
	for _, want := range []string{"backup", "as it was", "record from backup"} {
		if outcomes[want] == 0 {
			t.Errorf("outcomes %v: none is %q", outcomes, want)
		}
	}
}

// With no backup there is an empty database, and the damaged one is kept.
func TestDamagedWithoutBackup(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("this is not a database\n"), "large text": bytes.Repeat([]byte("text "), 9000), "zeros": make([]byte, 65536),
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t, data, nil)
			d, how := opened(t, o)
			if how.Restored == nil || how.Restored.Backup != "" || how.Restored.Previous {
				t.Fatalf("%+v, want an empty database", how)
			}
			kept, err := os.ReadFile(how.Restored.Aside)
			if err != nil || !bytes.Equal(kept, data) {
				t.Errorf("the damaged file was not kept as it was: %d bytes, %v", len(kept), err)
			}
			if len(how.Notes()) != 1 {
				t.Errorf("notes %q, want one", how.Notes())
			}
			if all, err := d.Uploads().All(); err != nil || len(all) != 0 {
				t.Errorf("%v %v", all, err)
			}
		})
	}
}

// A backup that is damaged too is passed over for an older one; a lost file is
// restored as a damaged one is.
func TestOlderBackupWhereTheNewestIsDamaged(t *testing.T) {
	file, backup := whole(t)
	o := place(t, file[:5000], backup)
	newest := filepath.Join(filepath.Dir(o.Path), "backups", "watchpost-000002-19700101T000000Z.db")
	if err := os.WriteFile(newest, backup[:9000], 0o600); err != nil {
		t.Fatal(err)
	}
	how := survives(t, "newest backup damaged", o)
	if how.Restored == nil || len(how.Restored.Skipped) != 1 || filepath.Base(how.Restored.Backup) != "watchpost-000001-20260301T120000Z.db" {
		t.Fatalf("%+v", how.Restored)
	}
	o = place(t, file, backup)
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	if how := survives(t, "lost file", o); how.Restored == nil || how.Restored.Aside != "" || how.Created {
		t.Fatalf("%+v", how)
	}
}

// A record that no backup has stays away, alone, and its bytes are kept.
func TestDamagedRecordWithoutBackup(t *testing.T) {
	file, _ := whole(t)
	at := bytes.Index(file, []byte("Straße 39.mp4"))
	if at < 0 {
		t.Fatal("the record is not in the file")
	}
	for next := at; next >= 0; {
		file[at] ^= 0x20
		if next = bytes.Index(file[at+1:], []byte("Straße 39.mp4")); next >= 0 {
			at += 1 + next
		}
	}
	o := place(t, file, nil)
	d, how := opened(t, o)
	if len(how.Quarantined) != 1 || how.Quarantined[0].Backup != "" || len(how.Notes()) != 1 {
		t.Fatalf("%+v", how)
	}
	if all, err := d.Uploads().All(); err != nil || len(all) != 39 {
		t.Errorf("%d uploads (%v), want the 39 others", len(all), err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := healthOf(o.Path)
	if err != nil || h.Quarantined != 1 || len(h.Bad) != 0 {
		t.Errorf("%+v %v", h, err)
	}
	if _, how := opened(t, o); len(how.Quarantined) != 0 || how.Restored != nil {
		t.Errorf("opened again: %+v", how)
	}
}

// TestAside: an open database tells when one before it was put aside.
func TestAside(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "watchpost.db"), NoSync: true}
	begin := time.Now().Add(-2 * time.Second) // names tell seconds
	d, how := opened(t, o)
	if !how.Aside.IsZero() {
		t.Errorf("a new database: %v", how.Aside)
	}
	if err := d.Uploads().Put("u1", Upload{ID: "u1"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second name gets a number, if it is the same second
		if _, err := Restore(o, ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // it is not for the first start behind it alone
		d, how = opened(t, o)
		if how.Aside.Before(begin) || how.Aside.After(time.Now()) {
			t.Errorf("put aside at %v, between %v and now", how.Aside, begin)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
