package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// ErrDamaged: the bytes are not a database that bbolt could use.
var ErrDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

const (
	magic       = 0xED0CDAED
	version     = 2
	noFreelist  = ^uint64(0)
	pageHeader  = 16 // id u64, flags u16, count u16, overflow u32
	metaSize    = 64
	minPageSize = 1024
	maxPageSize = minPageSize << 14
	// bbolt's two first reads take this much, whatever the page size.
	minFile = 4096
	// maxPages bounds the page count that a file may claim: 2^32 pages are 16 TiB.
	maxPages = 1 << 32
)

// Meta is one of the two places where a database begins; commits alternate
// between them, so the other one is the state before.
type Meta struct {
	Page     int // 0 or 1
	PageSize int64
	Root     uint64 // page of the root bucket
	Freelist uint64 // page
	Pages    uint64 // pages in use or free; what lies behind is nothing
	Txid     uint64
	// Problem: its sum is right, so that bbolt would use it, and what it says
	// cannot be. Nil: none.
	Problem error
}

// parseMeta reads the meta that lies in p, a page's beginning. The error says
// why bbolt would take it for none.
func parseMeta(p []byte) (Meta, error) {
	if len(p) < pageHeader+metaSize {
		return Meta{}, damaged("the file ends in a meta page")
	}
	b := p[pageHeader : pageHeader+metaSize]
	le := binary.LittleEndian
	if got := le.Uint32(b); got != magic {
		return Meta{}, damaged("it does not begin as a bbolt database (magic %08x)", got)
	}
	if got := le.Uint32(b[4:]); got != version {
		return Meta{}, damaged("bbolt's format version is %d, not %d", got, version)
	}
	h := fnv.New64a()
	h.Write(b[:56])
	if h.Sum64() != le.Uint64(b[56:]) {
		return Meta{}, damaged("a meta page's checksum is wrong")
	}
	m := Meta{
		PageSize: int64(le.Uint32(b[8:])), Root: le.Uint64(b[16:]),
		Freelist: le.Uint64(b[32:]), Pages: le.Uint64(b[40:]), Txid: le.Uint64(b[48:]),
	}
	m.Problem = m.problem()
	return m, nil
}

func (m Meta) problem() error {
	switch {
	case m.PageSize < minPageSize || m.PageSize > maxPageSize || m.PageSize&(m.PageSize-1) != 0:
		return damaged("a meta page says that pages have %d bytes", m.PageSize)
	case m.Pages < 4 || m.Pages > maxPages:
		return damaged("a meta page says that there are %d pages", m.Pages)
	case m.Root < 2 || m.Root >= m.Pages:
		return damaged("a meta page puts the root on page %d of %d", m.Root, m.Pages)
	case m.Freelist != noFreelist && (m.Freelist < 2 || m.Freelist >= m.Pages):
		return damaged("a meta page puts the free list on page %d of %d", m.Freelist, m.Pages)
	}
	return nil
}

// Metas are the metas of a file that bbolt would use, the newer one first: one or
// two. The error says why there is none.
func Metas(r io.ReaderAt, size int64) ([]Meta, error) {
	if size < minFile {
		return nil, damaged("it has %d bytes; the smallest database has %d", size, 4*minFile)
	}
	at := func(pos int64) (Meta, error) {
		var b [pageHeader + metaSize]byte
		if pos+int64(len(b)) > size {
			return Meta{}, damaged("the file ends in a meta page")
		}
		if _, err := r.ReadAt(b[:], pos); err != nil {
			return Meta{}, damaged("read a meta page: %v", err)
		}
		return parseMeta(b[:])
	}
	first, err := at(0)
	if err == nil {
		if first.PageSize < minPageSize || first.PageSize > maxPageSize {
			return nil, first.Problem // nobody knows where the second is
		}
		second, err2 := at(first.PageSize)
		second.Page = 1
		if second.PageSize != first.PageSize && second.Problem == nil {
			second.Problem = damaged("its two meta pages tell different sizes of pages")
		}
		switch {
		case err2 != nil:
			return []Meta{first}, nil
		case second.Txid > first.Txid:
			return []Meta{second, first}, nil
		}
		return []Meta{first, second}, nil
	}
	// The page size stands in the metas only: look where the second may be, as
	// bbolt does.
	for pos := int64(minPageSize); pos <= maxPageSize && pos < size-minPageSize; pos *= 2 {
		if second, err := at(pos); err == nil && second.PageSize == pos {
			second.Page = 1
			return []Meta{second}, nil
		}
	}
	return nil, err
}
