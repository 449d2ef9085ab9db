package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// readPassword returns the box's password. A missing file is written with a new
// password where generate says so; only the owner may read it.
func readPassword(path string, generate bool) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		line, _, _ := bytes.Cut(data, []byte("\n"))
		if p := strings.TrimSpace(string(line)); p != "" {
			return p, nil
		}
		return "", fmt.Errorf("the password file %s is empty: write a password into its first line, or remove it", path)
	}
	if !errors.Is(err, os.ErrNotExist) || !generate {
		return "", fmt.Errorf("read the password: %w", err)
	}
	// 26 letters and digits, 130 bits: nothing to guess, and still typed by hand.
	p := strings.ToLower(rand.Text())
	if err := writePassword(path, p); err != nil {
		return "", fmt.Errorf("write a new password: %w", err)
	}
	return p, nil
}

// writePassword makes the file at once or not at all: an empty one, left by a
// power cut, would keep the box from starting.
func writePassword(path, password string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".password-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.WriteString(password + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
