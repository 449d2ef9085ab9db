package boltfile

import (
	"encoding/binary"
	"io"
)

// CopyAt writes a database that is the state that m stands for, and nothing
// else: both metas are m, so no later state shows.
func CopyAt(w io.Writer, r io.ReaderAt, size int64, m Meta) error {
	if m.Problem != nil {
		return m.Problem
	}
	head := make([]byte, 2*m.PageSize)
	meta := make([]byte, metaSize)
	if _, err := r.ReadAt(meta, int64(m.Page)*m.PageSize+pageHeader); err != nil {
		return err
	}
	for i := range int64(2) {
		p := head[i*m.PageSize:]
		binary.LittleEndian.PutUint64(p, uint64(i))
		binary.LittleEndian.PutUint16(p[8:], flagMeta)
		copy(p[pageHeader:], meta)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	end := min(size, int64(m.Pages)*m.PageSize)
	_, err := io.Copy(w, io.NewSectionReader(r, 2*m.PageSize, end-2*m.PageSize))
	return err
}

// TakeBack makes the state of transaction txid the newest again where a later
// meta stands beside it, as after a commit of which only the last sync failed.
// It reports whether there was one.
func TakeBack(f interface {
	io.ReaderAt
	io.WriterAt
}, size int64, txid uint64) (bool, error) {
	metas, err := Metas(f, size)
	if err != nil {
		return false, err
	}
	if len(metas) < 2 || metas[0].Txid <= txid || metas[1].Txid != txid || metas[1].Problem != nil {
		return false, nil
	}
	meta := make([]byte, metaSize)
	if _, err := f.ReadAt(meta, int64(metas[1].Page)*metas[1].PageSize+pageHeader); err != nil {
		return false, err
	}
	_, err = f.WriteAt(meta, int64(metas[0].Page)*metas[0].PageSize+pageHeader)
	return true, err
}
