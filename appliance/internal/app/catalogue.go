package app

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/api"
)

// catalogue remembers which models are installed for as long as their folder stays as it
// is. To tell anew, all of them are read and hashed, some megabytes each, which no
// client's offer shall wait for.
type catalogue struct {
	read func() ([]api.Model, error)
	dir  string

	mu    sync.Mutex
	known uint64 // the folder's print when list was read; 0: never
	list  []api.Model
}

// errElsewhere is a link to a folder, below which nobody looks.
var errElsewhere = errors.New("a link to a folder")

// models are the installed models. The list is shared: it is not to be changed.
func (c *catalogue) models() ([]api.Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.print()
	if c.known != 0 && c.known == now {
		return c.list, nil
	}
	list, err := c.read()
	if err != nil {
		return nil, err
	}
	c.known, c.list = now, list
	return list, nil
}

// print changes with the name, size or time of anything in the folder.
func (c *catalogue) print() uint64 {
	h := fnv.New64a()
	dir, err := filepath.EvalSymlinks(c.dir)
	if err != nil {
		return 0
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() && !e.IsDir() {
			return errElsewhere
		}
		fmt.Fprintln(h, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	if err != nil {
		return 0 // it changes while we look, or cannot be looked at: nothing is remembered
	}
	return h.Sum64() | 1
}
