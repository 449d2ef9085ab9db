package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LoadPassword reads the sign-in password from a file, or makes a password and
// writes it there with mode 0600; made tells which. The file holds the password
// itself and not a hash of it: it is the one copy that the owner of the box can
// look up, only root and the service can read it, and who can read it can also
// read the cameras' own passwords in the configuration beside it.
func LoadPassword(path string) (password string, made bool, err error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		password = strings.TrimSpace(string(b))
		if password == "" {
			return "", false, fmt.Errorf("password file %s is empty: write a password into it, or delete it to have one made", path)
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", false, fmt.Errorf("password file %s: %w", path, err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return "", false, fmt.Errorf("password file %s can be read by other users: run chmod 600 %s", path, path)
		}
		return password, false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", false, fmt.Errorf("read the password file: %w", err)
	}
	password = newPassword()
	if err := writePassword(path, password); err != nil {
		return "", false, fmt.Errorf("make the password file: %w", err)
	}
	return password, true, nil
}

// newPassword returns 80 bits as four groups of lower-case letters and digits.
func newPassword() string {
	t := strings.ToLower(rand.Text()) // base32: 5 bits a letter
	return t[0:4] + "-" + t[4:8] + "-" + t[8:12] + "-" + t[12:16]
}

// writePassword puts a whole file in place or none: a half-written password
// after a power cut would lock the owner out.
func writePassword(path, password string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".password-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.WriteString(password + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
