package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The file names inside a model's folder.
const (
	networkFile = "model.onnx"
	cardFile    = "card.yaml"
)

// The errors that callers tell apart.
var (
	// ErrNotFound: there is no model of that name or path.
	ErrNotFound = errors.New("model not found")
	// ErrNoCard: the file is there, but nothing says how to feed and read it.
	ErrNoCard = errors.New("model without a card")
	// ErrHash: the file is not the one that the card or the caller names.
	ErrHash = errors.New("model differs from its sha256")
)

// maxNetwork bounds the size of a network file in bytes. The models that such a
// box runs have 1 to 200 MB.
const maxNetwork = 512 << 20

// Model is a network file with its card.
type Model struct {
	// Name is the card's.
	Name string
	// Path is that of the .onnx file.
	Path string
	Card Card
	// Size of the .onnx file in bytes.
	Size int64
}

// Read finds the model at path: a folder with model.onnx (or one other .onnx)
// and card.yaml, or an .onnx file with its card beside it, or one of the
// well-known files. The network itself is not read, unless to know it by its
// hash. Errors match ErrNotFound or ErrNoCard, or hold a *CardError.
func Read(path string) (Model, error) {
	network, err := networkAt(path)
	if err != nil {
		return Model{}, err
	}
	st, err := os.Stat(network)
	if err != nil {
		return Model{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if !st.Mode().IsRegular() {
		return Model{}, fmt.Errorf("%w: %s is not a file", ErrNotFound, network)
	}
	m := Model{Path: network, Size: st.Size()}
	for _, c := range cardsFor(network) {
		text, err := os.ReadFile(c)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Model{}, fmt.Errorf("model %s: %w", network, err)
		}
		if m.Card, err = ParseCard(text); err != nil {
			return Model{}, fmt.Errorf("model card %s:%w", c, err)
		}
		m.Name = m.Card.Name
		return m, nil
	}
	data, err := readNetwork(network)
	if err != nil {
		return Model{}, err
	}
	card, ok := knownBySHA256(sum(data))
	if !ok {
		return Model{}, fmt.Errorf("%w: %s is not one of the known files: write a card %s",
			ErrNoCard, network, cardsFor(network)[0])
	}
	m.Card, m.Name = card, card.Name
	return m, nil
}

// networkAt is the .onnx file meant by a path.
func networkAt(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if !st.IsDir() {
		if !strings.EqualFold(filepath.Ext(path), ".onnx") {
			return "", fmt.Errorf("%w: %s does not end in .onnx", ErrNotFound, path)
		}
		return path, nil
	}
	if p := filepath.Join(path, networkFile); exists(p) {
		return p, nil
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(path), "*.onnx"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%w: the folder %s has %d .onnx files, not one", ErrNotFound, path, len(found))
	}
	return found[0], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// escapeGlob makes a folder's name mean itself in a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// cardsFor lists where the card of a network file may be.
func cardsFor(network string) []string {
	stem := strings.TrimSuffix(network, filepath.Ext(network))
	cards := []string{stem + ".yaml", stem + ".yml"}
	if filepath.Base(network) == networkFile {
		cards = append([]string{filepath.Join(filepath.Dir(network), cardFile)}, cards...)
	}
	return cards
}

// readNetwork reads an .onnx file, if it is not absurdly large.
func readNetwork(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if st.Size() > maxNetwork {
		return nil, fmt.Errorf("model %s has %d bytes, more than the %d that a box can run", path, st.Size(), maxNetwork)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	return data, nil
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}
