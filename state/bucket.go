package state

import (
	"errors"
	"fmt"
)

// Bucket is all records of one kind. Its methods are transactions of their own;
// see Tx for several changes in one. They may be called from any goroutine, but
// not from within a function given to DB.Update or DB.View.
type Bucket[T any] struct {
	db   *DB
	name string
}

// Get reads a record; ok is false where there is none. An error is a
// *RecordError or ErrClosed.
func (b *Bucket[T]) Get(id string) (v T, ok bool, err error) {
	err = b.db.View(func(tx Tx) error {
		v, ok, err = in[T](tx, b.name).Get(id)
		return err
	})
	return v, ok, err
}

// Put writes a record; it is on disk when Put returns nil.
func (b *Bucket[T]) Put(id string, v T) error {
	return b.db.Update(func(tx Tx) error { return in[T](tx, b.name).Put(id, v) })
}

// PutAll writes records in one transaction: all or, with an error, none.
func (b *Bucket[T]) PutAll(all map[string]T) error {
	if len(all) == 0 {
		return nil
	}
	return b.db.Update(func(tx Tx) error {
		for id, v := range all {
			if err := in[T](tx, b.name).Put(id, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// Delete removes a record; that there is none is no error.
func (b *Bucket[T]) Delete(id string) error {
	return b.db.Update(func(tx Tx) error { return in[T](tx, b.name).Delete(id) })
}

// Update reads a record, has change change it and writes it, as one transaction.
// An error of change is returned, and nothing is written. ErrNotFound: there is
// no such record.
func (b *Bucket[T]) Update(id string, change func(*T) error) error {
	return b.db.Update(func(tx Tx) error { return in[T](tx, b.name).Update(id, change) })
}

// All reads every record, ordered by id. Records that cannot be read are left
// out and logged; the next Open moves them to quarantine.
func (b *Bucket[T]) All() (all []T, err error) {
	err = b.db.View(func(tx Tx) error {
		all, err = in[T](tx, b.name).All()
		return err
	})
	return all, err
}

// Each gives take every record, ordered by id, one at a time, of one consistent
// state; an error of take ends it. Records that cannot be read are left out and
// logged. take must not call methods of DB or Bucket.
func (b *Bucket[T]) Each(take func(T) error) error {
	return b.db.View(func(tx Tx) error { return in[T](tx, b.name).Each(take) })
}

// Keys are the ids of all records, ordered, without a look at the records.
func (b *Bucket[T]) Keys() (all []string, err error) {
	err = b.db.View(func(tx Tx) error {
		all, err = in[T](tx, b.name).Keys()
		return err
	})
	return all, err
}

// TxBucket is a bucket within a transaction.
type TxBucket[T any] struct {
	tx   *txn
	name string
}

func in[T any](tx Tx, name string) TxBucket[T] { return TxBucket[T]{tx.t, name} }

// Get reads a record; ok is false where there is none.
func (b TxBucket[T]) Get(id string) (v T, ok bool, err error) {
	raw := b.tx.get(b.name, id)
	if raw == nil {
		return v, false, nil
	}
	v, err = decode[T](b.name, id, raw)
	return v, err == nil, err
}

// Put writes a record.
func (b TxBucket[T]) Put(id string, v T) error {
	raw, err := encode(b.name, id, v)
	if err != nil {
		return err
	}
	return b.tx.put(b.name, id, raw)
}

// Delete removes a record; that there is none is no error.
func (b TxBucket[T]) Delete(id string) error { return b.tx.put(b.name, id, nil) }

// Update reads a record, has change change it and writes it. ErrNotFound: there
// is no such record.
func (b TxBucket[T]) Update(id string, change func(*T) error) error {
	v, ok, err := b.Get(id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: %s in %s", ErrNotFound, id, b.name)
	}
	if err := change(&v); err != nil {
		return err
	}
	return b.Put(id, v)
}

// All reads every record, ordered by id. Records that cannot be read are left
// out and logged.
func (b TxBucket[T]) All() ([]T, error) {
	var all []T
	err := b.Each(func(v T) error {
		all = append(all, v)
		return nil
	})
	return all, err
}

// Each gives take every record, ordered by id; an error of take ends it. Records
// that cannot be read are left out and logged.
func (b TxBucket[T]) Each(take func(T) error) error {
	return b.tx.each(b.name, func(id string, raw []byte) error {
		v, err := decode[T](b.name, id, raw)
		var bad *RecordError
		if errors.As(err, &bad) {
			b.tx.log.Error("a record is left out", "bucket", b.name, "id", id, "reason", bad.Reason)
			return nil
		}
		if err != nil {
			return err
		}
		return take(v)
	})
}

// Keys are the ids of all records, ordered.
func (b TxBucket[T]) Keys() ([]string, error) {
	var all []string
	err := b.tx.each(b.name, func(id string, _ []byte) error {
		all = append(all, id)
		return nil
	})
	return all, err
}
