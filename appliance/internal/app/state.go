package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/watchpost/watchpost/state"
)

// StateOptions say which database is meant: File, or else that of a data folder,
// which is named directly, by a configuration, or is the usual one.
type StateOptions struct{ File, DataDir, Config string }

// stateOptions is the box's database under its data folder.
func stateOptions(dataDir string) state.Options {
	dir := filepath.Join(dataDir, "state")
	return state.Options{Path: filepath.Join(dir, "watchpost.db"), BackupDir: filepath.Join(dir, "backups")}
}

// database is which database o means. Nothing is made that is not there.
func (o StateOptions) database() (state.Options, error) {
	if o.File != "" {
		return state.Options{Path: o.File}, nil
	}
	dir := o.DataDir
	if dir == "" && o.Config != "" {
		cfg, err := LoadConfig(o.Config)
		if err != nil {
			return state.Options{}, err
		}
		dir = cfg.DataDir
	}
	if dir == "" {
		dir = usualData()
	}
	return stateOptions(dir), nil
}

// stateError gives the errors of the database a kind.
func stateError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return of(ErrInput, "%s: there is no such file: name the data folder with --data", path)
	case errors.Is(err, state.ErrDamaged):
		return of(ErrState, "%s cannot be used: %w; the box puts it aside at its next start and takes the newest backup, as does: watchpost state restore newest", path, err)
	case errors.Is(err, state.ErrInUse), errors.Is(err, state.ErrNewer):
		return kindError{ErrState, err}
	}
	return err
}

// look opens the database that o means for reading.
func (o StateOptions) look() (*state.Look, string, error) {
	db, err := o.database()
	if err != nil {
		return nil, "", err
	}
	l, err := state.OpenLook(db.Path)
	return l, db.Path, stateError(db.Path, err)
}

// CheckState reads the whole database, also that of a running box, and prints
// how it is.
func (p Program) CheckState(_ context.Context, o StateOptions) (err error) {
	l, path, err := o.look()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if l.InUse {
		fmt.Fprintln(os.Stderr, "a box is running with it: a copy of its present state is checked")
	}
	h, err := l.Check()
	if err != nil {
		return stateError(path, err)
	}
	if h.Newer {
		return of(ErrState, "%s has version %d, which this program is too old for: install the newer one again", path, h.Version)
	}
	for _, b := range h.Bad {
		fmt.Fprintln(os.Stderr, b)
	}
	if h.Torn {
		fmt.Fprintln(os.Stderr, "the last write was cut off, or damaged later; the state before it is there")
	}
	if n := len(h.Bad); n > 0 {
		return of(ErrState, "%s: %d of %d records cannot be read: the box puts them in quarantine at its next start, and takes what the newest backup has of them", path, n, h.Uploads+h.Jobs+h.Workflows)
	}
	fmt.Printf("%s: good: version %d, %d uploads, %d jobs, %d workflows, %d in quarantine, %d bytes\n", path, h.Version, h.Uploads, h.Jobs, h.Workflows, h.Quarantined, h.Bytes)
	return nil
}

// DumpState prints records as JSON, one a line; bucket may be empty: all.
func (p Program) DumpState(ctx context.Context, o StateOptions, bucket string) (err error) {
	l, path, err := o.look()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	w := bufio.NewWriter(os.Stdout)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	err = l.Dump(bucket, func(e state.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return enc.Encode(e)
	})
	return errors.Join(stateError(path, err), w.Flush())
}

// BackupState copies the database, also that of a running box, to a new file.
func (p Program) BackupState(_ context.Context, o StateOptions, to string) (err error) {
	l, path, err := o.look()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	h, err := l.Copy(to)
	switch {
	case errors.Is(err, state.ErrDamaged):
		return stateError(path, err)
	case err != nil:
		return of(ErrOutput, "%w", err)
	}
	fmt.Printf("%s: a copy of %s: %d uploads, %d jobs, %d workflows\n", to, path, h.Uploads, h.Jobs, h.Workflows)
	return nil
}

// RestoreState puts a backup in the database's place: the file from, or
// "newest", the newest automatic one that is whole.
func (p Program) RestoreState(_ context.Context, o StateOptions, from string) error {
	db, err := o.database()
	if err != nil {
		return err
	}
	if from == "newest" {
		from = ""
	}
	r, err := state.Restore(db, from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return of(ErrInput, "%w", err)
	case errors.Is(err, state.ErrDamaged), errors.Is(err, state.ErrInUse), errors.Is(err, state.ErrNewer):
		return kindError{ErrState, fmt.Errorf("%w; nothing was changed", err)}
	case err != nil:
		return err
	}
	fmt.Printf("%s: restored from %s: %d uploads, %d jobs, %d workflows\n", db.Path, r.From, r.Health.Uploads, r.Health.Jobs, r.Health.Workflows)
	if r.Aside != "" {
		fmt.Printf("the one before is kept as %s\n", r.Aside)
	}
	return nil
}
