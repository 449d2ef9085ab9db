package state

import (
	"bytes"
	"errors"
	"log/slog"

	bolt "go.etcd.io/bbolt"
)

// The buckets in the file.
const (
	bucketUploads   = "uploads"
	bucketJobs      = "jobs"
	bucketWorkflows = "workflows" // from schema version 3 on
	// Records that could not be read, as they were found.
	bucketQuarantine = "quarantine"
	bucketMeta       = "meta" // the schema's version
)

// Tx is a transaction over all buckets. It is valid until the function that it
// was given to returns.
type Tx struct{ t *txn }

// Uploads is the uploads' bucket within the transaction.
func (tx Tx) Uploads() TxBucket[Upload] { return in[Upload](tx, bucketUploads) }

// Jobs is the jobs' bucket within the transaction.
func (tx Tx) Jobs() TxBucket[Job] { return in[Job](tx, bucketJobs) }

// Workflows is the workflows' bucket within the transaction.
func (tx Tx) Workflows() TxBucket[Workflow] { return in[Workflow](tx, bucketWorkflows) }

// txn is the part of a shared bbolt transaction that belongs to one caller.
type txn struct {
	bolt *bolt.Tx
	log  *slog.Logger
	undo []change
}

// change is what a key had before the caller changed it; nil: it was not there.
type change struct {
	bucket, id string
	old        []byte
}

func (t *txn) get(bucket, id string) []byte {
	b := t.bolt.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Get([]byte(id))
}

// put writes raw under id, or deletes id where raw is nil.
func (t *txn) put(bucket, id string, raw []byte) error {
	if !t.bolt.Writable() {
		return errors.New("a write in a transaction that only reads: use Update, not View")
	}
	b := t.bolt.Bucket([]byte(bucket))
	if b == nil {
		return of(ErrDamaged, "the database has no bucket %s", bucket)
	}
	t.undo = append(t.undo, change{bucket, id, bytes.Clone(b.Get([]byte(id)))})
	if raw == nil {
		return b.Delete([]byte(id))
	}
	return b.Put([]byte(id), raw)
}

func (t *txn) each(bucket string, do func(id string, raw []byte) error) error {
	b := t.bolt.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return nil // a nested bucket: none is made here
		}
		return do(string(k), v)
	})
}

// rollback takes back the caller's changes and leaves those of the others who
// share the bbolt transaction.
func (t *txn) rollback() error {
	for i := len(t.undo) - 1; i >= 0; i-- {
		c := t.undo[i]
		b := t.bolt.Bucket([]byte(c.bucket))
		var err error
		if c.old == nil {
			err = b.Delete([]byte(c.id))
		} else {
			err = b.Put([]byte(c.id), c.old)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
