package upload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/watchpost/watchpost/state/spool"
)

// What can be wrong with a request. An error of this package wraps one of them
// and says what to do; the numbers are the HTTP statuses that they stand for.
var (
	// ErrNotFound (404): there is no upload of this id.
	ErrNotFound = errors.New("no such upload")
	// ErrConflict (409): other bytes are there already.
	ErrConflict = errors.New("the bytes differ from what is there")
	// ErrGone (410): the upload was refused, removed or expired.
	ErrGone = errors.New("the upload is gone")
	// ErrTooLarge (413): more than one file may have, or than this one was said to have.
	ErrTooLarge = errors.New("too large")
	// ErrBusy (423): somebody else is at these bytes, or at the file.
	ErrBusy = errors.New("busy")
	// ErrTooMany (503): as many uploads are open as may be.
	ErrTooMany = errors.New("too many uploads")
	// ErrChecksum (460, tus): the bytes have another checksum than was said; none of them counts.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrNoSpace (507): the disk is full, or what must stay free on it is reached. The upload is kept.
	ErrNoSpace = errors.New("no space left")
	// ErrQuota (507): all uploads together have their share.
	ErrQuota = errors.New("quota exhausted")
	// ErrInvalid (400): the request contradicts itself or the upload.
	ErrInvalid = errors.New("invalid")
	// ErrStorage (500): the disk or the database failed; what was not acknowledged must be sent again.
	ErrStorage = errors.New("storage failed")
)

// kinds are all sentinels, with the names that the metrics have for them.
var kinds = map[error]string{
	ErrNotFound: "not_found", ErrConflict: "conflict", ErrGone: "gone", ErrTooLarge: "too_large", ErrBusy: "busy",
	ErrTooMany: "too_many", ErrChecksum: "checksum", ErrNoSpace: "no_space", ErrQuota: "quota", ErrInvalid: "invalid",
	ErrStorage: "storage",
}

// failure gives an error a sentinel without putting the sentinel's text into the text.
type failure struct {
	kind error
	err  error
}

func (f failure) Error() string   { return f.err.Error() }
func (f failure) Unwrap() []error { return []error{f.kind, f.err} }

func fail(kind error, format string, args ...any) error {
	return failure{kind, fmt.Errorf(format, args...)}
}

func errClosed() error { return fail(ErrTooMany, "the box is going down; try again in a minute") }

// disk says what an error of the disk or the database means for the client.
func (s *Uploads) disk(err error) error {
	for kind := range kinds {
		if errors.Is(err, kind) {
			return err
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fail(ErrNoSpace, "the disk is full; the upload is kept: remove files, and go on with it (%w)", err)
	case errors.Is(err, spool.ErrDiffers):
		return fail(ErrConflict, "%w: is it another file? Remove the upload, or begin a new one", err)
	case errors.Is(err, spool.ErrBusy):
		return fail(ErrBusy, "%w; try again, or wait until it has ended", err)
	case errors.Is(err, spool.ErrFragmented):
		return fail(ErrInvalid, "%w: send the missing parts between those that are there first", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fail(ErrStorage, "the box could not keep the bytes; ask for what it has and go on from there (%w)", err)
}

// shorten makes what a client sent fit for a message.
func shorten(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
