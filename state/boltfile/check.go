package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Report is what a checked file has.
type Report struct {
	Meta Meta // the one that counts
	// Torn: the other meta page is not valid. A commit was cut off, which takes
	// nothing back that was acknowledged; or the page was damaged at rest, and the
	// last commit is missing.
	Torn    bool
	Used    uint64 // pages that hold something
	Free    uint64 // pages
	Records uint64
	Buckets []string // names of the outermost ones
}

// Visit is given each record: the names of the buckets that it lies in, from the
// outermost, its key and its value, all valid until it returns. An error ends
// the reading, and is what Check returns.
type Visit func(path []string, key, value []byte) error

// Check reads the whole file and returns an error that wraps ErrDamaged where it
// is not one that bbolt could read and write: each page is as it should be, in
// the file, has one use or is free; keys are in order. It cannot see damage
// inside of values, for which bbolt has no checksum. visit may be nil.
func Check(r io.ReaderAt, size int64, visit Visit) (Report, error) {
	metas, err := Metas(r, size)
	if err != nil {
		return Report{}, err
	}
	return CheckAt(r, size, metas[0], len(metas) < 2, visit)
}

// CheckAt is Check of the state that one meta stands for.
func CheckAt(r io.ReaderAt, size int64, m Meta, torn bool, visit Visit) (Report, error) {
	if m.Problem != nil {
		return Report{}, m.Problem
	}
	c := checker{r: r, size: size, meta: m, visit: visit, used: map[uint64]bool{}}
	if m.Freelist == noFreelist && int64(m.Pages)*m.PageSize > size {
		// bbolt walks over all of them to see which are free.
		return Report{}, damaged("it claims %d pages and has room for %d", m.Pages, size/m.PageSize)
	}
	if c.visit == nil {
		c.visit = func([]string, []byte, []byte) error { return nil }
	}
	if err := c.bucket(m.Root, nil); err != nil {
		return Report{}, err
	}
	free, err := c.freelist()
	if err != nil {
		return Report{}, err
	}
	used := uint64(len(c.used))
	if m.Freelist != noFreelist && used+free != m.Pages-2 {
		return Report{}, damaged("%d of %d pages are neither in use nor free", m.Pages-2-used-free, m.Pages)
	}
	return Report{Meta: m, Torn: torn, Used: used, Free: free, Records: c.records, Buckets: c.buckets}, nil
}

// maxDepth bounds the tree and nested buckets; with two keys on a page, 64 levels
// hold more than there can be.
const maxDepth = 64

type checker struct {
	r       io.ReaderAt
	size    int64
	meta    Meta
	visit   Visit
	used    map[uint64]bool // pages, with what overflows of them
	records uint64
	buckets []string
	depth   int
}

// page is one page with what overflows of it.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // with the header
}

const (
	flagMeta     = 0x04
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	leafBucket = 0x01 // flag of a leaf's element
)

func parsePage(b []byte) (page, uint64) {
	le := binary.LittleEndian
	return page{le.Uint64(b), le.Uint16(b[8:]), int(le.Uint16(b[10:])), b}, uint64(le.Uint32(b[12:]))
}

// read reads a page and takes it as used.
func (c *checker) read(id uint64) (page, error) {
	ps := c.meta.PageSize
	if id < 2 || id >= c.meta.Pages {
		return page{}, damaged("something refers to page %d of %d", id, c.meta.Pages)
	}
	head := make([]byte, pageHeader)
	if int64(id+1)*ps > c.size {
		return page{}, damaged("page %d lies behind the end of the file: it was cut off", id)
	}
	if _, err := c.r.ReadAt(head, int64(id)*ps); err != nil {
		return page{}, damaged("read page %d: %v", id, err)
	}
	p, overflow := parsePage(head)
	if p.id != id {
		return page{}, damaged("page %d says that it is page %d", id, p.id)
	}
	if id+overflow >= c.meta.Pages || int64(id+overflow+1)*ps > c.size {
		return page{}, damaged("page %d goes on behind the end of the file", id)
	}
	for i := id; i <= id+overflow; i++ {
		if c.used[i] {
			return page{}, damaged("page %d is used twice", i)
		}
		c.used[i] = true
	}
	p.data = make([]byte, int64(overflow+1)*ps)
	if _, err := c.r.ReadAt(p.data, int64(id)*ps); err != nil && !errors.Is(err, io.EOF) {
		return page{}, damaged("read page %d: %v", id, err)
	}
	return p, nil
}

func (c *checker) bucket(root uint64, path []string) error {
	return c.node(root, path, nil, nil)
}

// node checks the tree below a page; its keys are at least low and below high,
// where those are not nil.
func (c *checker) node(id uint64, path []string, low, high []byte) error {
	if c.depth++; c.depth > maxDepth {
		return damaged("the tree is deeper than %d pages", maxDepth)
	}
	defer func() { c.depth-- }()
	p, err := c.read(id)
	if err != nil {
		return err
	}
	switch p.flags {
	case flagLeaf:
		return c.leaf(p, path, low, high)
	case flagBranch:
		return c.branch(p, path, low, high)
	}
	return damaged("page %d is of kind %#x where a tree goes on", id, p.flags)
}

