package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/api"
)

// The models are read again when something in their folder is another, and only then.
func TestCatalogue(t *testing.T) {
	dir := t.TempDir()
	card := filepath.Join(dir, "a", "card.yaml")
	reads := 0
	c := &catalogue{dir: dir, read: func() ([]api.Model, error) { reads++; return []api.Model{{Name: "a"}}, nil }}
	look := func(what string, want int) {
		t.Helper()
		for range 2 {
			if list, err := c.models(); err != nil || len(list) != 1 || reads != want {
				t.Errorf("%s: %v, %v, read %d times, want %d", what, list, err, reads, want)
			}
		}
	}
	look("an empty folder", 1)
	if err := os.MkdirAll(filepath.Dir(card), 0o755); err != nil {
		t.Fatal(err)
	}
	look("a model's folder", 2)
	if err := os.WriteFile(card, []byte("name: a"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("its card", 3)
	if err := os.WriteFile(card, []byte("name: ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("a longer card", 4)
	if err := os.RemoveAll(filepath.Dir(card)); err != nil {
		t.Fatal(err)
	}
	look("its removal", 5)
}

// A folder that cannot be looked at is read each time.
func TestCatalogueWithoutFolder(t *testing.T) {
	reads := 0
	c := &catalogue{dir: filepath.Join(t.TempDir(), "none"), read: func() ([]api.Model, error) { reads++; return nil, nil }}
	for range 3 {
		if _, err := c.models(); err != nil {
			t.Fatal(err)
		}
	}
	if reads != 3 {
		t.Errorf("read %d times, want 3", reads)
	}
}
