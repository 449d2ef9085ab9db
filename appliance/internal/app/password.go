package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
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
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("write a new password: %w", err)
	}
	_, err = f.WriteString(p + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write a new password: %w", err)
	}
	return p, nil
}
