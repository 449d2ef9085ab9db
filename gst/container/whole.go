package container

import "io"

// Whole is how many of the first have bytes of a growing MP4 are whole boxes: what
// may be shown of it. A player that gets half a fragment ends with an error. The
// index of a fragment without its pictures does not count.
func Whole(r io.ReaderAt, have int64) int64 {
	w := &window{r: r, have: have, size: -1}
	at, shown := int64(0), int64(0)
	for {
		x, ok := w.box(at)
		if !ok || x.toEnd || x.end > have {
			return shown
		}
		at = x.end
		if x.kind != "moof" {
			shown = at
		}
	}
}
