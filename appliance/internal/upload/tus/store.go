package tus

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/state"
)

// store is what tusd keeps uploads in.
type store struct {
	d       Deps
	verdict time.Duration
}

var errNoDownload = errors.New("uploads are not read over tus")

// fail translates err for tusd, and logs it where it is the box's fault.
func (s *store) fail(err error) error {
	if err == nil {
		return nil
	}
	if already := (handler.Error{}); errors.As(err, &already) {
		return err // a body's end that came back through the store
	}
	if intake.AnswerTo(err).Fault {
		s.d.Log.Error("upload failed", "road", "tus", "err", err)
	}
	return answer(err)
}

// NewUpload implements handler.DataStore.
func (s *store) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	q := requestOf(ctx)
	if q.wrong != nil {
		return nil, s.fail(q.wrong)
	}
	spec := q.spec
	if spec.Size = info.Size; info.SizeIsDeferred {
		spec.Size = -1
	}
	made, err := s.d.Uploads.Create(ctx, spec)
	if err != nil {
		return nil, s.fail(err)
	}
	q.id = made.ID
	return &file{s, made.ID}, nil
}

// GetUpload implements handler.DataStore.
func (s *store) GetUpload(_ context.Context, id string) (handler.Upload, error) {
	info, err := s.d.Uploads.Get(id)
	if err == nil {
		err = refused(info)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return &file{s, id}, nil
}

// refused tells of an upload whose bytes were dropped.
func refused(info upload.Info) error {
	if info.Status == state.UploadRefused {
		return intake.Wrong(upload.ErrGone, "the upload was refused: %s", info.Problem)
	}
	return nil
}

// AsTerminatableUpload implements handler.TerminaterDataStore.
func (s *store) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload { return u.(*file) }

// AsLengthDeclarableUpload implements handler.LengthDeferrerDataStore.
func (s *store) AsLengthDeclarableUpload(u handler.Upload) handler.LengthDeclarableUpload {
	return u.(*file)
}

// file is one upload as tusd sees it.
type file struct {
	s  *store
	id string
}

// GetInfo implements handler.Upload. The offset is where the bytes end that are
// durable without a gap; other roads may have brought some beyond.
func (f *file) GetInfo(context.Context) (handler.FileInfo, error) {
	i, err := f.s.d.Uploads.Get(f.id)
	if err != nil {
		return handler.FileInfo{}, f.s.fail(err)
	}
	info := handler.FileInfo{ID: i.ID, Size: i.Size, SizeIsDeferred: i.Size < 0, Offset: i.Contiguous, MetaData: i.Metadata}
	if info.SizeIsDeferred {
		info.Size = 0
	}
	return info, nil
}

// WriteChunk implements handler.Upload. It goes on after the client has gone: what
// it sent is made durable, and reading ends by itself.
func (f *file) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	q := requestOf(ctx)
	if q.wrong != nil {
		return 0, f.s.fail(q.wrong)
	}
	ctx = context.WithoutCancel(ctx)
	if q.checksum != nil {
		n, err := f.s.d.Uploads.AppendChecked(ctx, f.id, offset, src, q.length, q.checksum.algorithm, q.checksum.sum)
		return n, f.s.fail(err)
	}
	n, err := f.s.d.Uploads.Append(ctx, f.id, offset, src)
	return n, f.s.fail(err)
}

// GetReader implements handler.Upload; tusd never asks, downloads are off.
func (f *file) GetReader(context.Context) (io.ReadCloser, error) { return nil, errNoDownload }

// FinishUpload implements handler.Upload. A client that gave the file's hash is told at
// once when it differs, unless making it takes long.
func (f *file) FinishUpload(ctx context.Context) error {
	i, err := f.s.d.Uploads.Get(f.id)
	if err != nil || i.WantSHA256 == "" || i.Status != state.UploadReceiving && i.Status != state.UploadChecking {
		return f.s.fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.s.verdict)
	defer cancel()
	i, err = intake.Settle(ctx, f.s.d.Uploads, f.id)
	switch {
	case ctx.Err() != nil:
		return nil // the bytes are there; the record will tell the rest
	case err != nil:
		return f.s.fail(err)
	case i.Status == state.UploadRefused:
		return f.s.fail(intake.Wrong(upload.ErrChecksum, "%s", i.Problem))
	}
	return nil
}

// DeclareLength implements handler.LengthDeclarableUpload.
func (f *file) DeclareLength(ctx context.Context, length int64) error {
	return f.s.fail(f.s.d.Uploads.SetSize(context.WithoutCancel(ctx), f.id, length))
}

// Terminate implements handler.TerminatableUpload.
func (f *file) Terminate(ctx context.Context) error {
	return f.s.fail(f.s.d.Uploads.Remove(context.WithoutCancel(ctx), f.id))
}

// locker gives out the turns.
type locker struct{ turns *intake.Turns }

// NewLock implements handler.Locker.
func (l locker) NewLock(id string) (handler.Lock, error) { return &lock{turns: l.turns, id: id}, nil }

type lock struct {
	turns *intake.Turns
	id    string
	give  func()
}

// Lock implements handler.Lock. tusd's own way of interrupting is left alone: it
// misses a request that has its turn but does not read its body yet.
func (l *lock) Lock(ctx context.Context, _ func()) error {
	var yield func()
	if q := requestOf(ctx); q.body != nil {
		yield = q.body.Yield
	}
	give, err := l.turns.Take(ctx, l.id, yield)
	if err != nil {
		return answer(err)
	}
	l.give = give
	return nil
}

// Unlock implements handler.Lock.
func (l *lock) Unlock() error {
	l.give()
	return nil
}