func (c *checker) branch(p page, path []string, low, high []byte) error {
	const size = 16 // pos u32, ksize u32, page u64
	if p.count == 0 {
		return damaged("page %d leads nowhere", p.id)
	}
	type child struct {
		key []byte
		id  uint64
	}
	var kids []child
	le := binary.LittleEndian
	next := pageHeader + p.count*size
	for i := range p.count {
		at := pageHeader + i*size
		if at+size > len(p.data) {
			return damaged("page %d has more entries than room", p.id)
		}
		e := p.data[at:]
		key, err := p.slice(at, &next, le.Uint32(e), le.Uint32(e[4:]))
		if err != nil {
			return err
		}
		if err := p.order(i, key, low, high); err != nil {
			return err
		}
		kids, low = append(kids, child{key, le.Uint64(e[8:])}), key
	}
	for i, k := range kids {
		end := high
		if i+1 < len(kids) {
			end = kids[i+1].key
		}
		if err := c.node(k.id, path, k.key, end); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(p page, path []string, low, high []byte) error {
	const size = 16 // flags, pos, ksize, vsize: u32 each
	le := binary.LittleEndian
	next := pageHeader + p.count*size
	if p.count == 0 && len(p.data) >= pageHeader+size && !bytes.Equal(p.data[pageHeader:pageHeader+size], make([]byte, size)) {
		return damaged("page %d says that it is empty, and is not", p.id)
	}
	for i := range p.count {
		at := pageHeader + i*size
		if at+size > len(p.data) {
			return damaged("page %d has more entries than room", p.id)
		}
		e := p.data[at:]
		pos, ksize := le.Uint32(e[4:]), le.Uint32(e[8:])
		key, err := p.slice(at, &next, pos, ksize)
		if err != nil {
			return err
		}
		if err := p.order(i, key, low, high); err != nil {
			return err
		}
		low = key
		value, err := p.slice(at, &next, pos+ksize, le.Uint32(e[12:]))
		if err != nil {
			return err
		}
		switch le.Uint32(e) {
		case 0:
			c.records++
			err = c.visit(path, key, value)
		case leafBucket:
			if len(path) == 0 {
				c.buckets = append(c.buckets, string(key))
			}
			err = c.nested(p.id, append(path[:len(path):len(path)], string(key)), value)
		default:
			err = damaged("page %d has an entry of kind %#x", p.id, le.Uint32(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nested checks the bucket that a value stands for: a root page, or, where that
// is 0, a leaf inside of the value itself.
func (c *checker) nested(id uint64, path []string, value []byte) error {
	const header = 16 // root u64, sequence u64
	if len(value) < header {
		return damaged("page %d has a bucket's entry of %d bytes", id, len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return c.bucket(root, path)
	}
	if len(value) < header+pageHeader {
		return damaged("page %d has a bucket within it of %d bytes", id, len(value))
	}
	p, overflow := parsePage(value[header:])
	if p.flags != flagLeaf || overflow != 0 || p.id != 0 {
		return damaged("page %d has a bucket within it that is none", id)
	}
	p.id = id
	if c.depth++; c.depth > maxDepth {
		return damaged("buckets are nested more than %d deep", maxDepth)
	}
	defer func() { c.depth-- }()
	return c.leaf(p, path, nil, nil)
}

// slice is n bytes of the page; pos counts from the entry at at. bbolt writes the
// entries' bytes one after the other, so they must begin at next, which is moved
// on: a wrong count, which would hide entries, shows by that.
func (p page) slice(at int, next *int, pos, n uint32) ([]byte, error) {
	from := uint64(at) + uint64(pos)
	to := from + uint64(n)
	if from != uint64(*next) || to > uint64(len(p.data)) {
		return nil, damaged("page %d has an entry that is not in its place", p.id)
	}
	*next = int(to)
	return p.data[from:to:to], nil
}

// order checks entry i's key against the one before it, or, for the first, the
// one by which the page is found.
func (p page) order(i int, key, before, high []byte) error {
	switch cmp := bytes.Compare(before, key); {
	case len(key) == 0:
		return damaged("page %d has an empty key", p.id)
	case before != nil && (cmp > 0 || i > 0 && cmp == 0), high != nil && bytes.Compare(key, high) >= 0:
		return damaged("page %d has keys out of order", p.id)
	}
	return nil
}

// freelist checks the list of free pages and returns how many there are.
func (c *checker) freelist() (uint64, error) {
	if c.meta.Freelist == noFreelist {
		return 0, nil
	}
	p, err := c.read(c.meta.Freelist)
	if err != nil {
		return 0, err
	}
	if p.flags != flagFreelist {
		return 0, damaged("page %d is of kind %#x where the free list should be", p.id, p.flags)
	}
	le := binary.LittleEndian
	ids, n := p.data[pageHeader:], uint64(p.count)
	if n == 0xFFFF { // too many for the header: the first entry tells
		n, ids = le.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return 0, damaged("the free list claims %d pages and has room for %d", n, len(ids)/8)
	}
	free := make(map[uint64]bool, n)
	for i := range n {
		id := le.Uint64(ids[i*8:])
		if id < 2 || id >= c.meta.Pages || c.used[id] || free[id] {
			return 0, damaged("the free list has page %d, which is not free", id)
		}
		free[id] = true
	}
	return n, nil
}
