package job

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state"
)

func TestRemove(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.cfg.Keep = 24 * time.Hour
		d.open()
		var gone []string
		defer d.q.Watch(func(e Event) {
			if e.Removed != "" {
				gone = append(gone, e.Removed)
			}
		})()
		_, running := d.upload("F")
		w := d.worker(1)
		w.find(3)
		r, err := d.q.Results(running, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := d.q.Remove(t.Context(), running); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Next(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("its reader got %v", err)
		}
		if _, err := d.q.Get(running); !errors.Is(err, ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
		_, there, _ := d.db.Jobs().Get(running)
		if _, err := os.Stat(d.q.folder(running)); there || !os.IsNotExist(err) {
			t.Errorf("record %v, folder %v", there, err)
		}
		if err := d.q.Remove(t.Context(), running); !errors.Is(err, ErrNotFound) {
			t.Errorf("twice: %v", err)
		}
		_, old := d.upload("F")
		d.worker(2).finish()
		d.awaitStatus(old, state.JobDone)
		// What is nobody's stays: only unfinished results without a record go.
		orphan, whole, other := state.NewJobID(), state.NewJobID(), "photos"
		for _, n := range []string{orphan, whole, other} {
			if err := os.MkdirAll(d.q.folder(n), 0o755); err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(d.q.folder(n), detectionsName+partSuffix), []byte("x"), 0o600)
		}
		os.WriteFile(filepath.Join(d.q.folder(whole), summaryName), []byte("{}"), 0o600)
		time.Sleep(23 * time.Hour)
		d.awaitStatus(old, state.JobDone)
		time.Sleep(2 * time.Hour)
		if _, err := d.q.Get(old); !errors.Is(err, ErrNotFound) {
			t.Errorf("an old job is still there: %v", err)
		}
		if !slices.Equal(gone, []string{running, old}) {
			t.Errorf("watchers heard of %v", gone)
		}
		var left []string
		list, _ := os.ReadDir(filepath.Join(d.dir, "jobs"))
		for _, e := range list {
			left = append(left, e.Name())
		}
		slices.Sort(left)
		want := []string{trashName, whole, other}
		slices.Sort(want)
		if !slices.Equal(left, want) {
			t.Errorf("left are %v, want %v", left, want)
		}
		if trash, _ := os.ReadDir(filepath.Join(d.dir, "jobs", trashName)); len(trash) > 0 {
			t.Errorf("%d folders are still on their way out", len(trash))
		}
	})
}

// A removal that the box went down in is finished.
func TestRemovalIsFinished(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		_, id := d.upload("F")
		if err := os.MkdirAll(filepath.Join(d.dir, "jobs", trashName, id), 0o755); err != nil {
			t.Fatal(err)
		}
		d.open()
		time.Sleep(time.Minute)
		if list := d.q.List(); len(list) != 0 || d.started() != 0 {
			t.Errorf("%d jobs, %d workers", len(list), d.started())
		}
	})
}
