package media

import (
	"fmt"
	"regexp"
	"sync"
)

// Bounds of what a hostile file can make the summary hold, and the worker keep.
const (
	maxWarnings = 50
	maxKinds    = 1000
)

// warnings are what was wrong with a file though it can be analysed: each text once,
// in the order of their first times. How often one came is in the ledger; the engine
// tells repeats by the clock, and what is told here must not depend on that.
type warnings struct {
	mu    sync.Mutex
	texts []string
	known map[string]bool
}

// timesMore ends a text of the engine that it has told before.
var timesMore = regexp.MustCompile(` \(\d+ times more\)$`)

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text = timesMore.ReplaceAllString(oneLine(text), "")
	if w.known[text] || len(w.known) >= maxKinds {
		return
	}
	if w.known == nil {
		w.known = map[string]bool{}
	}
	w.known[text] = true
	if len(w.texts) < maxWarnings {
		w.texts = append(w.texts, text)
	}
}

func (w *warnings) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts, w.known = nil, nil
}

func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := append([]string(nil), w.texts...)
	if n := len(w.known) - len(w.texts); n > 0 {
		out = append(out, fmt.Sprintf("%d more kinds of warnings", n))
	}
	return out
}
