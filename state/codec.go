package state

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxID and maxRecord bound what is written: a bbolt key, and a record that can
// still be read into memory many times a second.
const (
	maxID     = 255
	maxRecord = 16 << 20
)

func encode[T any](bucket, id string, v T) ([]byte, error) {
	if id == "" || len(id) > maxID {
		return nil, fmt.Errorf("write to %s: an id has 1 to %d bytes, this one %d", bucket, maxID, len(id))
	}
	raw, err := json.Marshal(v)
	if err == nil && len(raw) > maxRecord {
		err = errors.New("it is larger than 16 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("write record %s to %s: %w", id, bucket, err)
	}
	return raw, nil
}

// decode reads a record from bytes that may be anything.
func decode[T any](bucket, id string, raw []byte) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		var none T
		return none, &RecordError{Bucket: bucket, ID: id, Reason: err.Error()}
	}
	return v, nil
}
