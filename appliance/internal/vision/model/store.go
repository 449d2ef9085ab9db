package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/hw/accel"
)

// staging is how the names of unfinished installs begin. They are never listed.
const staging = ".incoming-"

// stale is the age from which an unfinished install is a dead one's rest.
const stale = 24 * time.Hour

// Store is the folder that models are kept in, one folder for each. Files x.onnx
// that somebody put there, with a card or well-known, are listed as well.
type Store struct{ dir string }

// OpenStore opens the folder, makes it when it is not there, and clears away
// what installs that died left behind.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open model store: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open model store: %w", err)
	}
	for _, e := range entries {
		// A young one may be another process's, at work.
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), staging) && time.Since(info.ModTime()) > stale {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("open model store: %w", err)
			}
		}
	}
	return &Store{dir: dir}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// List returns the models in the order of their names. What looks like a model
// and cannot be read is in the error; the others are returned all the same.
func (s *Store) List() ([]Model, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list models: %w", err)
	}
	var models []Model
	var bad []error
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !e.IsDir() && !strings.EqualFold(filepath.Ext(name), ".onnx") {
			continue
		}
		m, err := Read(filepath.Join(s.dir, name))
		if err != nil {
			bad = append(bad, err)
			continue
		}
		models = append(models, m)
	}
	slices.SortFunc(models, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	return models, errors.Join(bad...)
}

// Get finds a model by its card's name, or by that of its file or folder. The
// error matches ErrNotFound and names what there is.
func (s *Store) Get(name string) (Model, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return Model{}, fmt.Errorf("%w: %q is not a model's name", ErrNotFound, name)
	}
	if m, err := Read(filepath.Join(s.dir, name)); !errors.Is(err, ErrNotFound) {
		return m, err
	}
	models, err := s.List()
	if err != nil && len(models) == 0 {
		return Model{}, err
	}
	var have []string
	for _, m := range models {
		if m.Name == name || strings.TrimSuffix(filepath.Base(m.Path), filepath.Ext(m.Path)) == name {
			return m, nil
		}
		have = append(have, m.Name)
	}
	if len(have) == 0 {
		return Model{}, fmt.Errorf("%w: %s: none is installed: use model install", ErrNotFound, name)
	}
	return Model{}, fmt.Errorf("%w: %s: installed are %s", ErrNotFound, name, strings.Join(have, ", "))
}

// Remove deletes an installed model.
func (s *Store) Remove(name string) error {
	m, err := s.Get(name)
	if err != nil {
		return err
	}
	if filepath.Dir(m.Path) == s.dir {
		for _, p := range append(cardsFor(m.Path), m.Path) {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove model %s: %w", name, err)
			}
		}
		return nil
	}
	// Out of sight in one step; then the files.
	gone := filepath.Join(s.dir, fmt.Sprintf("%s%s-%d", staging, filepath.Base(filepath.Dir(m.Path)), os.Getpid()))
	if err := os.Rename(filepath.Dir(m.Path), gone); err != nil {
		return fmt.Errorf("remove model %s: %w", name, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove model %s: %w", name, err)
	}
	return nil
}

// Report is what Check found out about a model that works.
type Report struct {
	Model    Model
	SHA256   string
	Provider string
	// Width and Height of the input in pixels.
	Width, Height int
	// Load is how long the model took to load and first run, Run one run.
	Load, Run time.Duration
}

// Check proves an installed model: its hash, that it loads, runs and decodes.
func (s *Store) Check(rt *accel.Runtime, name string) (Report, error) {
	m, err := s.Get(name)
	if err != nil {
		return Report{}, err
	}
	return Prove(rt, m, Options{})
}

// Prove loads a model, runs it on a picture and decodes what it puts out.
func Prove(rt *accel.Runtime, m Model, o Options) (Report, error) {
	start := time.Now()
	data, err := readNetwork(m.Path)
	if err != nil {
		return Report{}, err
	}
	r := Report{Model: m, SHA256: sum(data)}
	if m.Card.SHA256 != "" && r.SHA256 != m.Card.SHA256 {
		return Report{}, fmt.Errorf("%w: %s has %s, its card says %s: install it again", ErrHash, m.Path, r.SHA256, m.Card.SHA256)
	}
	d, err := newDetector(rt, m, data, o)
	if err != nil {
		return Report{}, err
	}
	defer d.Close()
	r.Load = time.Since(start)
	r.Provider = d.Provider()
	r.Width, r.Height = d.Size()
	start = time.Now()
	// A frame of a camera's shape, so that letterboxing is part of the proof.
	w, h := d.InputSize(1280, 720)
	if _, err := d.Detect(gradient(w, h), 1280, 720); err != nil {
		return Report{}, err
	}
	r.Run = time.Since(start)
	return r, nil
}

// gradient is a picture that is not one flat colour.
func gradient(w, h int) vision.RGB {
	img := vision.RGB{Width: w, Height: h, Stride: 3 * w, Pix: make([]byte, 3*w*h)}
	for y := range h {
		for x := range w {
			o := y*img.Stride + 3*x
			img.Pix[o], img.Pix[o+1], img.Pix[o+2] = byte(x*255/w), byte(y*255/h), byte((x+y)&255)
		}
	}
	return img
}
