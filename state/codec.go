package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// maxID and maxRecord bound what is written: a bbolt key, and a record that can
// still be read into memory many times a second.
const (
	maxID     = 255
	maxRecord = 16 << 20
)

// sumSize is the length of the sum before each record. bbolt sums its two meta
// pages and nothing else; without a sum, a bit that fell over in a number would
// be believed.
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is CRC-32C over where a record belongs and what it says, so that one that
// got to the wrong place is noticed too.
func sum(bucket, id string, body []byte) uint32 {
	s := crc32.Update(0, castagnoli, []byte(bucket))
	s = crc32.Update(s, castagnoli, []byte{0})
	s = crc32.Update(s, castagnoli, []byte(id))
	s = crc32.Update(s, castagnoli, []byte{0})
	return crc32.Update(s, castagnoli, body)
}

// seal puts the sum before a record's JSON.
func seal(bucket, id string, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, sumSize+len(body)), sum(bucket, id, body)), body...)
}

// unseal is a record's JSON, if its sum is right.
func unseal(bucket, id string, raw []byte) ([]byte, error) {
	if len(raw) < sumSize {
		return nil, &RecordError{bucket, id, "it is too short"}
	}
	body := raw[sumSize:]
	if binary.BigEndian.Uint32(raw) != sum(bucket, id, body) {
		return nil, &RecordError{bucket, id, "its checksum is wrong"}
	}
	return body, nil
}

func encode[T any](bucket, id string, v T) ([]byte, error) {
	if id == "" || len(id) > maxID {
		return nil, fmt.Errorf("write to %s: an id has 1 to %d bytes, this one %d", bucket, maxID, len(id))
	}
	body, err := json.Marshal(v)
	if err == nil && len(body) > maxRecord {
		err = errors.New("it is larger than 16 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("write record %s to %s: %w", id, bucket, err)
	}
	return seal(bucket, id, body), nil
}

// decode reads a record from bytes that may be anything.
func decode[T any](bucket, id string, raw []byte) (v T, err error) {
	body, err := unseal(bucket, id, raw)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		var none T
		return none, &RecordError{bucket, id, err.Error()}
	}
	return v, nil
}

// checkRecord tells whether a record of a schema version can be read. Buckets
// that are not known have no records to check.
func checkRecord(version int, bucket, id string, raw []byte) error {
	body := raw
	if version >= 2 {
		var err error
		if body, err = unseal(bucket, id, raw); err != nil {
			return err
		}
	}
	var err error
	switch bucket {
	case bucketUploads:
		err = json.Unmarshal(body, new(Upload))
	case bucketJobs:
		err = json.Unmarshal(body, new(Job))
	case bucketWorkflows:
		err = json.Unmarshal(body, new(Workflow))
	}
	if err != nil {
		return &RecordError{bucket, id, err.Error()}
	}
	return nil
}
