package upload

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// Create begins an upload. It is durable when Create returns.
// Errors: ErrInvalid, ErrConflict (the id is taken), ErrGone (it was), ErrTooLarge, ErrQuota, ErrNoSpace,
// ErrTooMany, ErrStorage.
func (s *Uploads) Create(ctx context.Context, spec Spec) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	rec, err := s.record(spec)
	if err != nil {
		return Info{}, s.refuse(err)
	}
	if s.deps.Admit != nil {
		if err := s.deps.Admit(); err != nil {
			return Info{}, s.refuse(err)
		}
	}
	if !s.begin() {
		return Info{}, errClosed()
	}
	defer s.end()
	e := newEntry(rec)
	if err := s.claim(e); err != nil {
		return Info{}, s.refuse(err)
	}
	if err := s.make(e); err != nil {
		s.unclaim(e)
		return Info{}, s.refuse(err)
	}
	s.mu.Lock()
	delete(s.making, e.id)
	s.byID[e.id] = e
	s.mu.Unlock()
	if rec.Status == state.UploadChecking {
		wake(s.wakeHash)
	}
	s.watchers.tell(e.id, e.info)
	return e.info(), nil
}

// record makes the record of what a client asks for.
func (s *Uploads) record(spec Spec) (state.Upload, error) {
	var none state.Upload
	switch {
	case spec.ID != "" && !state.ValidID('u', spec.ID):
		return none, fail(ErrInvalid, "%q is no id of an upload: leave it out, and use the one that the box gives", shorten(spec.ID))
	case spec.Size < -1:
		return none, fail(ErrInvalid, "a size of %d bytes; say how many there are, or -1 if that is not known yet", spec.Size)
	case spec.ChunkSize < 0:
		return none, fail(ErrInvalid, "a chunk size of %d bytes", spec.ChunkSize)
	}
	if err := s.fits(spec.Size); err != nil {
		return none, err
	}
	want := strings.ToLower(spec.SHA256)
	if raw, err := hex.DecodeString(want); err != nil || want != "" && len(raw) != 32 {
		return none, fail(ErrInvalid, "the sha256 %q is not 64 hexadecimal digits", shorten(spec.SHA256))
	}
	if err := bounded(spec.Metadata); err != nil {
		return none, err
	}
	id := spec.ID
	if id == "" {
		id = state.NewUploadID()
	}
	now := time.Now().UTC()
	rec := state.Upload{
		ID: id, Name: CleanName(spec.Name), Size: spec.Size, Status: state.UploadReceiving,
		WantSHA256: want, ChunkSize: spec.ChunkSize, Metadata: maps.Clone(spec.Metadata), NoJob: spec.NoJob,
		Created: now, Updated: now, Expires: now.Add(s.cfg.Expiry),
	}
	if spec.Settings != nil {
		settings := *spec.Settings
		settings.Classes = slices.Clone(settings.Classes)
		rec.Settings = &settings
	}
	if spec.Size == 0 {
		rec.Status = state.UploadChecking
	}
	return rec, nil
}

// maxMetadata bytes are kept of an upload: it is written with every change of the record.
const maxMetadata = 16 << 10

func bounded(metadata map[string]string) error {
	n := 0
	for k, v := range metadata {
		n += len(k) + len(v)
	}
	if n > maxMetadata {
		return fail(ErrInvalid, "the metadata has %d bytes; at most %d are kept", n, maxMetadata)
	}
	return nil
}

// Fits tells whether a file of so many bytes could be taken at all: ErrTooLarge.
func (s *Uploads) Fits(size int64) error { return s.refuse(s.fits(size)) }

func (s *Uploads) fits(size int64) error {
	if s.cfg.MaxSize > 0 && size > s.cfg.MaxSize {
		return fail(ErrTooLarge, "a file of %d bytes; this box takes up to %d (uploads.max_size in its configuration)", size, s.cfg.MaxSize)
	}
	return nil
}

// maxUploads is how many uploads are kept in all, whatever their size: each takes memory and a record.
const maxUploads = 20_000

// claim makes room in the books: for the id, the number of uploads and the quota.
func (s *Uploads) claim(e *entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[e.id] != nil || s.making[e.id] {
		return fail(ErrConflict, "the upload %s exists already: go on with it", e.id)
	}
	if why := s.gone.reason(e.id); why != "" {
		return fail(ErrGone, "the upload %s is gone: %s; begin a new one", e.id, why)
	}
	if _, there := s.trash[e.id]; there {
		return fail(ErrBusy, "the bytes of %s are still being removed; begin a new upload", e.id)
	}
	if all := len(s.byID) + len(s.making); all >= maxUploads {
		return fail(ErrTooMany, "the box keeps %d files, as many as it can list: remove some, or wait for uploads.keep to pass", all)
	}
	if open := s.openLocked(); open >= s.cfg.MaxOpen {
		s.queues.open.Dropped(1)
		return fail(ErrTooMany, "%d uploads are unfinished, as many as may be (uploads.max_open): finish or remove some, or try again later", open)
	}
	if err := s.promiseLocked(e, max(e.rec.Size, 0)); err != nil {
		return err
	}
	s.making[e.id] = true
	return nil
}

