package channel

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

// headerSize of a chunk: its index and how many there are.
const headerSize = 8

// layout is how a file is cut into chunks; fields are 0 until they are known.
type layout struct {
	size  int64
	chunk int64
}

// total is the number of chunks.
func (l layout) total() int64 { return (l.size + l.chunk - 1) / l.chunk }

// maxRanges are told in one message, so that it fits into 64 KiB, which any peer takes (RFC
// 8841, 6.1). A client that is told of fewer chunks than there are sends some again, which is fine.
const maxRanges = 2000

// chunks are the ones that lie wholly in have, as ranges with both ends included: the
// first maxRanges of them.
func (l layout) chunks(have []state.Extent) [][2]int64 {
	list := [][2]int64{}
	if l.chunk <= 0 {
		return list
	}
	for _, e := range have {
		first := (e.From + l.chunk - 1) / l.chunk
		last := e.To/l.chunk - 1
		if l.size > 0 && e.To >= l.size {
			last = l.total() - 1
		}
		if len(list) == maxRanges {
			break
		}
		if last >= first {
			list = append(list, [2]int64{first, last})
		}
	}
	return list
}

// file is the one that chunks belong to.
type file struct {
	id        string
	announced bool
	whole     bool // it was there already
	total     uint32
	layout
	held   []byte // the last chunk, while the size of the others is not known
	teller *teller
}

// announcement is the client's text in front of its chunks.
type announcement struct {
	Name      string `json:"name"`
	Size      int64  `json:"size"`
	ChunkSize int64  `json:"chunk_size"`
	SHA256    string `json:"sha256"`
	ID        string `json:"id"`
}

// check tells what is wrong with it.
func (a announcement) check() error {
	if a.Size < 1 {
		return wrong("the upload's size is %d, it has to be 1 or more", a.Size)
	}
	if a.ChunkSize < 1 || a.ChunkSize > maxMessage-headerSize {
		return wrong("the upload's chunk_size is %d, it has to be 1 to %d", a.ChunkSize, maxMessage-headerSize)
	}
	if l := (layout{a.Size, a.ChunkSize}); l.total() > 1<<32-1 {
		return wrong("%d bytes in chunks of %d are too many chunks; take larger ones", a.Size, a.ChunkSize)
	}
	if raw, err := hex.DecodeString(a.SHA256); err != nil || len(raw) != 0 && len(raw) != 32 {
		return wrong("the upload's sha256 is not one in hex")
	}
	return nil
}

// announced takes a text: the announcement of a file.
func (s *server) announced(text []byte) error {
	var m struct {
		Upload *announcement `json:"upload"`
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Upload == nil {
		return wrong(`a text on this channel is {"upload":{"name","size","chunk_size","sha256"?,"id"?}}`)
	}
	a := *m.Upload
	if err := a.check(); err != nil {
		return err
	}
	info, err := s.find(a)
	if err != nil {
		return err
	}
	f := &file{announced: true, whole: settled(info.Status), layout: layout{a.Size, a.ChunkSize}}
	f.total = uint32(f.layout.total())
	answer, err := json.Marshal(map[string]any{"upload": map[string]any{
		"id": info.ID, "have": f.chunks(info.Have), "chunk_size": a.ChunkSize, "status": info.Status,
	}})
	if err != nil {
		return err
	}
	// The answer goes first: what the teller says refers to it.
	if err := s.conn.WriteText(answer); err != nil {
		return err
	}
	s.begin(info, f)
	return nil
}

// settled tells whether all bytes of an upload are there.
func settled(status state.UploadStatus) bool {
	return status == state.UploadChecking || status == state.UploadComplete
}

// find is the upload that a client names, or a new one. One that is gone is begun
// anew: the client sees by the id in the answer that it was.
func (s *server) find(a announcement) (upload.Info, error) {
	if a.ID != "" {
		info, err := s.uploads.Get(a.ID)
		switch {
		case err == nil && info.Size >= 0 && info.Size != a.Size:
			return info, wrong("upload %s has %d bytes, not %d: it is another file", a.ID, info.Size, a.Size)
		case err == nil && info.Size < 0:
			return info, s.uploads.SetSize(s.ctx, a.ID, a.Size)
		case err == nil:
			return info, nil
		case !errors.Is(err, upload.ErrNotFound) && !errors.Is(err, upload.ErrGone):
			return info, err
		}
	}
	return s.uploads.Create(s.ctx, upload.Spec{
		Name: a.Name, Size: a.Size, SHA256: a.SHA256, ChunkSize: a.ChunkSize, Settings: s.o.Settings, NoJob: s.o.NoJob,
	})
}

// binary takes a chunk.
func (s *server) binary(p []byte) error {
	if len(p) <= headerSize {
		return wrong("a chunk of %d bytes has no payload behind its header of %d", len(p), headerSize)
	}
	index, total := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])
	payload := p[headerSize:]
	if index >= total {
		return wrong("chunk %d of %d: the index is beyond the last", index, total)
	}
	if s.file == nil {
		info, err := s.uploads.Create(s.ctx, upload.Spec{Name: s.o.Name, Size: -1, Settings: s.o.Settings, NoJob: s.o.NoJob})
		if err != nil {
			return err
		}
		s.begin(info, &file{total: total})
	}
	f := s.file
	switch {
	case total != f.total:
		return wrong("chunk %d of %d: there were %d chunks before", index, total, f.total)
	case f.whole:
		return nil // a repetition of what is there, checked by the whole file's hash
	}
	if err := f.teller.failed(); err != nil {
		return err
	}
	return s.chunk(f, index, payload)
}

// chunk puts a chunk to its place, as soon as that is known.
func (s *server) chunk(f *file, index uint32, payload []byte) error {
	last := index == f.total-1
	if f.layout.chunk == 0 {
		if last && f.total > 1 {
			f.held = append(f.held[:0], payload...)
			return nil
		}
		f.layout.chunk = int64(len(payload))
		// What the last chunk holds at least. Without this a client could go on sending
		// what can never be completed.
		if err := s.uploads.Fits(int64(f.total-1)*f.layout.chunk + 1); err != nil {
			return err
		}
		if f.held != nil {
			held := f.held
			f.held = nil
			if err := s.chunk(f, f.total-1, held); err != nil {
				return err
			}
		}
	}
	n, size := int64(len(payload)), f.layout.chunk
	if !last && n != size || n > size {
		return wrong("chunk %d of %d has %d bytes, the others have %d", index, f.total, n, size)
	}
	offset := int64(index) * size
	if last {
		whole := offset + n
		switch {
		case f.layout.size == 0:
			if err := s.uploads.SetSize(s.ctx, f.id, whole); err != nil {
				return err
			}
			f.layout.size = whole
		case f.layout.size != whole:
			return wrong("the last chunk ends at %d, the file at %d", whole, f.layout.size)
		}
	}
	defer f.teller.placed()
	return s.uploads.Place(f.id, offset, payload)
}
