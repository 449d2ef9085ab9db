package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/vision/output"
	"github.com/watchpost/watchpost/hw/accel"
)

// ErrExists: a model of that name is installed.
var ErrExists = errors.New("model is installed already")

// InstallOptions go with Install.
type InstallOptions struct {
	// SHA256 that the .onnx file must have, in hexadecimal. A URL needs it.
	SHA256 string
	// Card is the path of a card for a file without one.
	Card string
	// Family makes a card with the family's usual values and COCO's labels,
	// for a file without one.
	Family string
	// Name overrides the card's; for Family without it, the file's name.
	Name string
	// Replace an installed model of the same name.
	Replace bool
	// Progress hears how many bytes of a download are there; total is -1
	// while unknown. nil: nobody.
	Progress func(done, total int64)
}

// Install copies a model into the store: an .onnx file, a model's folder, or
// the http(s) URL of an .onnx file together with its sha256. It refuses what
// differs from its hash, does not load, or puts out nothing that its card's
// family decodes. The model appears whole and synced, or not at all.
func (s *Store) Install(ctx context.Context, rt *accel.Runtime, from string, o InstallOptions) (Model, error) {
	o.SHA256 = strings.ToLower(o.SHA256)
	if o.SHA256 != "" && !hashPattern.MatchString(o.SHA256) {
		return Model{}, fmt.Errorf("install model: sha256 %q is not 64 hexadecimal digits", o.SHA256)
	}
	dir, err := os.MkdirTemp(s.dir, staging)
	if err != nil {
		return Model{}, fmt.Errorf("install model: %w", err)
	}
	defer os.RemoveAll(dir)
	network := filepath.Join(dir, networkFile)
	local := "" // where a card may lie beside the file
	var hash string
	if isURL(from) {
		if o.SHA256 == "" {
			return Model{}, fmt.Errorf("install model %s: a download needs its sha256: give it, from a source that you trust", redact(from))
		}
		hash, err = download(ctx, from, network, o.Progress)
	} else {
		if local, err = networkAt(from); err == nil {
			hash, err = copyNetwork(local, network)
		}
	}
	if err != nil {
		return Model{}, fmt.Errorf("install model %s: %w", redact(from), err)
	}
	if o.SHA256 != "" && hash != o.SHA256 {
		return Model{}, fmt.Errorf("install model %s: %w: it has %s, asked for was %s", redact(from), ErrHash, hash, o.SHA256)
	}
	m := Model{Path: network}
	if m.Card, err = s.cardOf(from, local, hash, o); err != nil {
		return Model{}, fmt.Errorf("install model %s: %w", redact(from), err)
	}
	m.Name = m.Card.Name
	target := filepath.Join(s.dir, m.Name)
	if exists(target) && !o.Replace {
		return Model{}, fmt.Errorf("%w: %s: ask for it to be replaced, or give another name", ErrExists, m.Name)
	}
	if _, err := Prove(rt, m, Options{}); err != nil {
		return Model{}, fmt.Errorf("install model %s: %w", redact(from), err)
	}
	if err := s.publish(dir, target, m.Card); err != nil {
		return Model{}, fmt.Errorf("install model %s: %w", m.Name, err)
	}
	return Read(target)
}

// cardOf finds or makes the card of a file: the one given, the one beside it,
// the built-in one, the family's. It leaves with the file's hash in it.
func (s *Store) cardOf(from, local, hash string, o InstallOptions) (Card, error) {
	card, err := chooseCard(from, local, hash, o)
	if err != nil {
		return Card{}, err
	}
	if card.SHA256 != "" && card.SHA256 != hash {
		return Card{}, fmt.Errorf("%w: it has %s, its card says %s", ErrHash, hash, card.SHA256)
	}
	card.SHA256 = hash
	if o.Name != "" {
		card.Name = o.Name
	}
	if card.Source == "" && isURL(from) {
		card.Source = redact(from)
	}
	if p := card.problem(); p != nil {
		return Card{}, &CardError{Message: p.key + ": " + p.message}
	}
	return card, nil
}

func chooseCard(from, local, hash string, o InstallOptions) (Card, error) {
	candidates := []string{o.Card}
	if o.Card == "" {
		candidates = nil
		if local != "" {
			candidates = cardsFor(local)
		}
	}
	for _, path := range candidates {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && o.Card == "" {
			continue
		}
		if err != nil {
			return Card{}, err
		}
		card, err := ParseCard(text)
		if err != nil {
			return Card{}, fmt.Errorf("card %s:%w", path, err)
		}
		return card, nil
	}
	if card, ok := knownBySHA256(hash); ok && o.Family == "" {
		return card, nil
	}
	if o.Family == "" {
		return Card{}, fmt.Errorf("%w: nothing says how to feed and read it: give a card, or its output family (%v)", ErrNoCard, output.Families())
	}
	family, err := output.ParseFamily(o.Family)
	if err != nil {
		return Card{}, err
	}
	card := FamilyCard(family)
	card.Name = nameFrom(from)
	return card, nil
}

// nameFrom makes a model's name of a path or URL.
func nameFrom(from string) string {
	base := filepath.Base(strings.TrimRight(from, "/"))
	if i := strings.IndexAny(base, "?#"); i >= 0 {
		base = base[:i]
	}
	base = strings.ToLower(strings.TrimSuffix(base, filepath.Ext(base)))
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, base)
	return strings.TrimLeft(name, "-._")
}

// publish writes the card beside the network and moves the folder to its place.
func (s *Store) publish(dir, target string, card Card) error {
	text, err := card.Encode()
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(dir, cardFile), text); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if !exists(target) {
		return errors.Join(os.Rename(dir, target), syncDir(s.dir))
	}
	// A folder cannot be renamed over one that is not empty. Between the two
	// steps the model is away, never half there.
	old, err := os.MkdirTemp(s.dir, staging)
	if err != nil {
		return err
	}
	defer os.RemoveAll(old)
	away := filepath.Join(old, "old")
	if err := os.Rename(target, away); err != nil {
		return err
	}
	if err := os.Rename(dir, target); err != nil {
		return errors.Join(err, os.Rename(away, target))
	}
	return syncDir(s.dir)
}
