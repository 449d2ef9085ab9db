package container

import (
	"errors"
	"fmt"
	"io"
)

// Index says where a container keeps what a reader needs before its pictures.
type Index string

// The places of an index.
const (
	Front   Index = "front"   // before the pictures, or beside each of them
	End     Index = "end"     // behind the pictures
	None    Index = "none"    // there is none: pictures follow each other
	Unknown Index = "unknown" // not told yet, or not to be told
)

// Layout is what is known of a file.
type Layout struct {
	// Kind is a short name: mp4, matroska, webm, avi, mpegts, mpegps, ogg, flv, ivf,
	// h264, h265, mpegvideo, mpeg4, jpeg, y4m, asf, mxf, png, gif, bmp, webp.
	Kind  string
	Index Index
	// Need is how many of the file's first bytes must be there before more can be
	// told; 0: what is said here is final.
	Need int64
	// Streamable: read as a stream, it gives the same pictures at the same times as
	// the whole file does.
	Streamable bool
	// Forward: the whole file, too, is to be read as a stream. GStreamer's demuxers
	// that seek leave out pictures of it.
	Forward bool
	// Remark is one line for people: why it is not streamable.
	Remark string
}

// Sentinels of errors. A file that is none known here may still be one that a
// decoder knows: it is to be tried when it is whole.
var (
	ErrUnknown   = errors.New("is not a video in any container known here")
	ErrEncrypted = errors.New("is encrypted: upload it without copy protection")
)

// The remarks on files that have to be whole first.
const (
	remarkEnd     = "index at end: analysis starts after the last byte"
	remarkKind    = "this kind of file is analysed once it is whole"
	remarkOrder   = "its pictures are not stored in order: analysis starts after the last byte"
	remarkEdit    = "its pictures are put together by an edit list: analysis starts after the last byte"
	remarkNone    = "there is no index in it"
	remarkDamaged = "its structure is damaged: analysis starts after the last byte"
	remarkParts   = "it is in several parts: analysis starts after the last byte"
)

// head is how many bytes tell most kinds.
const head = 1024

// Sniff looks at the first have bytes of a file of size bytes (negative: not known
// yet). r is not read beyond have.
func Sniff(r io.ReaderAt, have, size int64) (Layout, error) {
	if size >= 0 && have > size {
		have = size
	}
	w := &window{r: r, have: have, size: size}
	l, err := sniff(w)
	if w.short > 0 {
		// Whatever was decided, it was decided without these bytes.
		if l.Kind == "" {
			l.Index = Unknown
		}
		l.Need, l.Streamable, l.Forward, l.Remark = w.short, false, false, ""
		return l, nil
	}
	if w.err != nil {
		return Layout{}, fmt.Errorf("look at the file: %w", w.err)
	}
	return l, err
}

func sniff(w *window) (Layout, error) {
	if w.whole() && w.have == 0 {
		return Layout{Index: Unknown}, fmt.Errorf("%w: it is empty", ErrUnknown)
	}
	b := w.upTo(0, head)
	for _, m := range magics {
		if !m.fits(b) {
			continue
		}
		if m.look != nil {
			return m.look(w)
		}
		return plain(m.kind, m.streamable), nil
	}
	if len(b) < head && !w.whole() {
		w.want(head)
		return Layout{Index: Unknown}, nil
	}
	return Layout{Index: Unknown}, ErrUnknown
}

// plain is the layout of a kind that is told by its first bytes.
func plain(kind string, streamable bool) Layout {
	l := Layout{Kind: kind, Index: None, Streamable: streamable}
	if !streamable {
		l.Index, l.Remark = Unknown, remarkKind
	}
	return l
}

// window is the part of a file that is there.
type window struct {
	r     io.ReaderAt
	have  int64
	size  int64 // negative: not known
	short int64 // bytes that were asked for and are not there yet
	err   error
	looks int
}

// maxLooks bounds the boxes, elements and pieces of tables that are looked at in all.
// It is far above what a film of a day has. Within one level they are bounded by maxParts,
// but a hostile file of gigabytes can have as many in each of those, for hours of looking.
const maxLooks = 1 << 16

// tired counts a look, and tells whether it is one too many: what is known by then is
// not enough to decide.
func (w *window) tired() bool {
	w.looks++
	return w.looks > maxLooks
}

func (w *window) whole() bool { return w.size >= 0 && w.have >= w.size }

// want notes that the file's first n bytes are needed.
func (w *window) want(n int64) {
	if w.size >= 0 {
		n = min(n, w.size)
	}
	if n > w.have && w.short == 0 {
		w.short = n
	}
}

// upTo is up to n bytes from at on: what is there of them. n is small, and no
// number of the file's.
func (w *window) upTo(at int64, n int) []byte {
	if at < 0 || at >= w.have || w.err != nil {
		return nil
	}
	b := make([]byte, min(int64(n), w.have-at))
	got, err := w.r.ReadAt(b, at)
	if got < len(b) && err != nil {
		w.err = err
		return nil
	}
	return b
}

// exactly is n bytes from at on, or nil: they are not there yet (noted), or the
// file ends before.
func (w *window) exactly(at int64, n int) []byte {
	if b := w.upTo(at, n); len(b) == n {
		return b
	}
	if !w.whole() && w.err == nil {
		w.want(at + int64(n))
	}
	return nil
}
