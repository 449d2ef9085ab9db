package state

import (
	"errors"
	"fmt"
)

// Sentinels, for errors.Is; each is wrapped by an error that says what to do.
var (
	// ErrUnavailable: the disk did not take the write. Nothing of it counts;
	// later writes work again as soon as the disk does.
	ErrUnavailable = errors.New("the database cannot be written")
	// ErrInUse: another process has the database open.
	ErrInUse = errors.New("the database is in use")
	// ErrNewer: a newer version of the program wrote the database.
	ErrNewer = errors.New("the database is of a newer version")
	// ErrDamaged: the file is not a database that can be trusted.
	ErrDamaged = errors.New("the database is damaged")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("the database is closed")
	// ErrNotFound: there is no record of that id. Get tells it by its second
	// result instead.
	ErrNotFound = errors.New("no such record")
)

// kindError gives an error a sentinel without putting its text into the text.
type kindError struct {
	kind error
	err  error
}

func (e kindError) Error() string   { return e.err.Error() }
func (e kindError) Unwrap() []error { return []error{e.kind, e.err} }

func of(kind error, format string, args ...any) error {
	return kindError{kind, fmt.Errorf(format, args...)}
}

// RecordError is a record that is there and cannot be read.
type RecordError struct {
	Bucket, ID string
	Reason     string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("the record %q in %s cannot be read: %s", e.ID, e.Bucket, e.Reason)
}
