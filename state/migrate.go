package state

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// schema is the version that this program writes.
const schema = 3

const keySchema = "schema"

// step changes a database of one version into the next. It must depend on
// nothing but the database, and on none of the types that later versions change.
type step struct {
	to   int
	what string
	do   func(*bolt.Tx) error
}

// steps is the history of the schema, in order; version 1 was JSON without sums.
func steps() []step {
	return []step{
		{2, "each record begins with a sum, and there is a quarantine", addSums},
		{3, "there are workflows that have a name", addWorkflows},
	}
}

// migrate brings a database to this program's version, each step in one
// transaction with the version that it leads to.
func migrate(b *bolt.DB, from int) error {
	for _, s := range steps() {
		if s.to <= from {
			continue
		}
		err := b.Update(func(tx *bolt.Tx) error {
			if err := s.do(tx); err != nil {
				return err
			}
			return setSchema(tx, s.to)
		})
		if err != nil {
			return fmt.Errorf("change the database to version %d (%s): %w", s.to, s.what, err)
		}
	}
	return nil
}

func setSchema(tx *bolt.Tx, v int) error {
	m, err := tx.CreateBucketIfNotExists([]byte(bucketMeta))
	if err != nil {
		return err
	}
	return m.Put([]byte(keySchema), formatSchema(v))
}

// formatSchema is the version and, from 2 on, its sum: one bit that fell over
// would make the file one of a newer program, and the box refuse it.
func formatSchema(v int) []byte {
	return fmt.Appendf(nil, "%d %08x", v, schemaSum(v))
}

func schemaSum(v int) uint32 { return sum(bucketMeta, keySchema, []byte(strconv.Itoa(v))) }

func parseSchema(raw []byte) (v int, ok bool) {
	if string(raw) == "1" {
		return 1, true
	}
	// Written again, it must be the same: no other form of the number counts.
	num, _, _ := strings.Cut(string(raw), " ")
	v, err := strconv.Atoi(num)
	return v, err == nil && v >= 2 && string(raw) == string(formatSchema(v))
}

// makeBuckets is what a new database begins with.
func makeBuckets(tx *bolt.Tx) error {
	for _, name := range append(recordBuckets(schema), bucketQuarantine) {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return setSchema(tx, schema)
}

// addSums is the step from version 1 to 2.
func addSums(tx *bolt.Tx) error {
	for _, name := range []string{"uploads", "jobs"} {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return err
		}
		// bbolt's cursor may skip keys while they are changed: collect first.
		sealed := map[string][]byte{}
		err = b.ForEach(func(k, v []byte) error {
			if v != nil {
				sealed[string(k)] = seal(name, string(k), bytes.Clone(v))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for k, v := range sealed {
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
		}
	}
	_, err := tx.CreateBucketIfNotExists([]byte("quarantine"))
	return err
}

// addWorkflows is the step from version 2 to 3: from there on, a database without
// the bucket is known to be damaged.
func addWorkflows(tx *bolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists([]byte("workflows"))
	return err
}
