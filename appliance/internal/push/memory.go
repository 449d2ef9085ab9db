package push

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// memory is the file that remembers which upload of which box is this file, so
// that the same command, run again, goes on. Losing it costs bytes sent twice,
// nothing else; errors are therefore not told.
type memory struct {
	path string
	mu   sync.Mutex
}

// remembered is one unfinished upload.
type remembered struct {
	Upload string    `json:"upload"`
	Since  time.Time `json:"since"`
}

// forgotten is after how long a box has certainly removed an unfinished upload
// that nobody went on with.
const forgotten = 30 * 24 * time.Hour

func openMemory(path string) *memory { return &memory{path: path} }

// memoryKey tells files apart by box, place, size and time of change: a file
// that was written anew is another one. So is one that is to be analysed otherwise,
// since the settings go with the upload.
func memoryKey(box string, f *source, set Settings) string {
	abs, err := filepath.Abs(f.path)
	if err != nil {
		abs = f.path
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d\n%+v", box, abs, f.size, f.mtime.UnixNano(), set))
	return hex.EncodeToString(sum[:16])
}

func (m *memory) get(key string) (id string) {
	m.change(func(all map[string]remembered) bool {
		id = all[key].Upload
		return false
	})
	return id
}

func (m *memory) put(key, id string) {
	m.change(func(all map[string]remembered) bool {
		all[key] = remembered{Upload: id, Since: time.Now().UTC()}
		return true
	})
}

func (m *memory) forget(keys ...string) {
	m.change(func(all map[string]remembered) bool {
		before := len(all)
		for _, k := range keys {
			delete(all, k)
		}
		return len(all) < before
	})
}

// change reads the file, changes it, and writes it back if edit says so; other
// programs that push at the same time wait for it.
func (m *memory) change(edit func(map[string]remembered) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.path == "" || os.MkdirAll(filepath.Dir(m.path), 0o700) != nil {
		edit(map[string]remembered{})
		return
	}
	lock, err := os.OpenFile(m.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		defer lock.Close()
		_ = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	all := map[string]remembered{}
	if data, err := os.ReadFile(m.path); err == nil {
		if json.Unmarshal(data, &all) != nil || all == nil {
			all = map[string]remembered{}
		}
	}
	if !edit(all) {
		return
	}
	for k, r := range all {
		if time.Since(r.Since) > forgotten {
			delete(all, k)
		}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return
	}
	if os.WriteFile(m.path+".new", data, 0o600) == nil {
		_ = os.Rename(m.path+".new", m.path)
	}
}
