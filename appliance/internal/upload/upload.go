package upload

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// Deps are what uploads are made of.
type Deps struct {
	Log *slog.Logger
	// DB holds the records, Spool the bytes. Nobody else writes to either's uploads.
	DB    *state.DB
	Spool *spool.Dir
	// Registerer of the metrics; nil: none.
	Registerer prometheus.Registerer
	// OnComplete is called in the transaction in which an upload becomes complete: what it
	// puts is there with it or not at all. Its error leaves the upload in
	// "checking"; it is tried again. It must not wait for anything. nil: nothing is done.
	OnComplete func(state.Tx, state.Upload) error
	// InUse tells whether a job needs the file; such a file is not removed. nil: none does.
	// It must answer at once.
	InUse func(id string) bool
}

// Config bounds uploads. Zero values: see each.
type Config struct {
	// MaxSize of one file in bytes; 0: no limit.
	MaxSize int64
	// Quota of all uploads in bytes, promised ones included; 0: what the disk has above Reserve.
	Quota int64
	// Reserve in bytes stays free on the disk.
	Reserve int64
	// MaxOpen uploads may be unfinished; 0: 256.
	MaxOpen int
	// Expiry of an unfinished upload that makes no progress; 0: 24 h.
	Expiry time.Duration
	// Batch is the longest that bytes of a running Append or Place wait for being
	// synced; 0: 200 ms.
	Batch time.Duration
	// KeepComplete is how long a complete upload stays after its last job ended.
	// It stays for a minute in any case.
	KeepComplete time.Duration
	// Memory of all buffers together in bytes; 0: 12 MiB.
	Memory int64
}

// Uploads are the pushed files of a box. All methods may be called from any goroutine.
type Uploads struct{}

// Open reads the records, takes up what a crash left behind, and takes uploads
// from then on. Run must be called for hashing and removal; Close at the end.
func Open(d Deps, c Config) (*Uploads, error) { panic("soon") }

// Run hashes what is not hashed yet, completes, expires and removes, until ctx ends.
func (u *Uploads) Run(ctx context.Context) error { panic("soon") }

// Close waits for what is being synced and closes the files. Calls that come later fail.
func (u *Uploads) Close() error { panic("soon") }

// Create begins an upload. It is durable when Create returns.
// Errors: ErrInvalid, ErrConflict (the id is taken), ErrTooLarge, ErrQuota, ErrNoSpace, ErrTooMany, ErrStorage.
func (u *Uploads) Create(ctx context.Context, s Spec) (Info, error) { panic("soon") }

// Get tells how an upload stands. Errors: ErrNotFound, ErrGone.
func (u *Uploads) Get(id string) (Info, error) { panic("soon") }

// List tells how all uploads stand, oldest first.
func (u *Uploads) List() []Info { panic("soon") }

// Remove ends an upload and removes its bytes. Errors: ErrNotFound, ErrGone, ErrBusy (a job
// needs the file), ErrStorage.
func (u *Uploads) Remove(ctx context.Context, id string) error { panic("soon") }

// SetSize tells the size of an upload that was begun without. Telling the same size again is fine.
// Errors: ErrNotFound, ErrGone, ErrConflict (another size was told, or more bytes are there),
// ErrTooLarge, ErrQuota, ErrNoSpace, ErrStorage.
func (u *Uploads) SetSize(ctx context.Context, id string, size int64) error { panic("soon") }

// Append puts what r gives at offset, in bounded memory, until r ends. The first n
// bytes from offset are durable when it returns, also with an error: r's own
// (returned as it is, io.EOF aside), or ErrNotFound, ErrGone, ErrConflict, ErrBusy, ErrTooLarge,
// ErrQuota, ErrNoSpace, ErrTooMany, ErrInvalid, ErrStorage. Bytes that are there already are compared.
func (u *Uploads) Append(ctx context.Context, id string, offset int64, r io.Reader) (n int64, err error) {
	panic("soon")
}

// AppendChecked is Append of exactly length bytes, of which none counts unless all came
// and have the checksum sum (not encoded) by algorithm: "sha1", "sha256", "sha512", "md5" or "crc32".
// Errors beyond Append's: ErrChecksum; ErrInvalid for an unknown algorithm.
func (u *Uploads) AppendChecked(ctx context.Context, id string, offset int64, r io.Reader, length int64, algorithm string, sum []byte) (n int64, err error) {
	panic("soon")
}

// Algorithms are the checksums that AppendChecked knows.
func Algorithms() []string { return []string{"sha1", "sha256", "sha512", "md5", "crc32"} }

// Place puts data at offset; data may be used again when it returns. It waits
// only while too much is waiting for the disk. What becomes of it is told by Watch
// (or Flush); an error that came after an earlier Place returned is returned by the next call.
func (u *Uploads) Place(id string, offset int64, data []byte) error { panic("soon") }

// Flush waits until everything that was placed before is durable, and returns what went
// wrong with it, if nobody was told yet.
func (u *Uploads) Flush(ctx context.Context, id string) error { panic("soon") }

// Watch calls deliver after each change of the upload, or of all if id is "", until
// stop is called; never two at a time. After a removal it gets an Info with status Removed.
// deliver must return at once and call nothing of this package. What was before is not delivered: call Get after Watch.
func (u *Uploads) Watch(id string, deliver func(Info)) (stop func()) { panic("soon") }

// Path of the upload's bytes, for those who only read. What is beyond the record's Have may be anything.
// Errors: ErrNotFound, ErrGone.
func (u *Uploads) Path(id string) (path string, err error) { panic("soon") }
