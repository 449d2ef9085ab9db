package upload

import "errors"

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