// openLocked is how many uploads are unfinished; mu is held.
func (s *Uploads) openLocked() int {
	open := len(s.making)
	for _, other := range s.byID {
		if status, _ := other.status(); status == state.UploadReceiving {
			open++
		}
	}
	return open
}

func (s *Uploads) unclaim(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.making, e.id)
	s.promised -= e.promise
	e.promise = 0
}

// make makes the file and the record.
func (s *Uploads) make(e *entry) error {
	size := e.rec.Size
	if err := s.room(max(size, 0)); err != nil {
		return err
	}
	f, err := s.deps.Spool.Create(e.id, size)
	if errors.Is(err, fs.ErrExist) {
		return fail(ErrConflict, "there are bytes of %s already; begin a new upload", e.id)
	}
	if err != nil {
		return s.disk(err)
	}
	if f.Allocated() < size {
		s.noteSparse(errors.ErrUnsupported)
	}
	if err := s.deps.DB.Uploads().Put(e.id, e.rec); err != nil {
		_ = f.Close() // nothing was written
		s.discard(e.id, nil)
		return s.disk(err)
	}
	e.file = f
	return nil
}

// SetSize tells the size of an upload that was begun without. Telling the same size again is fine.
// Errors: ErrNotFound, ErrGone, ErrInvalid, ErrConflict (another size was told, or more bytes are there),
// ErrTooLarge, ErrQuota, ErrNoSpace, ErrStorage.
func (s *Uploads) SetSize(ctx context.Context, id string, size int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.refuse(s.setSize(id, size))
}

func (s *Uploads) setSize(id string, size int64) error {
	if size < 0 {
		return fail(ErrInvalid, "a size of %d bytes", size)
	}
	if err := s.fits(size); err != nil {
		return err
	}
	e, err := s.find(id)
	if err != nil {
		return err
	}
	if !s.begin() {
		return errClosed()
	}
	defer s.end()
	f, err := s.use(e)
	if err != nil {
		return err
	}
	defer e.unuse()
	told := func(rec *state.Upload) error {
		if n := len(rec.Have); rec.Size < 0 && n > 0 && rec.Have[n-1].To > size {
			return fail(ErrConflict, "the upload has bytes up to %d, and is now said to have %d: begin a new one", rec.Have[n-1].To, size)
		}
		if rec.Size >= 0 && rec.Size != size {
			return fail(ErrConflict, "the upload was said to have %d bytes, and now %d: begin a new one", rec.Size, size)
		}
		return nil
	}
	e.mu.Lock()
	rec := e.rec
	e.mu.Unlock()
	if err := told(&rec); err != nil || rec.Size == size {
		return err
	}
	if err := s.enlarge(e, f, size); err != nil {
		return err
	}
	err = s.change(e, func(rec *state.Upload) error {
		// Again, for somebody may have been quicker.
		if err := told(rec); err != nil || rec.Size == size {
			return err
		}
		rec.Size = size
		s.progressed(rec)
		return nil
	}, nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[e.id] == e { // or it was removed at once, and promises nothing
		s.promised += size - e.promise
		e.promise = size
	}
	return nil
}

// enlarge sets room aside for an upload whose size is told late.
func (s *Uploads) enlarge(e *entry, f *spool.File, size int64) error {
	s.mu.Lock()
	err := s.promiseLocked(e, max(size, e.promise))
	s.mu.Unlock()
	if err != nil {
		return err
	}
	e.mu.Lock()
	received := e.received
	e.mu.Unlock()
	if err := s.room(size - max(received, f.Allocated())); err != nil {
		return err
	}
	if err := f.Allocate(size); !s.noteSparse(err) && err != nil {
		return s.disk(err)
	}
	return nil
}

// CleanName makes a file name of what a client said: without folders, control
// characters and what is not UTF-8, of at most 255 bytes. It is for people; nothing is opened by it.
func CleanName(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		// Cf: among them those that turn the writing direction, by which a name can pose as another.
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	for len(name) > 255 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name == "" || name == "." || name == ".." {
		return "unnamed"
	}
	return name
}
