package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// backup is one of the automatic backups.
type backup struct {
	path  string
	seq   int
	taken time.Time
}

// A backup is named by a number and the time. The number decides which is the
// newest: a board without a clock of its own starts in the past.
const (
	backupPrefix = "watchpost-"
	backupSuffix = ".db"
	backupTime   = "20060102T150405Z"
)

// backups lists the automatic backups in dir, the newest first.
func backups(dir string) []backup {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []backup
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), backupPrefix)
		name, ok2 := strings.CutSuffix(name, backupSuffix)
		num, stamp, ok3 := strings.Cut(name, "-")
		seq, err := strconv.Atoi(num)
		if !ok || !ok2 || !ok3 || err != nil || !e.Type().IsRegular() {
			continue
		}
		taken, err := time.Parse(backupTime, stamp)
		if err != nil {
			continue
		}
		all = append(all, backup{filepath.Join(dir, e.Name()), seq, taken})
	}
	slices.SortFunc(all, func(a, b backup) int { return b.seq - a.seq })
	return all
}

// Run makes an automatic backup every Options.BackupEvery, if something changed,
// until ctx ends. One that fails is logged and tried again next time.
func (d *DB) Run(ctx context.Context) error {
	t := time.NewTicker(d.opt.BackupEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := d.backupChanged(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			d.log.Error("state: the automatic backup failed; it is tried again later", "reason", err)
		}
	}
}

// backupChanged makes an automatic backup if something changed since the last.
func (d *DB) backupChanged(ctx context.Context) error {
	now := d.changes.Load()
	if now == d.backedUp.Load() {
		return nil
	}
	if err := d.ready(); err != nil {
		return err
	}
	defer d.mu.RUnlock()
	path, err := d.autoBackup(ctx)
	if err != nil {
		return err
	}
	d.backedUp.Store(now)
	d.log.Debug("state: backed up", "file", path)
	return nil
}

// autoBackup makes the next automatic backup and removes the oldest ones.
func (d *DB) autoBackup(ctx context.Context) (string, error) {
	// It may have been removed by somebody while the box runs.
	if err := os.MkdirAll(d.opt.BackupDir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of the backups: %w", err)
	}
	seq := 1
	if old := backups(d.opt.BackupDir); len(old) > 0 {
		seq = old[0].seq + 1
	}
	path := filepath.Join(d.opt.BackupDir, fmt.Sprintf("%s%06d-%s%s", backupPrefix, seq, time.Now().UTC().Format(backupTime), backupSuffix))
	if err := d.backupTo(ctx, path); err != nil {
		return "", err
	}
	all := backups(d.opt.BackupDir)
	for _, b := range all[min(len(all), d.opt.Keep):] {
		if err := os.Remove(b.path); err != nil {
			return path, fmt.Errorf("remove the oldest backup: %w", err)
		}
	}
	return path, nil
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// backupTo writes the backup and reads it back: one that is not whole is worse
// than none. The caller holds mu.
func (d *DB) backupTo(ctx context.Context, path string) error {
	err := writeFile(path, !d.opt.NoSync, func(f *os.File) error {
		err := guarded(func() error {
			return d.bolt.View(func(tx *bolt.Tx) error {
				_, err := tx.WriteTo(writerFunc(func(p []byte) (int, error) {
					if err := ctx.Err(); err != nil {
						return 0, err
					}
					return f.Write(p)
				}))
				return err
			})
		})
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		_, err = readHealth(f, info.Size())
		return err
	})
	if ctx.Err() != nil {
		err = ctx.Err() // bbolt does not wrap it
	}
	if err != nil {
		return fmt.Errorf("back the database up to %s: %w", path, err)
	}
	return nil
}

// writerFunc is a writer that is a function.
type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }
