package media

import (
	"fmt"
	"sync"
)

// maxWarnings bounds what a hostile file can make the summary hold.
const maxWarnings = 50

// warnings are what was wrong with a file though it can be analysed. A text that
// repeats the one before it counts once.
type warnings struct {
	mu       sync.Mutex
	texts    []string
	repeated int
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text = oneLine(text)
	if n := len(w.texts); n > 0 && w.texts[n-1] == text || n >= maxWarnings {
		w.repeated++
		return
	}
	w.texts = append(w.texts, text)
}

func (w *warnings) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts, w.repeated = nil, 0
}

func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := append([]string(nil), w.texts...)
	if w.repeated > 0 {
		out = append(out, fmt.Sprintf("%d more warnings", w.repeated))
	}
	return out
}
