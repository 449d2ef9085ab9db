package state

import (
	"crypto/rand"
	"encoding/base32"
	"time"
)

// NewUploadID makes an id for an upload: "u" and 25 characters of [0-9a-v]. Ids
// sort by the time of their making, to the millisecond.
func NewUploadID() string { return newID('u', time.Now()) }

// NewJobID makes an id for a job: as an upload's, with "j".
func NewJobID() string { return newID('j', time.Now()) }

// ValidID tells whether an id has the form of what NewUploadID ('u') or NewJobID
// ('j') makes. Such an id is safe as a file name.
func ValidID(kind byte, id string) bool {
	if len(id) != 26 || id[0] != kind {
		return false
	}
	for _, c := range []byte(id[1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

// idEncoding keeps the order of what it encodes (RFC 4648, base32hex), in lower
// case.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID is 48 bits of milliseconds since 1970 and 77 random bits: 125, as 25
// characters hold.
func newID(kind byte, now time.Time) string {
	var b [16]byte
	// A fault of the system's random source ends the program (crypto/rand).
	_, _ = rand.Read(b[6:])
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	return string(kind) + idEncoding.EncodeToString(b[:])[:25]
}
